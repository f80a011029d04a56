//! What a request can cost is known before it is sent, and is what was reserved.

use schemas::{ArtifactRef, Assignment, Failure, FailureCode, Input, Unit, Usage};
use worker_gemini::gemini::bounds;
use worker_host::Backend as _;

use crate::world::{World, attempt, cost, picture, run, video};

fn input(name: &str, media_type: &str) -> Input {
    Input {
        name: name.to_owned(),
        artifact: ArtifactRef::new("MEMORY", name),
        media_type: media_type.to_owned(),
        unknown: schemas::UnknownFields::default(),
    }
}

fn service(assignment: &Assignment) -> schemas::Service {
    let catalog = policy::defaults::catalog();
    catalog.service(&assignment.backend, &assignment.class).expect("shipped").clone()
}

fn check(assignment: &Assignment) -> Result<(), Failure> {
    bounds::check(&assignment.job, &service(assignment))
}

#[test]
fn only_pictures_have_a_known_number_of_tokens() {
    for known in ["image/png", "image/jpeg", "image/jpg", "IMAGE/WEBP", "image/heic", "image/heif; q=1"] {
        let mut assignment = picture();
        assignment.job.body.inputs = vec![input("a", known)];
        assert_eq!(check(&assignment), Ok(()), "{known}");
    }
    for unknown in
        ["video/mp4", "audio/wav", "application/pdf", "image/gif", "image/svg+xml", "image", "", "text/plain"]
    {
        for mut assignment in [picture(), video()] {
            assignment.job.body.inputs = vec![input("a.png", "image/png"), input("b", unknown)];
            let failure = check(&assignment).expect_err(unknown);
            assert_eq!(failure.code, FailureCode::CapabilityMissing, "elsewhere it may run: {unknown}");
            assert_eq!(failure.field.as_deref(), Some("body.inputs[1].media_type"));
            assert!(failure.message.contains("another backend"), "{}", failure.message);
        }
    }
}

#[test]
fn text_and_pictures_together_stay_within_what_is_reserved() {
    let of = |prompt_bytes: usize, pictures: usize| {
        let mut assignment = picture();
        assignment.job.body.prompt = Some("ß".repeat(prompt_bytes / 2));
        assignment.job.body.inputs = (0..pictures).map(|n| input(&n.to_string(), "image/png")).collect();
        check(&assignment).map_err(|failure| failure.field.unwrap_or_default())
    };
    assert_eq!(of(8_192, 8), Ok(()), "all that is admitted");
    assert_eq!(of(19_744, 0), Ok(()));
    assert_eq!(of(19_746, 0), Err("body.prompt".to_owned()), "bytes, not letters");
    assert_eq!(of(2, 17), Ok(()));
    assert_eq!(of(2, 18), Err("body.inputs".to_owned()));
    assert_eq!(of(1_000, 17), Err("body.inputs".to_owned()));
    let mut without = service(&picture());
    without.maximum_usage.retain(|usage| usage.unit != Unit::InputToken);
    let failure = bounds::check(&picture().job, &without).expect_err("nothing is reserved for input");
    assert!(failure.message.contains("maximum_usage"), "{}", failure.message);
}

/// Whatever the answer's tokens are, picture or word: within the cap they cost no more than was reserved.
#[test]
fn the_cap_on_output_is_reserved_at_the_dearest_price() {
    for class in ["image-small", "image-large", "image-xl"] {
        let mut assignment = picture();
        assignment.class = class.parse().expect("a name");
        let service = service(&assignment);
        let reserved = cost(&assignment, &service.maximum_usage);
        let most = |unit| {
            let input = service.maximum_usage[0];
            cost(&assignment, &[input, Usage { unit, quantity: bounds::output_max(&service) }])
        };
        assert!(most(Unit::ImageToken) <= reserved && most(Unit::TextToken) <= reserved, "{class}");
        assert!(bounds::output_max(&service) >= 1_120 + 1_024, "{class}: a picture and its thoughts");
    }
}

#[tokio::test]
async fn what_is_not_bounded_is_neither_loaded_nor_sent() {
    let world = World::start().await;
    for mut assignment in [picture(), video()] {
        assignment.job.body.inputs = vec![input("clip.mp4", "video/mp4")];
        let outcome = run(&world.backend(), &assignment, None).await;
        let failure = outcome.failure.expect("refused");
        assert_eq!(failure.code, FailureCode::CapabilityMissing, "{}", failure.message);
    }
    assert_eq!(world.admin().stats().posts, 0);
}

#[tokio::test]
async fn a_prompt_above_the_reservation_is_not_sent() {
    let world = World::start().await;
    for mut assignment in [picture(), video()] {
        assignment.job.body.prompt = Some("long ".repeat(5_000));
        let (attempt, _io, _stopper) = attempt(&assignment, None);
        let failure = world.backend().run(&attempt).await.failure.expect("refused");
        assert_eq!(failure.field.as_deref(), Some("body.prompt"));
        assert!(failure.message.contains("20000 input tokens"), "{}", failure.message);
    }
    assert_eq!(world.admin().stats().posts, 0);
}

#[tokio::test]
async fn a_cap_that_is_too_low_is_one_charged_failure_that_says_what_to_raise() {
    let world = World::start().await;
    let assignment = picture();
    let (mut attempt, _io, _stopper) = attempt(&assignment, None);
    for usage in attempt.service.maximum_usage.iter_mut().filter(|usage| usage.unit == Unit::ImageToken) {
        usage.quantity = 800;
    }
    attempt.service.model = "gemini-3.1-flash-image".to_owned();
    let outcome = world.backend().run(&attempt).await;
    let failure = outcome.failure.expect("cut short");
    assert_eq!(failure.code, FailureCode::UnusableResult);
    assert!(failure.message.contains("maximum_usage"), "{}", failure.message);
    assert!(world.invoice() > 0);
    assert_eq!(cost(&assignment, &outcome.usage), world.invoice());
}
