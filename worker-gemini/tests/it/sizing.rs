//! What is asked of the API for what a job asks of us.

use schemas::{Catalog, FailureCode, Job, Service, Unit, Usage};
use worker_gemini::gemini::sizes;

use crate::world::{picture, video};

fn sized(mut job: Job, width: u32, height: u32, duration_ms: Option<u32>) -> Job {
    (job.body.width, job.body.height, job.body.duration_ms) = (Some(width), Some(height), duration_ms);
    job
}

fn service(class: &str, unit: Unit, maximum: Option<u64>) -> (Catalog, Service) {
    let catalog = policy::defaults::catalog();
    let class = class.parse().expect("a name");
    let mut service = catalog.service(&"gemini".parse().expect("a name"), &class).expect("shipped").clone();
    service.maximum_usage = maximum.map(|quantity| Usage { unit, quantity }).into_iter().collect();
    (catalog, service)
}

#[test]
fn pictures() {
    let cases = [
        (1024, 1024, None, "1:1", "1K"),
        (512, 512, None, "1:1", "1K"),
        (1920, 1080, None, "16:9", "1K"),
        (2048, 2048, None, "1:1", "2K"),
        (3840, 2160, None, "16:9", "2K"),
        (4096, 4096, None, "1:1", "4K"),
        // The cap is for picture and thoughts together, so there is room for both.
        (4096, 4096, Some(3_544), "1:1", "4K"),
        (4096, 4096, Some(3_543), "1:1", "2K"),
        (4096, 4096, Some(2_560), "1:1", "1K"),
        (4096, 4096, Some(2_000), "1:1", "512"),
        (832, 1216, None, "2:3", "1K"),
        (1, 10_000, None, "9:16", "1K"),
        (0, 0, None, "1:1", "1K"),
    ];
    for (width, height, maximum, aspect, size) in cases {
        let (catalog, service) = service("image-small", Unit::ImageToken, maximum);
        let asked = sizes::image(&sized(picture().job, width, height, None), &catalog, &service);
        assert_eq!((asked.aspect.as_str(), asked.size), (aspect, size), "{width}x{height} {maximum:?}");
    }
}

#[test]
fn videos() {
    let cases = [
        (1280, 720, Some(6_000), None, "16:9", "720p", 6),
        (832, 480, Some(3_000), None, "16:9", "360p", 3),
        (720, 1280, Some(500), None, "9:16", "720p", 3),
        (1920, 1080, Some(4_001), None, "16:9", "1080p", 5),
        (1920, 1080, Some(10_000), Some(57_920), "16:9", "720p", 10),
        (3840, 2160, Some(10_000), Some(20_000), "16:9", "360p", 10),
    ];
    for (width, height, duration_ms, maximum, aspect, resolution, seconds) in cases {
        let (catalog, service) = service("video", Unit::VideoToken, maximum);
        let job = sized(video().job, width, height, duration_ms);
        let asked = sizes::video(&job, &catalog, &service).expect("fits");
        assert_eq!((asked.aspect.as_str(), asked.resolution, asked.seconds), (aspect, resolution, seconds));
    }
    let (catalog, service) = service("video", Unit::VideoToken, Some(57_920));
    let failure =
        sizes::video(&sized(video().job, 640, 360, Some(60_000)), &catalog, &service).expect_err("too long");
    assert_eq!((failure.code, failure.field.as_deref()), (FailureCode::InvalidJob, Some("body.duration_ms")));
    assert!(failure.message.contains("29 s"), "{}", failure.message);
}

#[test]
fn the_models_defaults_fill_in() {
    let catalog = policy::defaults::catalog();
    let mut job = video().job;
    (job.body.width, job.body.height, job.body.duration_ms) = (None, None, None);
    let model = catalog.model(&catalog.default_models[&schemas::Kind::Video]).expect("shipped");
    assert_eq!(sizes::asked(&job, &catalog), (model.width, model.height, model.duration_ms));
}
