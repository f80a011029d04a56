//! The kill drill in short, with the real processes: everything holds, and the verdict can be given again.

use anyhow::ensure;
use stack::Stack;
use tests::fleet::{LIMIT, Silent, root};
use trials::drill::run::{judge, run};
use trials::drill::{DrillOptions, stack_options};

/// Enough for some twenty blows.
const JOBS: usize = 300;

#[tokio::test(flavor = "multi_thread")]
async fn a_short_drill_holds() -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("argosy-drill-").tempdir()?;
    let drill = DrillOptions { jobs: JOBS, seed: 11, time_scale: 0.05, ..DrillOptions::default() };
    let options = stack_options(&drill, &root(), dir.path())?;
    let workers = options.workers();
    let stack = Stack::start(options).await?;
    stack.wait_workers(workers, LIMIT).await?;
    let out = dir.path().join("out");
    let report = run(stack, &drill, &out, &mut Silent).await?;
    ensure!(report.audit.holds, "{:#?}", report.audit.findings);
    ensure!(report.audit.ended == JOBS as u64, "{report:#?}");
    let blows: u64 = report.blows.values().map(|blows| blows.kills + blows.stops).sum();
    ensure!(blows >= 3, "nothing was tried: {:#?}", report.blows);
    ensure!(judge(&out)? == report, "the history tells another story");
    Ok(())
}
