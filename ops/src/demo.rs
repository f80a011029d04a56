//! The main job, whole: 100 jobs through the front door of a simulated fleet, with the local GPUs going
//! away in the middle, and the books audited at the end.

pub mod mix;
pub mod report;
pub mod run;
pub mod sheet;
pub mod show;

use crate::documents::Documents;
use crate::stack::StackOptions;
use anyhow::Context as _;
use serde_json::{Value, json};
use std::path::Path;

/// What varies a demo.
#[derive(Debug, Clone, PartialEq)]
pub struct DemoOptions {
    /// How many jobs.
    pub jobs: usize,
    /// Same seed, same jobs and the same chances at the providers.
    pub seed: u64,
    /// The local ComfyUIs go away in the middle.
    pub fault: bool,
    /// Wall time per provider time.
    pub time_scale: f64,
}

impl Default for DemoOptions {
    fn default() -> Self {
        Self { jobs: 100, seed: 1, fault: true, time_scale: 0.05 }
    }
}

/// A fleet for the demo: as shipped, with waits in proportion to providers that are twenty times faster
/// than life, and three tenants of different means.
///
/// # Errors
/// Where this executable lies is not known.
pub fn stack_options(demo: &DemoOptions, root: &Path, now_ms: i64) -> anyhow::Result<StackOptions> {
    let mut options = StackOptions::simulated(root, &root.join(".argosy").join("demo"))?;
    options.seed = demo.seed;
    options.time_scale = demo.time_scale;
    options.documents = documents(demo)?;
    // A cluster that outlived a killed demo still has its database: a name of its own keeps them apart.
    options.database = format!("argosy_{now_ms}");
    Ok(options)
}

/// The configuration of the demo: as shipped, but that waits and expected durations are scaled as the
/// providers' time is. Unscaled, a queue that takes the simulated GPUs seconds would look like nothing beside
/// a patience of a minute, and nothing would ever overflow.
///
/// # Errors
/// Never: the shipped documents are JSON, by test.
pub fn documents(demo: &DemoOptions) -> anyhow::Result<Documents> {
    let shipped = Documents::default();
    let mut policy: Value = serde_json::from_str(&shipped.policy).context("the shipped policy")?;
    scale(&mut policy["patience_ms"], demo.time_scale);
    for (key, value) in [
        ("breaker_open_ms", 3_000),
        ("defer_ms", 300),
        ("backoff_min_ms", 200),
        ("backoff_max_ms", 3_000),
        ("stranded_after_ms", 5_000),
    ] {
        policy[key] = json!(value);
    }
    let mut catalog: Value = serde_json::from_str(&shipped.catalog).context("the shipped catalog")?;
    for service in catalog["services"].as_array_mut().into_iter().flatten() {
        scale(&mut service["startup_ms"], demo.time_scale);
        scale(&mut service["expected_ms"], demo.time_scale);
    }
    // Money enough for any number of jobs: the budgets are shown at work, not at their end.
    let hundreds = i64::try_from(demo.jobs.div_ceil(100)).unwrap_or(i64::MAX).max(1);
    let daily_micro_usd = hundreds.saturating_mul(20_000_000);
    let tenants = json!({
        "default": { "allow_paid": false },
        "tenants": {
            "studio-a": { "allow_paid": true },
            "studio-b": { "allow_paid": false },
            "studio-c": { "allow_paid": true, "daily_micro_usd": daily_micro_usd },
        },
    });
    let (policy, catalog) = (policy.to_string(), catalog.to_string());
    Ok(Documents { policy, catalog, tenants: tenants.to_string(), ..shipped })
}

/// A duration in the providers' time, milliseconds.
fn scale(duration_ms: &mut Value, time_scale: f64) {
    if let Some(ms) = duration_ms.as_f64() {
        *duration_ms = json!((ms * time_scale).ceil() as u64);
    }
}
