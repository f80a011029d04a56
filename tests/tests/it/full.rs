//! Full is not lost: what is full ends no job wrongly, room is made without forgetting what has ended, and one tenant's
//! share is not another's.

use anyhow::{Context as _, bail, ensure};
use async_nats::jetstream::stream::Config;
use client::api;
use runtime::publish::Message;
use runtime::topology::apply;
use schemas::api::{CancelReply, JobRequest};
use schemas::topology::{Topology, bucket, stream};
use schemas::{Event, Fact, FailureCode, Job, JobId, JobState, codec, subjects};
use stack::StackOptions;
use tests::fleet::{LIMIT, TestFleet, look_until};
use tests::jobs::{prompt, tenant};

const MIB: i64 = 1024 * 1024;

async fn config(fleet: &TestFleet, name: &str) -> anyhow::Result<Config> {
    let stream = fleet.stack.broker.jetstream.get_stream(name).await?;
    Ok(stream.cached_info().config.clone())
}

async fn change(fleet: &TestFleet, name: &str, change: impl FnOnce(&mut Config)) -> anyhow::Result<()> {
    let mut config = config(fleet, name).await?;
    change(&mut config);
    fleet.stack.broker.jetstream.update_stream(config).await?;
    Ok(())
}

fn local_only(options: &mut StackOptions) {
    (options.runpod, options.gemini) = (None, None);
}

/// Publishes a job once more, under another message id: the broker does not know it for a repeat.
async fn publish_again(fleet: &TestFleet, job: &Job, nth: u32) -> anyhow::Result<()> {
    let subject = subjects::jobs(job.lane, &job.tenant);
    let message = Message::raw(subject, format!("again-{}-{nth}", job.id), codec::encode(job));
    fleet.stack.broker.publisher.publish(&message).await?;
    Ok(())
}

async fn is_empty(fleet: &TestFleet, name: &'static str) -> anyhow::Result<()> {
    look_until(&format!("stream {name} is empty"), async || {
        let stream = fleet.stack.broker.jetstream.get_stream(name).await?;
        Ok((stream.cached_info().state.messages == 0).then_some(()))
    })
    .await
}

async fn last_ended(fleet: &TestFleet, job: &Job) -> anyhow::Result<Event> {
    let events = fleet.stack.broker.jetstream.get_stream(stream::EVENTS).await?;
    let ended = events.direct_get_last_for_subject(subjects::event(&job.tenant, job.id, "ended")).await?;
    Ok(codec::decode(None, &ended.payload)?)
}

/// Posts to all ComfyUI simulators.
async fn runs(fleet: &TestFleet) -> anyhow::Result<u64> {
    let mut posts = 0;
    for simulator in &fleet.stack.simulators {
        posts += simulator.stats().await?["posts"].as_u64().unwrap_or_default();
    }
    Ok(posts)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tiny_stream_of_events_takes_many_times_what_fits_and_forgets_no_end() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        local_only(options);
        options.env.push(("ARGOSY_LEDGER__FACTS_YOUNG_MS".to_owned(), "0".to_owned()));
    })
    .await?;
    change(&fleet, stream::EVENTS, |config| config.max_bytes = MIB / 4).await?;
    let jobs: Vec<Job> = (0..120).map(|n| prompt(&format!("picture {n}"))).collect();
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    fleet.stack.submit(&jobs).await?;
    let tracker = fleet.stack.wait_ended(&ids, LIMIT).await?;
    ensure!(tracker.jobs().values().all(|view| view.state == JobState::Completed), "{tracker:?}");
    // Room was made: the first ends have left, and their markers stand for them.
    let first = &jobs[0];
    look_until("a marker stands for the first end", async || {
        Ok(last_ended(&fleet, first).await?.is_marker().then_some(()))
    })
    .await?;
    let events = fleet.stack.broker.jetstream.get_stream(stream::EVENTS).await?;
    let state = events.cached_info().state.clone();
    ensure!(state.first_sequence > 120, "{state:?}");
    let ran = runs(&fleet).await?;
    // Repeats of old publishes, also of those whose end has left, run nothing.
    for job in jobs.iter().take(20) {
        publish_again(&fleet, job, 1).await?;
    }
    is_empty(&fleet, stream::JOBS).await?;
    let audit = fleet.stack.audit(&ids, LIMIT).await?;
    ensure!(audit.holds(), "{:#?}", audit.findings);
    ensure!(runs(&fleet).await? == ran, "the GPUs ran something again");
    ensure!(last_ended(&fleet, first).await?.state() == Some(JobState::Completed));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_waits_in_hand_while_events_are_full_and_no_worker_counts_as_lost() -> anyhow::Result<()> {
    let mut fleet = TestFleet::start(|options| {
        local_only(options);
        options.comfyui.truncate(1);
        // Long enough to fill the stream while it runs.
        options.time_scale = 0.5;
    })
    .await?;
    let before = config(&fleet, stream::EVENTS).await?.max_bytes;
    let job = prompt("an outcome that waits");
    fleet.stack.submit(std::slice::from_ref(&job)).await?;
    look_until("the job runs", async || Ok((runs(&fleet).await? > 0).then_some(()))).await?;
    let held = fleet.stack.broker.jetstream.get_stream(stream::EVENTS).await?.cached_info().state.bytes;
    let held = i64::try_from(held)?;
    change(&fleet, stream::EVENTS, |config| config.max_bytes = held + 1).await?;
    let log = fleet.stack.member("worker-local-1")?.log_path().to_owned();
    look_until("the outcome waits", async || {
        let waits = std::fs::read_to_string(&log)?.matches("an outcome waits in hand").count();
        Ok((waits >= 3).then_some(()))
    })
    .await?;
    change(&fleet, stream::EVENTS, |config| config.max_bytes = before).await?;
    let tracker = fleet.stack.wait_ended(&[job.id], LIMIT).await?;
    let view = &tracker.jobs()[&job.id];
    ensure!(view.state == JobState::Completed && view.attempt == 1, "{view:?}");
    ensure!(runs(&fleet).await? == 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_inbox_ends_no_job_less() -> anyhow::Result<()> {
    let fleet = TestFleet::start(local_only).await?;
    change(&fleet, stream::PARKED, |config| config.max_bytes = 1).await?;
    // One that is refused, one that cannot be read, and one that fails for good.
    let mut refused = prompt("far too many steps");
    refused.body.steps = Some(9_999);
    let mut failed = prompt("nobody makes it");
    failed.body.model = Some("no-such-model".to_owned());
    failed.tenant = tenant("studio-b");
    let jobs = [refused, failed];
    fleet.stack.submit(&jobs).await?;
    fleet.stack.broker.client.publish("argosy.jobs.standard.flood", "no job at all".into()).await?;
    let tracker = fleet.stack.wait_ended(&jobs.each_ref().map(|job| job.id), LIMIT).await?;
    ensure!(tracker.jobs().values().all(|view| view.state == JobState::Failed), "{tracker:?}");
    is_empty(&fleet, stream::JOBS).await?;
    let parked = fleet.stack.broker.jetstream.get_stream(stream::PARKED).await?;
    ensure!(parked.cached_info().state.messages == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_fills_the_inbox_leaves_room_for_the_others() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        local_only(options);
        options.routers = 1;
        options.env.push(("ARGOSY_ROUTER__PARKED_PER_TENANT".to_owned(), "6".to_owned()));
    })
    .await?;
    for nth in 0..40 {
        let words = format!("no job: {}", "x".repeat(20_000 + nth));
        fleet.stack.broker.client.publish("argosy.jobs.standard.flood", words.into()).await?;
    }
    fleet.stack.broker.client.flush().await?;
    is_empty(&fleet, stream::JOBS).await?;
    let parked = fleet.stack.broker.jetstream.get_stream(stream::PARKED).await?;
    let state = parked.cached_info().state.clone();
    ensure!(state.messages == 6, "{state:?}");
    let mut other = prompt("far too many steps");
    (other.tenant, other.body.steps) = (tenant("studio-b"), Some(9_999));
    fleet.stack.submit(std::slice::from_ref(&other)).await?;
    fleet.stack.wait_ended(&[other.id], LIMIT).await?;
    let subject = subjects::parked(Some(&other.tenant), FailureCode::InvalidJob, Some(other.id));
    let message = parked.direct_get_last_for_subject(subject).await.context("it is parked")?;
    let kept: schemas::Parked = codec::decode(None, &message.payload)?;
    ensure!(kept.original().is_ok(), "whole, so that it can be redriven");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_the_largest_bad_publishes_makes_no_router_large() -> anyhow::Result<()> {
    const MOST_KIB: u64 = 400 * 1024;
    let mut fleet = TestFleet::start(|options| {
        local_only(options);
        options.routers = 1;
    })
    .await?;
    fleet.stack.member("router-1")?.pause()?;
    // Text that is no job, and a job whose workflow takes many times its bytes once it is read.
    let numbers = format!(r#"{{"id":7,"body":{{"workflow":[{}1]}}}}"#, "1,".repeat(440_000));
    let words = ["no job ".repeat(128_000), numbers];
    let jetstream = &fleet.stack.broker.jetstream;
    for nth in 0..240 {
        let bytes = words[nth % 2].clone();
        jetstream.publish("argosy.jobs.standard.flood", bytes.into()).await?.await?;
    }
    fleet.stack.member("router-1")?.resume()?;
    is_empty(&fleet, stream::JOBS).await?;
    let pid = fleet.stack.member("router-1")?.pid();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("Linux says so")?;
    let most_kib: u64 = most.trim().trim_end_matches(" kB").parse()?;
    ensure!(most_kib < MOST_KIB, "the router came to {most_kib} KiB");
    let job = prompt("the lane goes on");
    fleet.stack.submit(std::slice::from_ref(&job)).await?;
    fleet.stack.wait_ended(&[job.id], LIMIT).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_newer_schema_wait_within_their_tenants_share_and_end_past_it() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        local_only(options);
        options.routers = 1;
        options.env.push(("ARGOSY_ROUTER__TOO_NEW_WAIT_MS".to_owned(), "1".to_owned()));
        options.env.push(("ARGOSY_ROUTER__PARKED_PER_TENANT".to_owned(), "8".to_owned()));
    })
    .await?;
    let newer = async |of: &str, bytes: usize| {
        let job = Job { tenant: tenant(of), schema_version: 700, ..prompt(&"n".repeat(bytes)) };
        publish_again(&fleet, &job, 0).await?;
        anyhow::Ok(job)
    };
    let mut flood = Vec::new();
    for nth in 0..30 {
        flood.push(newer("flood", 30_000 + nth).await?);
    }
    is_empty(&fleet, stream::JOBS).await?;
    let parked = fleet.stack.broker.jetstream.get_stream(stream::PARKED).await?;
    // Half of its share is of any length; the others are too long to be kept short.
    ensure!(parked.cached_info().state.messages == 4, "{:?}", parked.cached_info().state);
    let short = newer("flood", 300).await?;
    let (others, mut refused) = (newer("studio-b", 40_000).await?, Vec::new());
    is_empty(&fleet, stream::JOBS).await?;
    for job in flood.iter().chain([&short, &others]) {
        let subject = subjects::parked(Some(&job.tenant), FailureCode::TooNew, Some(job.id));
        if let Ok(message) = parked.direct_get_last_for_subject(subject).await {
            let kept: schemas::Parked = codec::decode(None, &message.payload)?;
            ensure!(kept.original().is_ok(), "whole, so that it can be redriven");
        } else {
            refused.push(job);
        }
    }
    ensure!(refused.len() == 26 && refused.iter().all(|job| job.tenant == tenant("flood")));
    // What is not kept has ended, and says why.
    for job in refused {
        let event = last_ended(&fleet, job).await?;
        let Fact::Ended { failure: Some(failure), .. } = &event.fact else { bail!("{event:?}") };
        ensure!(failure.message.contains("parked_per_tenant"), "{failure:?}");
    }
    // A full inbox keeps none of anybody, and each ends.
    change(&fleet, stream::PARKED, |config| config.max_bytes = 1).await?;
    let last = newer("studio-c", 500).await?;
    let event = look_until("it ends", async || Ok(last_ended(&fleet, &last).await.ok())).await?;
    ensure!(event.state() == Some(JobState::Failed), "{event:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_refuses_more_jobs_of_a_tenant_than_may_wait() -> anyhow::Result<()> {
    let mut fleet = TestFleet::start(|options| {
        local_only(options);
        options.routers = 1;
        options.env.push(("ARGOSY_ROUTER__KEYS_PER_TENANT".to_owned(), "2".to_owned()));
        options.env.push(("ARGOSY_ROUTER__CANCELS_PER_TENANT".to_owned(), "2".to_owned()));
    })
    .await?;
    fleet.stack.member("router-1")?.pause()?;
    change(&fleet, stream::JOBS, |config| config.max_messages_per_subject = 5).await?;
    let flood: Vec<Job> = (0..8).map(|n| prompt(&format!("flood {n}"))).collect();
    let mut accepted = Vec::new();
    let publishing = flood.iter().map(|job| client::submit::job(&fleet.stack.broker.publisher, job));
    for (job, published) in flood.iter().zip(futures::future::join_all(publishing).await) {
        match published {
            Ok(_) => accepted.push(job.id),
            Err(error) => {
                let words = format!("{error:#}");
                ensure!(words.contains("as many jobs of this tenant wait in this lane as may"), "{words}");
            }
        }
    }
    ensure!(accepted.len() == 5, "{} accepted", accepted.len());
    let other = Job { tenant: tenant("studio-b"), ..prompt("not the flood's") };
    fleet.stack.submit(std::slice::from_ref(&other)).await?;
    fleet.stack.member("router-1")?.resume()?;
    accepted.push(other.id);
    let tracker = fleet.stack.wait_ended(&accepted, LIMIT).await?;
    ensure!(tracker.jobs().values().all(|view| view.state == JobState::Completed), "{tracker:?}");

    // Keys: the third is refused, and the first still names its job.
    let keyed = |key: &str| Job { idempotency_key: Some(key.to_owned()), ..prompt("one request") };
    let jobs = [keyed("a"), keyed("b"), keyed("c"), keyed("a")];
    for job in &jobs {
        fleet.stack.submit(std::slice::from_ref(job)).await?;
        fleet.stack.wait_ended(&[job.id], LIMIT).await?;
    }
    let tracker = fleet.stack.wait_ended(&jobs.each_ref().map(|job| job.id), LIMIT).await?;
    let failure = tracker.jobs().get(&jobs[2].id).and_then(|view| view.failure.clone()).context("refused")?;
    ensure!(failure.message.contains("tenant default has 2") && failure.message.contains("keys_per_tenant"));
    let events = fleet.stack.broker.jetstream.get_stream(stream::EVENTS).await?;
    let same = events.direct_get_last_for_subject(subjects::events_of_job(jobs[3].id)).await?;
    let same: Event = codec::decode(None, &same.payload)?;
    ensure!(matches!(same.fact, Fact::Duplicate { of } if of == jobs[0].id), "{same:?}");

    // Requests to cancel what may be on its way: the third is refused, another tenant's is not.
    let cancel = async |of: &str| {
        let (client, asked) = (&fleet.stack.broker.client, JobRequest { job: JobId::new(), tenant: None });
        api::request_as::<_, CancelReply>(client, Some(&tenant(of)), "cancel", &asked).await
    };
    for _ in 0..2 {
        cancel("studio-c").await?;
    }
    let refusal = format!("{:#}", cancel("studio-c").await.err().context("refused")?);
    ensure!(refusal.contains("tenant studio-c has 2") && refusal.contains("cancels_per_tenant"), "{refusal}");
    cancel("studio-d").await?;

    // Those that name no tenant have a share of their own, whatever tenants asked for.
    let nameless = async |job| {
        let client = &fleet.stack.broker.client;
        api::request::<_, CancelReply>(client, "cancel", &JobRequest::of(job)).await
    };
    for _ in 0..2 {
        ensure!(!nameless(JobId::new()).await?.known);
    }
    let refusal = format!("{:#}", nameless(JobId::new()).await.err().context("refused")?);
    ensure!(refusal.contains("2 requests name no tenant"), "{refusal}");
    ensure!(nameless(jobs[0].id).await?.known, "what is known of is bounded by itself");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_number_sizes_everything_and_no_later_apply_makes_it_smaller() -> anyhow::Result<()> {
    let fleet = TestFleet::start(local_only).await?;
    let jetstream = &fleet.stack.broker.jetstream;
    let store = format!("OBJ_{}", bucket::ARTIFACTS);
    let before = (config(&fleet, stream::EVENTS).await?.max_bytes, config(&fleet, &store).await?.max_bytes);
    let storage_bytes = 20_480 * MIB;
    let done = apply(jetstream, &Topology::new(1).with_storage_bytes(storage_bytes)).await?;
    ensure!(done.iter().any(|line| line.contains("object store ARTIFACTS: max_bytes raised")), "{done:?}");
    let after = (config(&fleet, stream::EVENTS).await?.max_bytes, config(&fleet, &store).await?.max_bytes);
    let thousandth = storage_bytes / 1_000;
    ensure!(after == (250 * thousandth, 350 * thousandth) && after > before, "{after:?}");
    // What is larger without it stays.
    ensure!(config(&fleet, stream::WORK).await?.max_bytes >= 1_024 * MIB);
    let done = apply(jetstream, &Topology::new(1)).await?;
    ensure!(done.iter().all(|line| !line.contains("max_bytes")), "{done:?}");
    ensure!(config(&fleet, &store).await?.max_bytes == after.1);
    Ok(())
}
