//! Odd answers of the simulator: each is one call, and the ledger's price is the invoice.

use schemas::{Assignment, FailureCode, Outcome};
use simulators::Fault;
use worker_host::Backend as _;

use crate::world::{World, attempt, cost, picture, run, video};

/// Runs one job under a fault and holds its price against the invoice.
async fn once(fault: &str, assignment: &Assignment) -> Outcome {
    let world = World::start().await;
    world.arm(vec![Fault::always(fault)]);
    let outcome = run(&world.backend(), assignment, None).await;
    assert_eq!(world.admin().stats().posts, 1, "{fault}");
    assert!(world.invoice() > 0, "{fault}");
    assert_eq!(cost(assignment, &outcome.usage), world.invoice(), "{fault}: {:?}", outcome.usage);
    outcome
}

#[tokio::test]
async fn what_cannot_be_used_is_one_charged_failure() {
    for (fault, says, words) in [
        ("words_only", "STOP, only text of its thoughts, text", "I will not draw one"),
        ("no_image", "NO_IMAGE", "did not make a picture"),
        ("finish_other", "OTHER", "another reason"),
    ] {
        let failure = once(fault, &picture()).await.failure.expect(fault);
        assert_eq!(failure.code, FailureCode::UnusableResult, "{fault}");
        assert!(failure.message.contains(says), "{}", failure.message);
        assert!(failure.provider_words.as_deref().unwrap_or_default().contains(words), "{failure:?}");
    }
    for (fault, says) in [
        ("words_only", "in words"),
        ("completed_without_content", "made nothing"),
        ("interaction_incomplete", "incomplete"),
    ] {
        let failure = once(fault, &video()).await.failure.expect(fault);
        assert_eq!(failure.code, FailureCode::UnusableResult, "{fault}");
        assert!(failure.message.contains(says), "{}", failure.message);
    }
}

#[tokio::test]
async fn three_of_a_kind_are_three_artifacts_and_booked_once_each() {
    for assignment in [picture(), video()] {
        let outcome = once("three_images", &assignment).await;
        assert_eq!(outcome.failure, None);
        let mut keys: Vec<_> = outcome.artifacts.iter().map(|artifact| &artifact.at.key).collect();
        keys.dedup();
        assert_eq!(keys.len(), 3, "{keys:?}");
    }
}

#[tokio::test]
async fn three_pictures_in_the_background() {
    let world = World::start().await;
    world.arm(vec![Fault::always("three_images")]);
    let assignment = picture();
    let (mut attempt, _io, _stopper) = attempt(&assignment, None);
    attempt.service.family = "interactions".to_owned();
    let outcome = world.backend().run(&attempt).await;
    assert_eq!((outcome.failure, outcome.artifacts.len()), (None, 3));
    assert_eq!(cost(&assignment, &outcome.usage), world.invoice());
}

#[tokio::test]
async fn a_file_that_is_there_is_delivered_however_odd_the_rest() {
    for fault in ["null_fields", "totals_disagree", "details_missing"] {
        for assignment in [picture(), video()] {
            let outcome = once(fault, &assignment).await;
            assert_eq!(outcome.failure, None, "{fault}");
            assert_eq!(outcome.artifacts.len(), 1, "{fault}");
        }
    }
    assert_eq!(once("draft_only", &picture()).await.artifacts.len(), 1);
}

#[tokio::test]
async fn whatever_is_drawn_costs_what_is_billed() {
    let world = World::start().await;
    world.arm(vec![Fault::always("odd_answer")]);
    let backend = world.backend();
    let mut total = 0;
    for n in 0..16 {
        let assignment = if n % 3 == 0 { video() } else { picture() };
        let outcome = run(&backend, &assignment, None).await;
        let code = outcome.failure.as_ref().map(|failure| failure.code);
        assert!(matches!(code, None | Some(FailureCode::UnusableResult)), "{:?}", outcome.failure);
        assert_eq!(outcome.artifacts.is_empty(), code.is_some());
        total += cost(&assignment, &outcome.usage);
        assert_eq!(total, world.invoice(), "{outcome:?}");
    }
    assert_eq!(world.admin().stats().posts, 16, "one call each");
}
