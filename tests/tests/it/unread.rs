//! The stream of jobs takes exactly what intake reads; and what an earlier version of it took in is not lost.

use anyhow::{Context as _, ensure};
use async_nats::jetstream::stream::Config;
use client::follow::{Since, events};
use futures::StreamExt as _;
use runtime::publish::Message;
use schemas::topology::{Topology, stream};
use schemas::{Fact, Failure, Job, JobId, JobState, codec};
use stack::Role;
use std::collections::BTreeMap;
use tests::fleet::{LIMIT, TestFleet};
use tests::jobs::{prompt, tenant};

fn message(subject: &str, job: &Job) -> Message {
    Message::new(subject.to_owned(), job.id.to_string(), job)
}

/// How each of these jobs ended: in whose name, and why.
async fn ends(fleet: &TestFleet, jobs: &[JobId]) -> anyhow::Result<BTreeMap<JobId, (String, Failure)>> {
    let mut found = BTreeMap::new();
    let mut all = Box::pin(events(&fleet.stack.broker.jetstream, jobs, Since::Ever).await?);
    let reading = async {
        while found.len() < jobs.len() {
            let event = all.next().await.context("the stream ended")??;
            if let Fact::Ended { state: JobState::Failed, failure: Some(failure), .. } = event.fact {
                found.insert(event.job, (event.tenant.to_string(), failure));
            }
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(LIMIT, reading).await??;
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_refuses_a_lane_that_nobody_reads() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| (options.runpod, options.gemini) = (None, None)).await?;
    let publisher = &fleet.stack.broker.publisher;
    for subject in ["argosy.jobs.urgent.default", "argosy.jobs.Standard.default", "argosy.jobs.batch.a.b"] {
        let refused = publisher.publish(&message(subject, &prompt("nobody reads this"))).await;
        let words = refused.err().with_context(|| format!("{subject} was accepted"))?.to_string();
        ensure!(words.contains(subject) && words.contains("argosy.jobs.<lane>.<tenant>"), "{words}");
    }
    let job = prompt("somebody reads this");
    publisher
        .publish(&message("argosy.jobs.batch.default", &Job { lane: schemas::Lane::Batch, ..job }))
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_where_nobody_reads_ends_with_its_reason() -> anyhow::Result<()> {
    let mut fleet = TestFleet::start(|options| (options.runpod, options.gemini) = (None, None)).await?;
    for router in fleet.stack.members.iter_mut().filter(|member| member.role == Role::Router) {
        router.kill9()?;
    }
    // As the version before left it.
    let jetstream = fleet.stack.broker.jetstream.clone();
    let jobs = jetstream.get_stream(stream::JOBS).await?;
    let config = jobs.cached_info().config.clone();
    jetstream.update_stream(Config { subjects: vec!["argosy.jobs.*.*".to_owned()], ..config }).await?;
    let [urgent, odd, upper, dotted] = [
        ("argosy.jobs.urgent.default", prompt("urgent")),
        ("argosy.jobs.Standard.Studio-B", prompt("no lane and no tenant")),
        // A lane reads these: the tenant in the subject is no name, or not the one in the body.
        ("argosy.jobs.standard.ACME", prompt("an upper-case tenant")),
        ("argosy.jobs.standard.did:web:x", Job { tenant: tenant("studio-a"), ..prompt("a DID") }),
    ];
    for (subject, job) in [&urgent, &odd, &upper, &dotted] {
        fleet.stack.broker.publisher.publish(&message(subject, job)).await?;
    }
    let done = runtime::topology::apply(&jetstream, &Topology::new(1)).await?;
    ensure!(done.iter().any(|line| line.starts_with("stream JOBS: subjects changed")), "{done:?}");
    let held = jetstream.get_stream(stream::JOBS).await?.cached_info().state.messages;
    ensure!(held == 4, "{held} messages: narrowing the subjects takes nothing away");
    for router in fleet.stack.members.iter_mut().filter(|member| member.role == Role::Router) {
        router.restart()?;
    }
    let ids = [&urgent, &odd, &upper, &dotted].map(|(_, job)| job.id);
    let ends = ends(&fleet, &ids).await?;
    let of = |(_, job): &(&str, Job)| ends[&job.id].clone();
    let (owner, failure) = of(&urgent);
    ensure!(owner == "default" && failure.field.as_deref() == Some("lane"), "{owner} {failure:?}");
    ensure!(failure.message.contains("interactive, standard, batch"), "{failure:?}");
    let (owner, failure) = of(&odd);
    ensure!(owner == "unknown" && failure.field.as_deref() == Some("lane"), "{owner} {failure:?}");
    for (case, names) in [(&upper, ["`default`", "`ACME`"]), (&dotted, ["`studio-a`", "`did:web:x`"])] {
        let (owner, failure) = of(case);
        ensure!(owner == "unknown" && failure.field.as_deref() == Some("tenant"), "{owner} {failure:?}");
        ensure!(names.iter().all(|name| failure.message.contains(name)), "both are named: {failure:?}");
    }
    let report = fleet.stack.audit(&ids, LIMIT).await?;
    ensure!(report.holds(), "{:?}", report.findings);
    // Each is parked with its bytes, and its place in the lane is free.
    let parked = client::parked::list(&jetstream, &client::parked::Filter::default(), 10).await?;
    ensure!(parked.len() == 4, "{parked:?}");
    let mut jobs = jetstream.get_stream(stream::JOBS).await?;
    let emptied = async {
        while jobs.info().await?.state.messages > 0 {
            tokio::task::yield_now().await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(LIMIT, emptied).await??;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_on_its_way_ends_its_job() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| (options.runpod, options.gemini) = (None, None)).await?;
    let publisher = &fleet.stack.broker.publisher;
    let [assignment, cut, letter] = [(); 3].map(|()| JobId::new());
    let class = fleet.stack.broker.jetstream.get_stream(stream::WORK).await?;
    let served: Vec<String> = futures::TryStreamExt::try_collect(class.consumer_names()).await?;
    let served = served.iter().find_map(|name| name.strip_prefix("local-")).context("a class is served")?;
    let odd = serde_json::json!({ "attempt": "first", "job": { "id": assignment, "tenant": "studio-a" } });
    let work = |job: JobId| format!("argosy.work.local.{served}.{job}");
    publisher.publish(&Message::raw(work(assignment), "odd".to_owned(), codec::encode(&odd))).await?;
    publisher.publish(&Message::raw(work(cut), "cut".to_owned(), vec![0x82, 0xa1])).await?;
    let dead = format!("argosy.dead.local.{letter}");
    publisher.publish(&Message::raw(dead, "letter".to_owned(), b"{}".to_vec())).await?;
    let ends = ends(&fleet, &[assignment, cut, letter]).await?;
    for (job, owner) in [(assignment, "studio-a"), (cut, "unknown"), (letter, "unknown")] {
        let (tenant, failure) = &ends[&job];
        ensure!(tenant == owner && failure.message.contains("cannot be read"), "{tenant} {failure:?}");
    }
    let parked =
        client::parked::list(&fleet.stack.broker.jetstream, &client::parked::Filter::default(), 10).await?;
    ensure!(parked.len() == 3, "{parked:?}");
    Ok(())
}
