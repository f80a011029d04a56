//! What a job may name as its input, by bucket and key.

use schemas::artifact::{Origin, OriginError, input_key, result_key};
use schemas::{ArtifactRef, AttemptId, Tenant, samples};

#[test]
fn inputs_and_results_are_told_apart_and_all_else_is_refused() {
    let tenant: Tenant = "studio-a".parse().expect("a name");
    let origin = |bucket: &str, key: &str| ArtifactRef::new(bucket, key).origin(&tenant);
    let job = samples::job_id();
    let result = format!("out/{job}/1/0.png");
    assert_eq!(origin("ARTIFACTS", &input_key(&tenant, "abc")), Ok(Origin::Uploaded));
    assert_eq!(origin("ARTIFACTS", "in/studio-a/2026/photo.png"), Ok(Origin::Uploaded));
    assert_eq!(origin("ARTIFACTS", "in/abc"), Ok(Origin::Uploaded), "as inputs were stored before");
    assert_eq!(origin("ARTIFACTS", &result), Ok(Origin::ResultOf(job)));
    for (folder, is_own) in [("studio-a", true), ("studio-b", false), ("studio-a-2", false), ("", false)] {
        let key = format!("out/{folder}/{job}/1/0.png");
        match origin("ARTIFACTS", &key) {
            Ok(found) => assert!(is_own && found == Origin::ResultOf(job), "{key}"),
            Err(error) => {
                assert!(!is_own && matches!(error, OriginError::OtherTenant { .. }), "{key}: {error}");
            }
        }
    }
    let attempt = AttemptId { job, attempt: 30 };
    let made = result_key(Some(&tenant), attempt, "7.webm");
    assert_eq!(made, format!("out/studio-a/{job}/30/7.webm"));
    assert_eq!(origin("ARTIFACTS", &made), Ok(Origin::ResultOf(job)));
    assert_eq!(result_key(None, attempt, "7.webm"), format!("out/{job}/30/7.webm"), "as release 0.1.0");
    for key in ["in/studio-b/abc", "in/studio-a-2/abc", "in/STUDIO-A/abc", "in//abc"] {
        assert!(matches!(origin("ARTIFACTS", key), Err(OriginError::OtherTenant { .. })), "{key}");
    }
    let neither = [
        "in/",
        "in",
        "",
        "photo.png",
        "out/x/1/0.png",
        "out",
        "IN/abc",
        "../in/abc",
        "/in/abc",
        "secret/in/abc",
    ];
    for key in neither.into_iter().map(str::to_owned).chain([
        format!("{result}/more"),
        format!("{made}/more"),
        format!("out/{job}/1"),
        "out/studio-a/x/1/0.png".to_owned(),
        format!("out/studio-a/{}/1/0.png", job.to_string().to_uppercase()),
    ]) {
        assert!(matches!(origin("ARTIFACTS", &key), Err(OriginError::Neither { .. })), "{key}");
    }
    for bucket in ["CONFIG", "artifacts", "", "OBJ_ARTIFACTS"] {
        let error = origin(bucket, "in/abc").expect_err("another bucket");
        assert!(error.to_string().contains("bucket ARTIFACTS"), "{error}");
    }
}
