//! The main job, whole: 100 jobs through the front door of a simulated fleet, with the local GPUs going
//! away in the middle, and the books audited at the end.

pub mod bought;
pub mod mix;
pub mod report;
pub mod run;
pub mod saving;
pub mod sheet;

use client::documents::Documents;
use schemas::PaidConsent;
use serde_json::json;
use stack::StackOptions;
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

/// The configuration of the demo: as shipped, paced, and with tenants of its own.
///
/// # Errors
/// Never: the shipped documents are JSON, by test.
pub fn documents(demo: &DemoOptions) -> anyhow::Result<Documents> {
    // Money enough for any number of jobs: the budgets are shown at work, not at their end.
    let hundreds = i64::try_from(demo.jobs.div_ceil(100)).unwrap_or(i64::MAX).max(1);
    let daily_micro_usd = hundreds.saturating_mul(20_000_000);
    let tenants = json!({
        "default": { "allow_paid": PaidConsent::WhenAsked },
        "tenants": {
            "studio-a": { "allow_paid": PaidConsent::Always },
            "studio-b": { "allow_paid": PaidConsent::WhenAsked },
            "studio-c": { "allow_paid": PaidConsent::Always, "daily_micro_usd": daily_micro_usd },
        },
    });
    Ok(Documents { tenants: tenants.to_string(), ..Documents::paced(demo.time_scale)? })
}
