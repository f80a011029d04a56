//! The benchmark: what the fleet costs beside the broker that it lives on. Every figure is a ratio, or has the
//! broker's own beside it from the same run, because machines differ. Servers are real, files are files.

mod backlog;
mod books;
mod commits;
pub mod cpu;
mod decide;
mod fair;
mod fleet;
mod ground;
mod latency;
mod limit;
mod little;
mod load;
mod open_loop;
mod options;
pub mod report;
mod router;
pub mod running;
pub mod spread;
pub mod started;
mod starts;
mod submit;
pub mod targets;
mod workers;

pub use options::{BenchOptions, Part, Scale};

use crate::audience::Audience;
use anyhow::bail;
use report::{Report, Row};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

/// Runs the parts one after the other and writes the report into `out`.
///
/// # Errors
/// A server or process does not start, something is lost, or a result breaks Little's law: then there is no
/// figure.
pub async fn run(options: &BenchOptions, out: &Path, audience: &mut impl Audience) -> anyhow::Result<Report> {
    let started = Instant::now();
    let mut rows: Vec<Row> = Vec::new();
    let parts: BTreeSet<Part> = options.parts.iter().copied().collect();
    for part in parts {
        audience.line(&format!("{} (at {} s)", part.describe(), started.elapsed().as_secs()));
        let mut measured = match part {
            Part::Limit => limit::rows(options, audience).await?,
            Part::Router => router::rows(options, audience).await?,
            Part::Fleet => fleet::rows(options, audience).await?,
            Part::Latency => latency::rows(options, audience).await?,
            Part::Backlog => backlog::rows(options, audience).await?,
            Part::Workers => workers::rows(options, audience).await?,
            Part::Fair => fair::rows(options, audience).await?,
            Part::Submit => submit::rows(options, audience).await?,
            Part::Decide => decide::rows(options, audience)?,
            Part::Ledger => books::rows(options, audience).await?,
            Part::Cost => fleet::cost_rows(options, audience).await?,
        };
        rows.append(&mut measured);
    }
    if rows.is_empty() {
        bail!("nothing was measured");
    }
    let report = Report::new(rows, started.elapsed());
    report.write(out)?;
    Ok(report)
}
