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

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_a_deadline_is_the_same_request_when_it_is_built_again() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| (options.runpod, options.gemini) = (None, None)).await?;
    let in_ms = |wait_ms: i64| {
        let mut job = keyed("order 1043", "within an hour");
        job.constraints.deadline_ms = Some(job.time_ms + wait_ms);
        job
    };
    let [first, again, without] = [in_ms(3_600_000), in_ms(3_600_250), keyed("order 1043", "within an hour")];
    fleet.stack.submit(std::slice::from_ref(&first)).await?;
    fleet.stack.wait_ended(&[first.id], LIMIT).await?;
    fleet.stack.submit(&[again.clone(), without.clone()]).await?;
    let facts = came_to(&fleet.stack, &[first.id, again.id, without.id]).await?;
    ensure!(matches!(facts[&again.id], Fact::Duplicate { of } if of == first.id), "{:?}", facts[&again.id]);
    let refused = matches!(&facts[&without.id], Fact::Ended { state: JobState::Failed, .. });
    ensure!(refused, "without a deadline something else is asked for: {:?}", facts[&without.id]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_redriven_twice_is_one_job_also_with_a_key() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| (options.runpod, options.gemini) = (None, None)).await?;
    let jetstream = &fleet.stack.broker.jetstream;
    let mut job = keyed("order 1044", "a model that came later");
    job.constraints.backends = Some(vec!["gemini".parse()?]);
    job.constraints.deadline_ms = Some(job.time_ms + 1_500);
    fleet.stack.submit(std::slice::from_ref(&job)).await?;
    fleet.stack.wait_ended(&[job.id], LIMIT).await?;
    // Parked by hand, as what failed for good is: an expired job is not.
    let parked = schemas::Parked {
        failure: schemas::Failure::new(schemas::FailureCode::BackendDown, "no worker"),
        subject: schemas::subjects::jobs(job.lane, &job.tenant),
        content_type: None,
        payload_base64: base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            schemas::codec::encode(&Job { constraints: schemas::Constraints::default(), ..job.clone() }),
        ),
        ..schemas::samples::parked()
    };
    let subject = schemas::subjects::parked(Some(&job.tenant), parked.failure.code, Some(job.id));
    let message = runtime::publish::Message::new(subject, "parked".to_owned(), &parked);
    fleet.stack.broker.publisher.publish(&message).await?;
    let entries = client::parked::list(jetstream, &client::parked::Filter::default(), 10).await?;
    let entry = entries.last().ok_or_else(|| anyhow::anyhow!("nothing is parked"))?;
    let first = client::parked::redrive(&fleet.stack.broker, entry).await?;
    let client::parked::Redriven::Anew(anew) = first else { anyhow::bail!("{first:?}") };
    fleet.stack.wait_ended(&[anew], LIMIT).await?;
    // As somebody does who saw the list before: the entry is gone, and so is its chance to become a second job.
    let _ = client::parked::redrive(&fleet.stack.broker, entry).await;
    let tracker = fleet.stack.wait_ended(&[anew], LIMIT).await?;
    ensure!(tracker.jobs()[&anew].state == JobState::Completed, "{:?}", tracker.jobs()[&anew]);
    ensure!(client::parked::redriven_id(entry.sequence, &parked, runtime::clock::now_ms()) == anew);
    let report = fleet.stack.audit(&[job.id, anew], LIMIT).await?;
    ensure!(report.holds(), "{:?}", report.findings);
    let reader = fleet.stack.reader().await?;
    let known = reader.audit_rows(None, 100).await?.jobs.len();
    ensure!(known == 2, "{known} jobs");
    Ok(())
}
