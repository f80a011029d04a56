//! What one decision costs, from where criterion leaves its figures: `cargo bench -p policy`, which `make bench`
//! runs first.

use super::BenchOptions;
use super::report::Row;
use crate::audience::Audience;
use anyhow::Context as _;
use serde_json::Value;

/// The worlds of `policy/benches/decide.rs`.
const WORLDS: [&str; 3] = ["backends_3", "offers_100", "offers_1000"];

/// Reads.
pub(super) fn rows(options: &BenchOptions, audience: &mut impl Audience) -> anyhow::Result<Vec<Row>> {
    let target = options.bin_dir.parent().context("the folder of the binaries has none above it")?;
    let mut rows = Vec::new();
    for world in WORLDS {
        let path = target.join("criterion").join("decide").join(world).join("new").join("estimates.json");
        let Ok(text) = std::fs::read(&path) else {
            audience.line("  not measured: run `cargo bench -p policy` first, as `make bench` does");
            return Ok(Vec::new());
        };
        let read: Value = serde_json::from_slice(&text).with_context(|| format!("{}", path.display()))?;
        let median = &read["median"];
        let us = |figure: &Value| figure.as_f64().map(|ns| ns / 1e3);
        let interval = &median["confidence_interval"];
        let runs = [&median["point_estimate"], &interval["lower_bound"], &interval["upper_bound"]].map(us);
        let runs: Vec<f64> = runs.into_iter().flatten().collect();
        rows.extend(Row::of(&format!("decide.{world}"), "us", &runs));
    }
    Ok(rows)
}
