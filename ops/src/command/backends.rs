//! `argosy backends`: who works, and what waits.

use super::session::Session;
use crate::say::{say, say_json};
use crate::table::{Align, Table};
use crate::text::Text;
use crate::tone::{self, Tone};
use crate::words;
use clap::Args;
use client::api;
use schemas::api::{BackendStatus, BackendsReply, LaneStatus};
use schemas::{Gpu, Health, Offer};

/// The fleet as a router sees it: workers, slots, health, what waits, which breaker is open, GPUs.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  argosy backends\n  \
    argosy backends --json | jq '.backends[] | {backend, workers: (.workers | length)}'")]
pub(crate) struct Backends {}

impl Backends {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let broker = session.broker().await?;
        let reply: BackendsReply = api::request_empty(&broker.client, "backends").await?;
        if session.json {
            return say_json(&reply);
        }
        say(tables(&reply));
        Ok(())
    }
}

/// What is said where the ledger is away.
const NO_LEDGER: &str = "The ledger grants no reservations at present: paid backends wait.";

/// The whole answer for people.
#[must_use]
pub fn tables(reply: &BackendsReply) -> Text {
    let columns = [
        ("backend", Align::Left),
        ("paid", Align::Left),
        ("provider", Align::Left),
        ("workers", Align::Right),
        ("free slots", Align::Right),
        ("backlog", Align::Flow),
        ("breaker", Align::Flow),
    ];
    let rows: Vec<Vec<String>> =
        reply.backends.iter().map(|backend| backend_row(backend, reply.time_ms)).collect();
    let mut text = Text::from(Table::new(&columns, rows).painted("breaker", tone::of_health));
    let workers: Vec<Vec<String>> = reply
        .backends
        .iter()
        .flat_map(|backend| backend.workers.iter().map(move |offer| (backend, offer)))
        .map(|(backend, offer)| worker_row(backend, offer, reply.time_ms))
        .collect();
    if !workers.is_empty() {
        let columns = [
            ("worker", Align::Left),
            ("backend", Align::Left),
            ("provider", Align::Left),
            ("health", Align::Words),
            ("free slots", Align::Right),
            ("seen", Align::Right),
            ("clock", Align::Right),
            ("learned", Align::Flow),
            ("longest run", Align::Flow),
            ("gpu", Align::Flow),
        ];
        text.gap();
        text.table(Table::new(&columns, workers).painted("health", tone::of_health));
    }
    if !reply.lanes.is_empty() {
        let columns = [("lane", Align::Left), ("waiting", Align::Right), ("oldest", Align::Right)];
        let rows: Vec<Vec<String>> = reply.lanes.iter().map(lane_row).collect();
        text.gap();
        text.table(Table::new(&columns, rows));
    }
    if !reply.ledger_available {
        text.gap();
        text.toned([(NO_LEDGER.to_owned(), Tone::Bad)]);
    }
    text
}

/// Real and simulated are never to be mistaken for each other.
const fn provider(simulated: bool) -> &'static str {
    if simulated { "SIMULATED" } else { "real" }
}

fn backend_row(status: &BackendStatus, now_ms: i64) -> Vec<String> {
    let simulated = status.workers.iter().filter(|offer| offer.simulated).count();
    let provider = match simulated {
        _ if status.workers.is_empty() => "-",
        0 => provider(false),
        all if all == status.workers.len() => provider(true),
        _ => "part SIMULATED",
    };
    let slots: u32 = status.workers.iter().map(|offer| offer.slots).sum();
    let free: u32 = status.workers.iter().map(|offer| offer.free_slots).sum();
    let waiting = status.backlog.iter().filter(|class| class.jobs > 0);
    let waiting: Vec<String> = waiting.map(|class| format!("{} {}", class.class, class.jobs)).collect();
    let breaker = match status.breaker_open_until_ms {
        Some(until_ms) if until_ms > now_ms => {
            let left = words::duration(u64::try_from(until_ms - now_ms).unwrap_or_default());
            format!("open for {left}: {}", status.breaker_reason.as_deref().unwrap_or("?"))
        }
        _ => "closed".to_owned(),
    };
    vec![
        status.backend.to_string(),
        if status.paid { "yes" } else { "no" }.to_owned(),
        provider.to_owned(),
        status.workers.len().to_string(),
        format!("{free}/{slots}"),
        if waiting.is_empty() { "none".to_owned() } else { waiting.join(", ") },
        breaker,
    ]
}

fn lane_row(status: &LaneStatus) -> Vec<String> {
    let oldest = status.oldest_age_ms.map_or_else(|| "-".to_owned(), words::duration);
    vec![status.lane.as_str().to_owned(), status.jobs.to_string(), oldest]
}

fn worker_row(backend: &BackendStatus, offer: &Offer, now_ms: i64) -> Vec<String> {
    let presence = backend.presence.iter().find(|presence| presence.worker == offer.worker);
    let seen = presence.map_or_else(
        || words::ago(now_ms, offer.time_ms),
        |presence| format!("{} ago", words::duration(presence.age_ms)),
    );
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let clock = presence
        .map_or_else(String::new, |presence| format!("{:+.1} s", presence.clock_skew_ms as f64 / 1_000.0));
    let stuck = |job| backend.stuck.iter().any(|stuck| stuck.job == job);
    let longest = offer.running.first().map_or_else(String::new, |attempt| {
        let mark = if stuck(attempt.job) { ", STUCK" } else { "" };
        format!("{} {}{mark}", attempt.class, words::duration(attempt.running_ms))
    });
    let health = match offer.health {
        Health::Healthy => "healthy",
        Health::Down => "down",
        Health::Stopped => "stopped",
        Health::Draining => "draining",
        Health::Unknown => "unknown",
    };
    // What it said last is no longer so.
    let health = if presence.is_some_and(|presence| !presence.is_fresh) { "SILENT" } else { health };
    let reason = offer.health_reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let learned = offer
        .classes
        .iter()
        .filter_map(|class| Some(format!("{} {}", class.class, words::duration(class.learned_ms?))));
    let learned: Vec<String> = learned.collect();
    vec![
        offer.worker.to_string(),
        offer.backend.to_string(),
        provider(offer.simulated).to_owned(),
        format!("{health}{reason}"),
        format!("{}/{}", offer.free_slots, offer.slots),
        seen,
        clock,
        learned.join(", "),
        longest,
        offer.gpus.iter().map(gpu).collect::<Vec<_>>().join("; "),
    ]
}

fn gpu(gpu: &Gpu) -> String {
    let mut text = gpu.name.clone();
    text.push_str(&format!(
        ", {} of {} free",
        words::size(gpu.vram_free_bytes),
        words::size(gpu.vram_total_bytes)
    ));
    let readings = [
        gpu.utilisation_percent.map(|value| format!("{value} %")),
        gpu.temperature_celsius.map(|value| format!("{value} °C")),
        gpu.power_mw.map(|value| format!("{} W", value / 1_000)),
    ];
    for reading in readings.into_iter().flatten() {
        text.push_str(", ");
        text.push_str(&reading);
    }
    text
}
