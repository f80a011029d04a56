//! Idempotency keys: however often and under whatever ids a request is published, it is one job.

use anyhow::ensure;
use client::follow::{Since, events};
use schemas::{Fact, Job, JobId, JobState};
use stack::Stack;
use std::collections::BTreeMap;
use tests::fleet::{LIMIT, TestFleet};
use tests::jobs::prompt;

fn keyed(key: &str, words: &str) -> Job {
    Job { idempotency_key: Some(key.to_owned()), ..prompt(words) }
}

/// What every one of these jobs came to under its own id: its end, or the job that it is.
async fn came_to(stack: &Stack, jobs: &[JobId]) -> anyhow::Result<BTreeMap<JobId, Fact>> {
    use futures::StreamExt as _;
    let mut facts = BTreeMap::new();
    let mut all = Box::pin(events(&stack.broker.jetstream, &[], Since::Ever).await?);
    let reading = async {
        while facts.len() < jobs.len() {
            let Some(event) = all.next().await else { break };
            let event = event?;
            let last = matches!(event.fact, Fact::Ended { .. } | Fact::Duplicate { .. });
            if last && jobs.contains(&event.job) {
                facts.insert(event.job, event.fact);
            }
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(LIMIT, reading).await??;
    Ok(facts)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_publishes_of_one_key_at_once_are_one_job() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| (options.runpod, options.gemini) = (None, None)).await?;
    let jobs: Vec<Job> = (0..1_000).map(|_| keyed("click 7", "one click")).collect();
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    fleet.stack.submit(&jobs).await?;
    let facts = came_to(&fleet.stack, &ids).await?;
    let completed: Vec<&JobId> = facts
        .iter()
        .filter(|(_, fact)| matches!(fact, Fact::Ended { state: JobState::Completed, .. }))
        .map(|(job, _)| job)
        .collect();
    ensure!(completed.len() == 1, "{} jobs came of one key", completed.len());
    let same =
        facts.values().filter(|fact| matches!(fact, Fact::Duplicate { of } if of == completed[0])).count();
    ensure!(same == 999, "{same} of 999 were told which job they are");
    let mut posts = 0;
    for simulator in &fleet.stack.simulators {
        posts += simulator.stats().await?["posts"].as_u64().unwrap_or_default();
    }
    ensure!(posts == 1, "the GPUs ran it {posts} times");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_another_content_is_refused_and_its_first_job_goes_on() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| (options.runpod, options.gemini) = (None, None)).await?;
    let first = keyed("order 1042", "a red fox");
    fleet.stack.submit(std::slice::from_ref(&first)).await?;
    fleet.stack.wait_ended(&[first.id], LIMIT).await?;
    let other = keyed("order 1042", "a blue fox");
    let mut other_tenant = keyed("order 1042", "a green fox");
    other_tenant.tenant = tests::jobs::tenant("studio-b");
    fleet.stack.submit(&[other.clone(), other_tenant.clone()]).await?;
    let tracker = fleet.stack.wait_ended(&[first.id, other.id, other_tenant.id], LIMIT).await?;
    let view = |job: &Job| &tracker.jobs()[&job.id];
    ensure!(view(&first).state == JobState::Completed, "{:?}", view(&first));
    ensure!(view(&other_tenant).state == JobState::Completed, "keys are a tenant's own");
    let failure = view(&other).failure.clone();
    let failure = failure.ok_or_else(|| anyhow::anyhow!("{:?}", view(&other)))?;
    ensure!(failure.field.as_deref() == Some("idempotency_key"), "{failure:?}");
    ensure!(failure.message.contains(&first.id.to_string()), "{failure:?}");
    Ok(())
}
