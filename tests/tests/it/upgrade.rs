//! The drill of an upgrade in short: from this state's own binaries in another folder to the same in their place.

use anyhow::{Context as _, ensure};
use stack::{Provider, Stack, StackOptions};
use std::path::Path;
use tests::fleet::{LIMIT, Silent, root};
use trials::drill::history::{Removal, Replacement};
use trials::drill::run::{judge, run};
use trials::drill::{DrillOptions, stack_options};

/// Some eighty for each process that is replaced.
const JOBS: usize = 600;
/// What is replaced, in the order of CHANGELOG.md.
const ORDER: [&str; 7] =
    ["ledger", "router-1", "router-2", "worker-local-1", "worker-local-2", "worker-cloud", "worker-gemini"];

/// The binaries of this state under another folder's name, as those of a release.
fn release(folder: &Path, bin_dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir(folder)?;
    for name in ["argosy", "router", "worker-local", "worker-cloud", "worker-gemini", "ledger"] {
        std::os::unix::fs::symlink(bin_dir.join(name), folder.join(name)).context(name)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_process_is_replaced_under_load_and_the_audit_holds() -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("argosy-upgrade-").tempdir()?;
    let (old, new) = (dir.path().join("old"), StackOptions::simulated(&root(), dir.path())?.bin_dir);
    release(&old, &new)?;
    let drill = DrillOptions { jobs: JOBS, seed: 5, ..DrillOptions::upgrade(old.clone()) };
    let mut options = stack_options(&drill, &root(), &dir.path().join("fleet"))?;
    options.comfyui = vec![Provider::Simulated; 2];
    let workers = options.workers();
    let stack = Stack::start(options).await?;
    ensure!(
        stack
            .members
            .iter()
            .all(|member| member.program().starts_with(&old) || member.program().ends_with("simulators"))
    );
    stack.wait_workers(workers, LIMIT).await?;
    let out = dir.path().join("out");
    let report = run(stack, &drill, &out, &mut Silent).await?;
    ensure!(report.audit.holds, "{:#?}", report.audit.findings);
    ensure!(report.audit.ended == JOBS as u64, "{report:#?}");
    let names: Vec<&str> = report.replaced.iter().map(|one| one.name.as_str()).collect();
    ensure!(names == ORDER, "{names:?}");
    let moved = |one: &Replacement| one.from.starts_with(&old) && one.to.starts_with(&new);
    ensure!(report.replaced.iter().all(moved), "{:#?}", report.replaced);
    let paid = |one: &Replacement| one.paid_in_flight.values().sum::<u64>();
    ensure!(report.replaced.iter().all(|one| paid(one) > 0), "no paid work: {:#?}", report.replaced);
    for removal in [Removal::Drained, Removal::Killed] {
        ensure!(report.replaced.iter().any(|one| one.removal == removal), "nobody was {removal:?}");
    }
    ensure!(report.replaced.windows(2).all(|pair| pair[0].useful_at_ms <= pair[1].at_ms), "two at once");
    ensure!(report.blows.is_empty(), "an upgrade strikes nobody: {:#?}", report.blows);
    ensure!(judge(&out)? == report, "the history tells another story");
    Ok(())
}
