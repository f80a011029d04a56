//! A job's way through the provider: resuming, stopping, what it costs, and what the endpoint's state says.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use schemas::{
    Artifact, Assignment, AttemptId, Failure, FailureCode, Health, Input, Kind, MicroUsd, Phase, Tenant, Unit,
};
use simulators::Fault;
use simulators::runpod::Config;
use worker_host::conformance::until;
use worker_host::{Attempt, AttemptIo, Backend as _, Stop};

use crate::world::{World, assignment, attempt, run, simulated};

fn code(outcome: &schemas::Outcome) -> Option<FailureCode> {
    outcome.failure.as_ref().map(|failure| failure.code)
}

#[tokio::test]
async fn a_drain_leaves_the_job_and_another_worker_takes_it_up() {
    let world = World::start(simulated()).await;
    let backend = world.backend();
    let assignment = assignment();
    let (attempt, io, stopper) = attempt(&assignment, None);
    let admin = world.admin();
    let (outcome, ()) = tokio::join!(backend.run(&attempt), async {
        until("running", || admin.stats().running_now == 1).await;
        stopper.stop(Stop::Drain);
    });
    assert_eq!(code(&outcome), Some(FailureCode::Interrupted));
    let recorded = io.started.lock().expect("no panic").get(&assignment.id()).cloned();
    assert!(recorded.is_some());
    assert_eq!(outcome.provider_id, recorded);
    assert!(outcome.usage.is_empty(), "it still runs: nothing is known");

    let outcome = run(&world.backend(), &assignment, recorded).await;
    assert_eq!(outcome.failure, None);
    assert_eq!(world.admin().stats().posts, 1);
    assert_eq!(world.cost(&[outcome.usage]), world.invoice());
}

#[tokio::test]
async fn every_end_costs_what_the_provider_bills() {
    let world = World::start(simulated()).await;
    let backend = world.backend();
    let mut usages = Vec::new();
    for fault in [None, Some("failed_oom"), Some("completed_without_output"), Some("timed_out_after_retries")]
    {
        world.arm(fault.map(|name| Fault::times(name, 1)).into_iter().collect());
        let outcome = run(&backend, &assignment(), None).await;
        assert_eq!(outcome.failure.is_some(), fault.is_some(), "{outcome:?}");
        assert_eq!(outcome.usage.len(), 1, "{outcome:?}");
        usages.push(outcome.usage);
    }
    for stop in [Stop::Cancelled, Stop::Timeout] {
        let assignment = assignment();
        let (attempt, _io, stopper) = attempt(&assignment, None);
        let (outcome, ()) = tokio::join!(backend.run(&attempt), async {
            until("running", || world.admin().stats().running_now == 1).await;
            stopper.stop(stop);
        });
        assert_eq!(code(&outcome), Some(stop.code()));
        assert_eq!(outcome.usage.len(), 1, "{outcome:?}");
        usages.push(outcome.usage);
    }
    assert!(world.invoice() > 0);
    assert_eq!(world.cost(&usages), world.invoice());
}

#[tokio::test]
async fn what_is_cancelled_in_the_queue_costs_nothing() {
    let world = World::start(simulated()).await;
    world.arm(vec![Fault::always("queue_forever")]);
    let assignment = assignment();
    let (attempt, io, stopper) = attempt(&assignment, None);
    let backend = world.backend();
    let (outcome, ()) = tokio::join!(backend.run(&attempt), async {
        let queued = |(phase, _, _): &(schemas::Phase, u32, u32)| *phase == schemas::Phase::Queued;
        until("seen waiting", || io.progress.lock().expect("no panic").iter().any(queued)).await;
        stopper.stop(Stop::Cancelled);
    });
    assert_eq!(code(&outcome), Some(FailureCode::Cancelled));
    assert_eq!(outcome.usage.iter().map(|usage| usage.quantity).collect::<Vec<_>>(), [0]);
    assert_eq!(world.invoice(), 0);
}

#[tokio::test]
async fn stopped_before_the_start_nothing_is_started() {
    let world = World::start(simulated()).await;
    let assignment = assignment();
    let (attempt, _io, stopper) = attempt(&assignment, None);
    stopper.stop(Stop::Expired);
    let outcome = world.backend().run(&attempt).await;
    assert_eq!(code(&outcome), Some(FailureCode::Expired));
    assert_eq!(outcome.usage, [schemas::Usage { unit: Unit::ExecutionMs, quantity: 0 }]);
    assert_eq!(world.admin().stats().posts, 0);
}

#[tokio::test]
async fn outages_while_it_runs_are_sat_out() {
    let world = World::start(simulated()).await;
    let fault = |name, times| Fault { node: Some("/status/".to_owned()), ..Fault::times(name, times) };
    world.arm(vec![
        fault("http_502", 3),
        fault("http_429", 3),
        fault("http_401", 3),
        Fault::times("status_404", 2),
    ]);
    let outcome = run(&world.backend(), &assignment(), None).await;
    assert_eq!(outcome.failure, None);
    assert_eq!(world.admin().stats().posts, 1);
}

#[tokio::test]
async fn a_lost_answer_is_not_asked_for_again() {
    let world = World::start(simulated()).await;
    world.arm(vec![Fault::times("lost_run_answer", 1)]);
    let outcome = run(&world.backend(), &assignment(), None).await;
    assert_eq!(code(&outcome), Some(FailureCode::OutcomeUnknown));
    assert!(outcome.provider_id.is_none() && outcome.usage.is_empty());
    assert_eq!(world.admin().stats().posts, 1);
}

/// An outside that cannot make the provider's id durable.
struct Forgetful;

#[async_trait]
impl AttemptIo for Forgetful {
    async fn started(&self, _: AttemptId, _: &str) -> Result<(), Failure> {
        Err(Failure::new(FailureCode::Interrupted, "the broker is away"))
    }

    async fn size(&self, _: &Input) -> Result<u64, Failure> {
        Err(Failure::new(FailureCode::Interrupted, "the broker is away"))
    }

    async fn load(&self, _: &Input) -> Result<Bytes, Failure> {
        Err(Failure::new(FailureCode::Interrupted, "the broker is away"))
    }

    async fn save(&self, _: &Tenant, _: AttemptId, _: usize, _: &str, _: Bytes) -> Result<Artifact, Failure> {
        Err(Failure::new(FailureCode::Interrupted, "the broker is away"))
    }

    fn progress(&self, _: &Assignment, _: Phase, _: u32, _: u32, _: Option<&str>) {}
}

#[tokio::test]
async fn an_id_that_cannot_be_recorded_ends_the_attempt_with_it() {
    let world = World::start(simulated()).await;
    let (known, _io, stopper) = attempt(&assignment(), None);
    let (catalog, service) = (known.catalog.clone(), known.service.clone());
    let forgetful = Attempt::new(known.assignment, catalog, service, None, Arc::new(Forgetful), stopper);
    let outcome = world.backend().run(&forgetful).await;
    assert_eq!(code(&outcome), Some(FailureCode::Interrupted));
    assert!(outcome.provider_id.is_some());
    assert_eq!(world.admin().stats().posts, 1);
}

#[tokio::test]
async fn an_endless_outage_ends_unknown_and_not_again() {
    let world = World::start(simulated()).await;
    world.arm(vec![Fault { node: Some("/status/".to_owned()), ..Fault::always("http_502") }]);
    let outcome = run(&world.backend(), &assignment(), None).await;
    assert_eq!(code(&outcome), Some(FailureCode::OutcomeUnknown));
    assert!(outcome.provider_id.is_some() && outcome.usage.is_empty());
    assert_eq!(world.admin().stats().posts, 1);
}

#[tokio::test]
async fn nothing_listening_means_nothing_started() {
    let world = World::start(simulated()).await;
    let backend = world.backend();
    drop(world);
    let outcome = run(&backend, &assignment(), None).await;
    assert_eq!(code(&outcome), Some(FailureCode::BackendDown), "{outcome:?}");
    assert_eq!(backend.discover().await.health, Health::Down);
}

#[tokio::test]
async fn the_reserved_money_is_the_execution_limit() {
    // 33 s at 190 micro-dollars a second do not fit into what buys 6 s.
    let world = World::start(Config { image_median_ms: 33_000, ..simulated() }).await;
    let mut assignment = assignment();
    assignment.reserved_micro_usd = MicroUsd(6 * 190);
    let outcome = run(&world.backend(), &assignment, None).await;
    assert_eq!(code(&outcome), Some(FailureCode::Timeout), "{outcome:?}");
    assert_eq!(outcome.usage, [schemas::Usage { unit: Unit::ExecutionMs, quantity: 6_000 }]);
    assert_eq!(world.invoice(), 6 * 190);
}

#[tokio::test]
async fn a_workflow_with_an_input_and_a_video_come_back() {
    let world = World::start(simulated()).await;
    let backend = world.backend();
    let mut picture = assignment();
    picture.job.body.prompt = None;
    picture.job.body.model = None;
    picture.job.body.workflow = Some(serde_json::json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": "photo.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "mine"}},
    }));
    // Any real picture does as an input: the one just made.
    let (made, io, _stopper) = attempt(&assignment(), None);
    assert_eq!(backend.run(&made).await.failure, None);
    let files: Vec<_> = io.files.lock().expect("no panic").clone().into_iter().collect();
    picture.job.body.inputs = vec![Input {
        name: "photo.png".to_owned(),
        artifact: schemas::ArtifactRef::new("MEMORY", files[0].0.clone()),
        media_type: "image/png".to_owned(),
        unknown: schemas::UnknownFields::default(),
    }];
    let (edited, io, _stopper) = attempt(&picture, None);
    io.files.lock().expect("no panic").extend(files);
    let outcome = backend.run(&edited).await;
    assert_eq!(outcome.failure, None);
    assert_eq!(outcome.artifacts[0].media_type, "image/png");

    let mut video = assignment();
    video.class = "video".parse().expect("a name");
    video.job.body.kind = Kind::Video;
    let catalog = policy::defaults::catalog();
    let mut graph = catalog.model("wan").expect("shipped").template.clone();
    graph["28"] =
        serde_json::json!({"class_type": "CreateVideo", "inputs": {"images": ["8", 0], "fps": 16.0}});
    graph["29"] = serde_json::json!({"class_type": "SaveVideo", "inputs":
        {"video": ["28", 0], "filename_prefix": "mine", "format": "mp4", "codec": "h264"}});
    for (node, input, value) in
        [("40", "width", 64), ("40", "height", 64), ("40", "length", 5), ("3", "seed", 1), ("3", "steps", 4)]
    {
        graph[node]["inputs"][input] = value.into();
    }
    (video.job.body.prompt, video.job.body.model) = (None, None);
    video.job.body.workflow = Some(graph);
    let outcome = run(&backend, &video, None).await;
    assert_eq!(outcome.failure, None);
    assert_eq!(outcome.artifacts[0].media_type, "video/mp4");
}

#[tokio::test]
async fn the_endpoint_tells_how_it_is() {
    let world = World::start(simulated()).await;
    let classes = world.backend().discover().await.classes;
    assert_eq!(classes.len(), 4, "{classes:?}");

    let mut elsewhere = World::start(simulated()).await;
    elsewhere.config.endpoint = "no-such-endpoint".to_owned();
    assert_eq!(elsewhere.backend().discover().await.health, Health::Stopped);
    let outcome = run(&elsewhere.backend(), &assignment(), None).await;
    assert_eq!(code(&outcome), Some(FailureCode::ProviderStopped));

    for (fault, health) in
        [("http_401", Health::Stopped), ("http_502", Health::Down), ("http_429", Health::Healthy)]
    {
        world.arm(vec![Fault::always(fault)]);
        assert_eq!(world.backend().discover().await.health, health, "{fault}");
    }
}

#[tokio::test]
async fn what_completed_before_the_limit_stopped_it_is_delivered() {
    for (stop, wanted) in [(Stop::Timeout, None), (Stop::Expired, Some(FailureCode::Expired))] {
        let mut world = World::start(simulated()).await;
        // It looks so rarely that the limit comes first.
        (world.config.poll_min_ms, world.config.poll_max_ms) = (60_000, 60_000);
        let (assignment, backend) = (assignment(), world.backend());
        let (attempt, _io, stopper) = attempt(&assignment, None);
        let (outcome, ()) = tokio::join!(backend.run(&attempt), async {
            until("billed", || world.invoice() > 0).await;
            stopper.stop(stop);
        });
        assert_eq!(code(&outcome), wanted, "{outcome:?}");
        assert_eq!(outcome.artifacts.is_empty(), wanted.is_some());
        assert_eq!(world.cost(&[outcome.usage]), world.invoice());
        assert_eq!(world.admin().stats().posts, 1);
    }
}
