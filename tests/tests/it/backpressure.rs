//! Streams at their limits: publishers get an error, and nothing that was accepted is lost.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use schemas::{Job, JobId, JobState};
use tests::fleet::{LIMIT, TestFleet};
use tests::jobs::prompt;

/// Sets how much a stream may hold beyond what it holds; the limit it had before.
async fn leave_room(fleet: &TestFleet, stream: &str, bytes: i64) -> anyhow::Result<i64> {
    let jetstream = &fleet.stack.broker.jetstream;
    let stream = jetstream.get_stream(stream).await?;
    let info = stream.cached_info();
    let held = i64::try_from(info.state.bytes)?;
    let mut config = info.config.clone();
    let before = config.max_bytes;
    config.max_bytes = held + bytes;
    jetstream.update_stream(config).await?;
    Ok(before)
}

/// Waits until a router knows that there is next to no room for facts.
async fn sees_no_room(at: SocketAddr) -> anyhow::Result<()> {
    loop {
        let page = reqwest::get(format!("http://{at}/metrics")).await?.text().await?;
        let room = page.lines().find_map(|line| line.strip_prefix("argosy_events_room_bytes "));
        if room.is_some_and(|bytes| bytes.parse::<f64>().is_ok_and(|bytes| bytes <= 16.0)) {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
}

async fn set_limit(fleet: &TestFleet, stream: &str, max_bytes: i64) -> anyhow::Result<()> {
    let jetstream = &fleet.stack.broker.jetstream;
    let mut config = jetstream.get_stream(stream).await?.cached_info().config.clone();
    config.max_bytes = max_bytes;
    jetstream.update_stream(config).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_publishers_and_loses_nothing() -> anyhow::Result<()> {
    let mut fleet = TestFleet::start(|options| (options.runpod, options.gemini) = (None, None)).await?;
    // Without routers the queue only fills.
    for router in ["router-1", "router-2"] {
        fleet.stack.member(router)?.pause()?;
    }
    leave_room(&fleet, "JOBS", 8 * 1024).await?;
    let (mut accepted, mut refused): (Vec<JobId>, Vec<String>) = (Vec::new(), Vec::new());
    // Each publisher tries for a while before it gives up, so they try side by side.
    let jobs: Vec<Job> = (0..60).map(|n| prompt(&format!("a picture of the number {n}"))).collect();
    let publishing = jobs.iter().map(|job| client::submit::job(&fleet.stack.broker.publisher, job));
    for (job, published) in jobs.iter().zip(futures::future::join_all(publishing).await) {
        match published {
            Ok(_) => accepted.push(job.id),
            Err(error) => refused.push(format!("{error:#}")),
        }
    }
    ensure!(!accepted.is_empty() && refused.len() > 10, "{} accepted, {refused:?}", accepted.len());
    ensure!(refused.iter().all(|words| words.contains("maximum bytes exceeded")), "{refused:?}");
    for router in ["router-1", "router-2"] {
        fleet.stack.member(router)?.resume()?;
    }
    let tracker = fleet.stack.wait_ended(&accepted, LIMIT).await?;
    ensure!(tracker.jobs().values().all(|view| view.state == JobState::Completed), "{tracker:?}");
    // There is room again, and publishers are heard.
    let after = prompt("after the flood");
    fleet.stack.submit(std::slice::from_ref(&after)).await?;
    fleet.stack.wait_ended(&[after.id], LIMIT).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_facts_find_no_room_jobs_wait_and_go_on_afterwards() -> anyhow::Result<()> {
    let mut fleet = TestFleet::start(|options| (options.runpod, options.gemini) = (None, None)).await?;
    let before = leave_room(&fleet, "EVENTS", 16).await?;
    // Routers look at the room now and then; a stream does not fill up between two looks.
    for router in ["router-1", "router-2"] {
        let at = fleet.stack.member(router)?.listening().context("it serves its pages")?;
        tokio::time::timeout(LIMIT, sees_no_room(at)).await??;
    }
    let stack = &fleet.stack;
    let jobs: Vec<Job> = (0..4).map(|n| prompt(&format!("patient {n}"))).collect();
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    stack.submit(&jobs).await?;
    // Every router has tried and handed it back at least once.
    let jobs_stream = stack.broker.jetstream.get_stream("JOBS").await?;
    let handed_back = async {
        while jobs_stream.consumer_info("router-standard").await?.num_redelivered == 0 {
            tokio::task::yield_now().await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(LIMIT, handed_back).await??;
    let state = stack.broker.jetstream.get_stream("JOBS").await?.cached_info().state.messages;
    ensure!(state == 4, "{state} of 4 jobs are still in their lane");
    set_limit(&fleet, "EVENTS", before).await?;
    let tracker = stack.wait_ended(&ids, LIMIT).await?;
    ensure!(tracker.jobs().values().all(|view| view.state == JobState::Completed), "{tracker:?}");
    let audit = stack.audit(&ids, LIMIT).await?;
    ensure!(audit.holds(), "{:#?}", audit.findings);
    Ok(())
}
