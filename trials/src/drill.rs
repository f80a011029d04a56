//! The kill drill: many jobs through a whole fleet while every process is killed and stopped at random, then
//! the audit. And the drill of an upgrade: an earlier release's processes give way to this state's, one by one, while
//! jobs flow ([`order`]), then the same audit. What happened is written down line by line ([`history`]), and the verdict ([`story`], [`report`])
//! is read from those lines alone, so that it can be given again without any server.

pub mod chaos;
mod feed;
mod flow;
pub mod history;
mod leftovers;
pub mod order;
mod orders;
pub mod plan;
mod probe;
pub mod report;
pub mod run;
pub mod storage;
pub mod story;
mod upgrade;
mod victim;
pub mod work;

use crate::chance::Chance;
use anyhow::Context as _;
use client::documents::Documents;
use schemas::PaidConsent;
use serde_json::{Value, json};
use stack::{Provider, StackOptions};
use std::path::{Path, PathBuf};

/// What varies a drill.
#[derive(Debug, Clone, PartialEq)]
pub struct DrillOptions {
    /// How many jobs.
    pub jobs: usize,
    /// Same seed, same jobs and the same plan of blows; what they hit is up to the moment.
    pub seed: u64,
    /// Nodes of the broker: 1, or 3, which are killed and parted.
    pub nodes: usize,
    /// Wall time per provider time.
    pub time_scale: f64,
    /// The folder of an earlier release's binaries: they are replaced by this state's, and nothing is struck. None for
    /// the kill drill.
    pub upgrade_from: Option<PathBuf>,
}

impl Default for DrillOptions {
    fn default() -> Self {
        Self { jobs: 20_000, seed: 1, nodes: 1, time_scale: 0.01, upgrade_from: None }
    }
}

impl DrillOptions {
    /// A drill of an upgrade: fewer jobs, and slower ones, so that paid work is in flight at each replacement.
    #[must_use]
    pub fn upgrade(from: PathBuf) -> Self {
        Self { jobs: 3_000, time_scale: 0.05, upgrade_from: Some(from), ..Self::default() }
    }
}

/// ComfyUI servers of a drill: a worker each, and each makes one picture at a time.
const COMFYUIS: usize = 8;

/// How long an attempt may take: what a killed worker began is taken up again within it, and what was stopped for long
/// goes on. A start that nobody confirms and no provider reports is waited for for twice as long, and so by the drill.
const TIMEOUT_MS: u64 = 90_000;

/// A fleet for the drill: two of what is stateless, quick simulators, and their waits in proportion.
///
/// # Errors
/// Where this executable lies is not known.
pub fn stack_options(drill: &DrillOptions, root: &Path, dir: &Path) -> anyhow::Result<StackOptions> {
    let mut options = StackOptions::simulated(root, dir)?;
    (options.seed, options.nodes) = (drill.seed, drill.nodes);
    options.time_scale = drill.time_scale;
    options.release_dir.clone_from(&drill.upgrade_from);
    options.comfyui = vec![Provider::Simulated; COMFYUIS];
    options.documents = documents(drill)?;
    // RunPod's handlers are of all versions, and some complete without a file: one charged failure each.
    // Gemini answers in all shapes that its cap allows, some without a picture. Arguments, since a restarted
    // simulator has them again.
    let odd =
        [("runpod", "--odd-outputs=40"), ("runpod", "--unusable-outputs=3"), ("gemini", "--odd-answers=5")];
    options.simulator_args.extend(odd.map(|(of, arg)| (of.to_owned(), arg.to_owned())));
    if drill.upgrade_from.is_none() {
        // Release 0.1.0 has no setting for it.
        options.clock_shifts_ms = clocks(drill.seed, &options);
    } else {
        // Release 0.1.0 charged milliseconds: in whole seconds both charge the same.
        options.simulator_args.push(("runpod".to_owned(), "--whole-seconds".to_owned()));
    }
    Ok(options)
}

/// How far clocks are off, milliseconds: somewhat, by more than an offer may be old, by minutes, by an hour.
const CLOCK_SHIFTS_MS: [i64; 6] = [-4_000, 5_000, -12_000, -600_000, 600_000, 3_600_000];

/// Which process's clock is off by how much: two in three.
fn clocks(seed: u64, options: &StackOptions) -> Vec<(String, i64)> {
    let mut chance = Chance::of(seed ^ 0x0c10_c4c5);
    let numbered = |name: &'static str, count: usize| (1..=count).map(move |nth| format!("{name}-{nth}"));
    numbered("router", options.routers)
        .chain(numbered("worker-local", options.comfyui.len()))
        .chain(["ledger", "worker-cloud", "worker-gemini"].map(str::to_owned))
        .filter_map(|name| {
            let drawn = chance.between(0, 8) as usize;
            Some((name, *CLOCK_SHIFTS_MS.get(drawn)?))
        })
        .collect()
}

/// The configuration of a drill: as shipped, paced, with attempts that may not take longer than the drill has patience,
/// and a tenant of each word. One may spend when its jobs ask for it, and has means enough; one may always, and its
/// budget is gone before its jobs are, so that the limit is reached while everything dies around it; one may never,
/// whatever its jobs say, which the report judges by its budget of nothing.
///
/// # Errors
/// Never: the shipped documents are JSON, by test.
pub fn documents(drill: &DrillOptions) -> anyhow::Result<Documents> {
    let tenants = json!({
        "default": { "allow_paid": PaidConsent::Never },
        "tenants": {
            work::FREE: { "allow_paid": PaidConsent::Never, "daily_micro_usd": 0 },
            work::SPENDER: { "allow_paid": PaidConsent::WhenAsked, "daily_micro_usd": work::ample_micro_usd(drill.jobs) },
            work::THRIFTY: { "allow_paid": PaidConsent::Always, "daily_micro_usd": work::tight_micro_usd(drill.jobs) },
        },
    });
    let paced = Documents::paced(drill.time_scale)?;
    let mut catalog: Value = serde_json::from_str(&paced.catalog).context("the paced catalog")?;
    for service in catalog["services"].as_array_mut().into_iter().flatten() {
        service["timeout_ms"] = json!(TIMEOUT_MS);
    }
    Ok(Documents { tenants: tenants.to_string(), catalog: catalog.to_string(), ..paced })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use protocol::worker::machine::reported_within_ms;

    use super::*;

    #[test]
    fn clocks_differ_in_every_drill() {
        let dir = Path::new("/nowhere");
        for seed in 0..50 {
            let options =
                stack_options(&DrillOptions { seed, ..DrillOptions::default() }, dir, dir).expect("options");
            let off = &options.clock_shifts_ms;
            assert!((2..13).contains(&off.len()), "some are right, some are not: {off:?}");
        }
        let upgrade = DrillOptions { upgrade_from: Some(dir.into()), ..DrillOptions::default() };
        assert_eq!(stack_options(&upgrade, dir, dir).expect("options").clock_shifts_ms, []);
    }

    #[test]
    fn a_drill_is_more_patient_than_whoever_waits_for_a_report() {
        let documents = documents(&DrillOptions::default()).expect("the shipped documents are JSON");
        let catalog: schemas::Catalog = serde_json::from_str(&documents.catalog).expect("a catalog");
        assert!(!catalog.services.is_empty());
        for service in &catalog.services {
            let waits = Duration::from_millis(reported_within_ms(service.timeout_ms));
            assert!(waits + Duration::from_secs(30) <= run::STALLED_AFTER, "{}: {waits:?}", service.backend);
        }
    }
}
