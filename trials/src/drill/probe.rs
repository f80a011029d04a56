//! Whether a process has done something useful, from outside: a figure that only grows by work.

use super::history::Component;
use crate::counters;
use stack::listening;
use std::path::PathBuf;
use std::time::Duration;

/// A page is served from memory; a process that is slower than this is asked again.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);

/// A router has placed, ended or followed up something.
const ROUTER: &[&str] =
    &["argosy_router_assigned_total", "argosy_router_ended_total", "argosy_router_dispositions_total"];
/// An attempt was run to an outcome.
const WORKER: &[&str] = &["argosy_attempt_run_seconds_count"];
/// An event was committed.
const LEDGER: &[&str] = &["argosy_ledger_events_stored_total"];

/// Where the figure is.
#[derive(Debug, Clone)]
enum At {
    /// Counters of a page of ours, summed.
    Metrics(PathBuf, &'static [&'static str]),
    /// States that jobs entered, at a simulator.
    Simulator(PathBuf),
}

/// Sees whether a process works again.
#[derive(Debug, Clone)]
pub(super) struct Probe {
    at: At,
    http: reqwest::Client,
    seen: Option<f64>,
}

impl Probe {
    /// For a process that writes its port to a file.
    pub(super) fn of(http: reqwest::Client, component: Component, port_file: PathBuf) -> Self {
        let at = match component {
            Component::Router => At::Metrics(port_file, ROUTER),
            Component::WorkerLocal | Component::WorkerCloud | Component::WorkerGemini => {
                At::Metrics(port_file, WORKER)
            }
            Component::Simulator => At::Simulator(port_file),
            // The ledger; and what the database does is what the ledger commits.
            _ => At::Metrics(port_file, LEDGER),
        };
        Self { at, http, seen: None }
    }

    /// What was there before does not count. `anew`: its process was started anew and counts from 0.
    pub(super) async fn begin(&mut self, anew: bool) {
        self.seen = if anew { Some(0.0) } else { self.figure().await };
    }

    /// Looks once.
    pub(super) async fn is_useful(&mut self) -> bool {
        let Some(now) = self.figure().await else { return false };
        let before = self.seen.replace(now);
        match before {
            // A page that counts less is that of a new process.
            Some(before) if now < before => now > 0.0,
            Some(before) => now > before,
            None => false,
        }
    }

    async fn figure(&self) -> Option<f64> {
        let (port_file, path) = match &self.at {
            At::Metrics(port_file, _) => (port_file, "metrics"),
            At::Simulator(port_file) => (port_file, "_admin/stats"),
        };
        let url = format!("http://{}/{path}", listening(port_file)?);
        let page = async { self.http.get(url).send().await.ok()?.error_for_status().ok()?.text().await.ok() };
        let page = tokio::time::timeout(ANSWER_WITHIN, page).await.ok()??;
        match &self.at {
            At::Metrics(_, names) => Some(counters::sum(&page, names)),
            At::Simulator(_) => {
                let stats: serde_json::Value = serde_json::from_str(&page).ok()?;
                let states = stats["jobs"].as_object()?.values();
                Some(states.filter_map(serde_json::Value::as_f64).sum())
            }
        }
    }
}
