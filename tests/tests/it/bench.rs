//! The benchmark in short: its audit and Little's law hold. Its figures are worth nothing here and are not looked
//! at.

use anyhow::ensure;
use stack::StackOptions;
use std::time::Duration;
use tests::fleet::{Silent, TestFleet, root};
use trials::bench::report::{Report, find};
use trials::bench::running::{self, RunningOptions};
use trials::bench::{BenchOptions, Part, Scale, run};

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_that_runs_can_be_measured() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| (options.runpod, options.gemini) = (None, None)).await?;
    let options =
        RunningOptions { jobs: 30, rate: 30, tenant: "studio-a".parse()?, patience: Duration::from_secs(60) };
    let reader = ledger_read::Reader::connect(fleet.stack.database_url(), 2).await?;
    let report = running::measure(&fleet.stack.broker, &reader, &fleet.stack.simulators, &options).await?;
    for name in ["running.sustained", "running.assigned.p50", "running.ended.p99"] {
        let row = find(&report.rows, name);
        ensure!(row.is_some_and(|row| row.spread.median > 0.0), "{name} is missing: {report:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_benchmark_holds() -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("argosy-bench-").tempdir()?;
    let options = BenchOptions {
        root: root(),
        dir: dir.path().join("ground"),
        bin_dir: StackOptions::simulated(&root(), dir.path())?.bin_dir,
        documents: client::documents::Documents::simulated(),
        parts: vec![Part::Fleet, Part::Fair],
        scale: Scale::SHORT,
    };
    // No figure comes out where the audit or Little's law does not hold.
    let report = Box::pin(run(&options, dir.path(), &mut Silent)).await?;
    for name in [
        "fleet.sustained",
        "fleet.cpu_per_job",
        "fleet.cpu.postgres",
        "fleet.synced",
        "fleet.synced_cluster",
        "fair.few_beside_many",
        "fair.interactive_behind_many.p99",
    ] {
        let row = find(&report.rows, name);
        ensure!(row.is_some_and(|row| row.spread.median > 0.0), "{name} is missing: {report:?}");
    }
    let written: Report = serde_json::from_slice(&std::fs::read(dir.path().join("report.json"))?)?;
    ensure!(written.rows.len() == report.rows.len(), "the file tells another story");
    Ok(())
}
