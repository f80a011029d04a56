//! Consumers that were deleted under the processes that pull from them.

use anyhow::ensure;
use futures::TryStreamExt as _;
use schemas::JobState;
use schemas::topology::stream;
use tests::fleet::{LIMIT, TestFleet};
use tests::jobs::prompt;

/// Lines about failures that a process may log in the seconds that this takes.
const LINES_MAX: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn deleted_consumers_are_made_anew_and_no_log_is_flooded() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| (options.runpod, options.gemini) = (None, None)).await?;
    let first = prompt("before");
    fleet.stack.submit(std::slice::from_ref(&first)).await?;
    fleet.stack.wait_ended(&[first.id], LIMIT).await?;
    for name in [stream::JOBS, stream::DEAD, stream::ADVISORIES, stream::EVENTS, stream::WORK] {
        let queue = fleet.stack.broker.jetstream.get_stream(name).await?;
        let consumers: Vec<String> = queue.consumer_names().try_collect().await?;
        ensure!(!consumers.is_empty(), "{name} has consumers");
        for consumer in consumers {
            queue.delete_consumer(&consumer).await?;
        }
    }
    let jobs: Vec<_> = (0..5).map(|number| prompt(&format!("after {number}"))).collect();
    fleet.stack.submit(&jobs).await?;
    let ids: Vec<_> = jobs.iter().map(|job| job.id).collect();
    let tracker = fleet.stack.wait_ended(&ids, LIMIT).await?;
    ensure!(tracker.jobs().values().all(|view| view.state == JobState::Completed), "{:?}", tracker.jobs());
    // The ledger reads on, too.
    let all: Vec<_> = ids.iter().copied().chain([first.id]).collect();
    let report = fleet.stack.audit(&all, LIMIT).await?;
    ensure!(report.holds(), "{:?}", report.findings);
    for member in &*fleet.stack.members {
        let log = std::fs::read_to_string(member.log_path())?;
        let failures = log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).count();
        ensure!(failures <= LINES_MAX, "{} logged {failures} failures", member.name());
    }
    Ok(())
}
