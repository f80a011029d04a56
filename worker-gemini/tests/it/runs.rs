//! Runs against the simulator: stopping, resuming, what it costs, and what the API's state says.

use schemas::{FailureCode, Health, Input};
use simulators::Fault;
use worker_gemini::GeminiBackend;
use worker_host::conformance::until;
use worker_host::{Backend as _, Stop};

use crate::world::{World, attempt, cost, fleet, picture, run, video};

fn code(outcome: &schemas::Outcome) -> Option<FailureCode> {
    outcome.failure.as_ref().map(|failure| failure.code)
}

#[tokio::test]
async fn a_drain_waits_for_a_picture() {
    let world = World::start().await;
    let backend = world.backend();
    let assignment = picture();
    let (attempt, _io, stopper) = attempt(&assignment, None);
    let (outcome, ()) = tokio::join!(backend.run(&attempt), async {
        until("working", || world.admin().stats().running_now == 1).await;
        stopper.stop(Stop::Drain);
    });
    assert_eq!(outcome.failure, None, "it is paid, so it is kept");
    assert_eq!(outcome.artifacts.len(), 1);
    assert_eq!(cost(&assignment, &outcome.usage), world.invoice());
}

#[tokio::test]
async fn a_cancelled_picture_is_possibly_billed_and_says_so() {
    let world = World::start().await;
    let backend = world.backend();
    let (attempt, _io, stopper) = attempt(&picture(), None);
    let (outcome, ()) = tokio::join!(backend.run(&attempt), async {
        until("working", || world.admin().stats().running_now == 1).await;
        stopper.stop(Stop::Cancelled);
    });
    assert_eq!(code(&outcome), Some(FailureCode::Cancelled));
    assert!(outcome.usage.is_empty(), "nobody knows");
    let words = outcome.failure.and_then(|failure| failure.provider_words).unwrap_or_default();
    assert!(words.contains("possibly billed"), "{words}");
    until("billed after all", || world.invoice() > 0).await;
}

#[tokio::test]
async fn stopped_before_the_start_nothing_is_started() {
    let world = World::start().await;
    for assignment in [picture(), video()] {
        let (attempt, _io, stopper) = attempt(&assignment, None);
        stopper.stop(Stop::Expired);
        let outcome = world.backend().run(&attempt).await;
        assert_eq!(code(&outcome), Some(FailureCode::Expired));
        assert_eq!(cost(&assignment, &outcome.usage), 0);
        assert!(!outcome.usage.is_empty(), "known to be nothing");
    }
    assert_eq!(world.admin().stats().posts, 0);
}

#[tokio::test]
async fn a_picture_is_not_taken_up_again() {
    let world = World::start().await;
    let outcome = run(&world.backend(), &picture(), Some("abc".to_owned())).await;
    assert_eq!(code(&outcome), Some(FailureCode::OutcomeUnknown));
    assert_eq!(world.admin().stats().posts, 0);
}

#[tokio::test]
async fn a_drain_leaves_a_video_and_another_worker_takes_it_up() {
    let world = World::start().await;
    let assignment = video();
    let (attempt, io, stopper) = attempt(&assignment, None);
    let backend = world.backend();
    let (outcome, ()) = tokio::join!(backend.run(&attempt), async {
        until("recorded", || !io.started.lock().expect("no panic").is_empty()).await;
        stopper.stop(Stop::Drain);
    });
    assert_eq!(code(&outcome), Some(FailureCode::Interrupted));
    let recorded = io.started.lock().expect("no panic").get(&assignment.id()).cloned();
    assert!(recorded.is_some());
    assert_eq!(outcome.provider_id, recorded);

    let outcome = run(&world.backend(), &assignment, recorded).await;
    assert_eq!(outcome.failure, None);
    assert_eq!(outcome.artifacts[0].media_type, "video/mp4");
    assert_eq!(world.admin().stats().posts, 1);
    assert_eq!(cost(&assignment, &outcome.usage), world.invoice());
}

#[tokio::test]
async fn every_known_end_costs_what_the_provider_bills() {
    let world = World::start().await;
    let backend = world.backend();
    let mut total = 0;
    let pictures =
        [None, Some("prompt_blocked"), Some("image_safety"), Some("no_image")].map(|f| (f, picture()));
    let videos = [None, Some("interaction_failed"), Some("completed_without_content"), Some("file_expired")];
    for (fault, assignment) in pictures.into_iter().chain(videos.map(|f| (f, video()))) {
        world.arm(fault.map(Fault::always).into_iter().collect());
        let outcome = run(&backend, &assignment, None).await;
        assert_eq!(outcome.failure.is_some(), fault.is_some(), "{outcome:?}");
        assert!(!outcome.usage.is_empty(), "{outcome:?}");
        total += cost(&assignment, &outcome.usage);
        assert_eq!(total, world.invoice(), "{fault:?}");
    }
    assert!(total > 0);
}

#[tokio::test]
async fn a_missing_bill_is_not_a_free_one() {
    let world = World::start().await;
    world.arm(vec![Fault::always("usage_missing")]);
    for assignment in [picture(), video()] {
        let outcome = run(&world.backend(), &assignment, None).await;
        assert_eq!(outcome.failure, None);
        assert_eq!(outcome.artifacts.len(), 1);
        assert!(outcome.usage.is_empty(), "{outcome:?}");
    }
}

#[tokio::test]
async fn outages_while_it_runs_are_sat_out() {
    let world = World::start().await;
    let fault = |name, times| Fault { node: Some("/interactions/".to_owned()), ..Fault::times(name, times) };
    world.arm(vec![fault("http_503", 3), fault("http_429_minute", 3), fault("api_key_invalid", 3)]);
    let outcome = run(&world.backend(), &video(), None).await;
    assert_eq!(outcome.failure, None);
    assert_eq!(world.admin().stats().posts, 1);
}

#[tokio::test]
async fn an_endless_outage_ends_unknown_and_not_again() {
    let world = World::start().await;
    world.arm(vec![Fault { node: Some("/interactions/".to_owned()), ..Fault::always("http_503") }]);
    let outcome = run(&world.backend(), &video(), None).await;
    assert_eq!(code(&outcome), Some(FailureCode::OutcomeUnknown));
    assert!(outcome.provider_id.is_some() && outcome.usage.is_empty());
    world.arm(Vec::new());
    let outcome = run(&world.backend(), &video(), Some("v1_unheard_of".to_owned())).await;
    assert_eq!(code(&outcome), Some(FailureCode::OutcomeUnknown));
    assert_eq!(world.admin().stats().posts, 1);
}

#[tokio::test]
async fn inputs_are_sent_along() {
    let world = World::start().await;
    let (made, io, _stopper) = attempt(&picture(), None);
    assert_eq!(world.backend().run(&made).await.failure, None);
    let files: Vec<_> = io.files.lock().expect("no panic").clone().into_iter().collect();
    for mut assignment in [picture(), video()] {
        let without = run(&world.backend(), &assignment, None).await;
        assignment.job.body.inputs = vec![Input {
            name: "photo.png".to_owned(),
            artifact: schemas::ArtifactRef::new("MEMORY", files[0].0.clone()),
            media_type: "image/png".to_owned(),
            unknown: schemas::UnknownFields::default(),
        }];
        let (attempt, io, _stopper) = attempt(&assignment, None);
        io.files.lock().expect("no panic").extend(files.clone());
        let with = world.backend().run(&attempt).await;
        assert_eq!(with.failure, None);
        // An input picture counts as much as a made one.
        assert_eq!(with.usage[0].quantity, without.usage[0].quantity + 1_120);
    }
}

#[tokio::test]
async fn inputs_that_are_too_large_together_are_refused_without_a_load() {
    let world = World::start().await;
    for mut assignment in [picture(), video()] {
        let reference = |n: usize| Input {
            name: format!("{n}.png"),
            artifact: schemas::ArtifactRef::new("MEMORY", "large"),
            media_type: "image/png".to_owned(),
            unknown: schemas::UnknownFields::default(),
        };
        assignment.job.body.inputs = (0..8).map(reference).collect();
        let (attempt, io, _stopper) = attempt(&assignment, None);
        io.files.lock().expect("no panic").insert("large".to_owned(), vec![0_u8; 200_000_000].into());
        let failure = world.backend().run(&attempt).await.failure.expect("refused");
        assert_eq!((failure.code, failure.field.as_deref()), (FailureCode::InvalidJob, Some("body.inputs")));
        assert_eq!(io.loads.load(std::sync::atomic::Ordering::SeqCst), 0);
    }
    assert_eq!(world.admin().stats().posts, 0);
}

#[tokio::test]
async fn a_picture_can_be_made_in_the_background() {
    let world = World::start().await;
    let assignment = picture();
    let (mut attempt, io, _stopper) = attempt(&assignment, None);
    attempt.service.family = "interactions".to_owned();
    let outcome = world.backend().run(&attempt).await;
    assert_eq!(outcome.failure, None);
    assert_eq!(outcome.artifacts[0].media_type, "image/png");
    assert_eq!(io.started.lock().expect("no panic").get(&assignment.id()), outcome.provider_id.as_ref());
    assert_eq!(cost(&assignment, &outcome.usage), world.invoice());
    attempt.service.family = "carrier_pigeon".to_owned();
    assert_eq!(code(&world.backend().run(&attempt).await), Some(FailureCode::CapabilityMissing));
}

#[tokio::test]
async fn the_api_tells_how_it_is() {
    let world = World::start().await;
    assert_eq!(world.backend().discover().await.classes.len(), 4);

    let mut catalog = policy::defaults::catalog();
    for service in &mut catalog.services {
        match service.class.as_str() {
            "image-small" => service.model = "gemini-2.5-flash-image".to_owned(),
            "image-large" => service.retires_at_ms = Some(1),
            "image-xl" => service.family = "predict".to_owned(),
            _ => {}
        }
    }
    let backend = GeminiBackend::new(world.config.clone(), fleet(catalog)).expect("a good configuration");
    let classes = backend.discover().await.classes;
    assert_eq!(classes.iter().map(schemas::Class::as_str).collect::<Vec<_>>(), ["video"]);

    let models = |name| Fault { node: Some("/models".to_owned()), ..Fault::always(name) };
    for (fault, health) in [("api_key_invalid", Health::Stopped), ("http_503", Health::Down)] {
        world.arm(vec![models(fault)]);
        assert_eq!(world.backend().discover().await.health, health, "{fault}");
    }
    let backend = world.backend();
    drop(world);
    assert_eq!(backend.discover().await.health, Health::Down);
    assert_eq!(code(&run(&backend, &picture(), None).await), Some(FailureCode::BackendDown));
}

#[tokio::test]
async fn a_retired_model_is_a_missing_capability() {
    let world = World::start().await;
    let assignment = picture();
    let (mut attempt, _io, _stopper) = attempt(&assignment, None);
    attempt.service.model = "gemini-2.5-flash-image".to_owned();
    let failure = world.backend().run(&attempt).await.failure.expect("retired");
    assert_eq!(failure.code, FailureCode::CapabilityMissing);
    assert_eq!(failure.missing, ["gemini-2.5-flash-image"]);
    attempt.service.model = "gemini-omni-1.1-flash".to_owned();
    let failure = world.backend().run(&attempt).await.failure.expect("the wrong family");
    assert_eq!(failure.code, FailureCode::CapabilityMissing);
}
