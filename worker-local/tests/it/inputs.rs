//! Files of several tenants on one server: a job gets its own bytes or none, whatever form its workflow names
//! them in.

use bytes::Bytes;
use schemas::{FailureCode, Outcome};
use serde_json::{Value, json};
use simulators::comfyui::{Config, Mode, Server};
use worker_host::Backend as _;

use crate::conformance::simulator;
use crate::jobs::{Case, assignment, config, workflow};

/// Pictures are told apart by their width, which a result takes from its input.
const THEIRS_PX: u32 = 320;
const OWN_PX: u32 = 448;

fn client() -> reqwest::Client {
    runtime::tls::install();
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

/// The head of a picture, which is all that the simulator reads.
fn picture(width: u32) -> Bytes {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    bytes.extend(width.to_be_bytes());
    bytes.extend(256_u32.to_be_bytes());
    bytes.into()
}

/// A server where somebody else's `photo.png` lies wherever ComfyUI and its editor put files.
async fn server() -> Server {
    let server =
        Server::start(Config { acceptance_nodes: true, ..simulator(Mode::New) }).await.expect("a simulator");
    let http = client();
    for (folder, subfolder) in [
        ("input", ""),
        ("input", "pasted"),
        ("input", "clipspace"),
        ("input", "a/b"),
        ("output", ""),
        ("temp", ""),
    ] {
        let part = reqwest::multipart::Part::bytes(picture(THEIRS_PX).to_vec()).file_name("photo.png");
        let form = reqwest::multipart::Form::new().part("image", part);
        let form = form.text("type", folder).text("subfolder", subfolder);
        let sent = http.post(format!("{}/upload/image", server.url())).multipart(form).send().await;
        assert!(sent.expect("an answer").status().is_success());
    }
    server
}

fn graph(class: &str, input: &str, value: &Value) -> Value {
    json!({
        "1": {"class_type": class, "inputs": {input: value}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    })
}

async fn run(server: &Server, graph: &Value, brings: &[&str]) -> Outcome {
    let mut body = workflow(graph);
    body.inputs = brings.iter().map(|name| Case::input(name)).collect();
    let case = Case::new(config(&server.url()), assignment(body));
    for name in brings {
        case.io.files.lock().expect("no panic").insert(format!("in/{name}"), picture(OWN_PX));
    }
    case.run().await
}

fn forms() -> Vec<Value> {
    vec![
        json!("photo.png"),
        json!("photo.png [input]"),
        json!("photo.png[input]"),
        json!("pasted/photo.png"),
        json!("clipspace/photo.png [input]"),
        json!("clipspace\\photo.png"),
        json!("./photo.png"),
        json!("a/b/photo.png"),
        json!({"__value__": "photo.png"}),
        json!({"__value__": "pasted/photo.png [input]"}),
    ]
}

#[tokio::test]
async fn every_form_gets_the_job_s_own_bytes() {
    let server = server().await;
    // The last node is known only by what the server says of it.
    for (class, input) in
        [("LoadImage", "image"), ("LoadImageOutput", "image"), ("AcceptancePicture", "picture")]
    {
        for form in forms() {
            let outcome = run(&server, &graph(class, input, &form), &["photo.png"]).await;
            assert_eq!(outcome.failure, None, "{class} {form}");
            let widths: Vec<_> = outcome.artifacts.iter().map(|artifact| artifact.width).collect();
            assert_eq!(widths, [Some(OWN_PX)], "{class} {form}: another's picture");
        }
    }
}

#[tokio::test]
async fn a_file_that_the_job_did_not_bring_is_never_read() {
    let server = server().await;
    let more = [
        json!("photo.png [output]"),
        json!("photo.png [temp]"),
        json!("photo.png?[output]"),
        json!("../input/photo.png"),
        json!(["photo.png"]),
        json!({"__value__": {"image": ["photo.png"]}}),
    ];
    for (class, input) in [("LoadImage", "image"), ("AcceptancePicture", "picture")] {
        for form in forms().into_iter().chain(more.clone()) {
            for brings in [&[][..], &["other.png"]] {
                let outcome = run(&server, &graph(class, input, &form), brings).await;
                let failure = outcome.failure.unwrap_or_else(|| panic!("{class} {form}: it ran"));
                assert_eq!(failure.code, FailureCode::InvalidJob, "{form}: {failure:?}");
                assert!(failure.message.contains("body.inputs"), "{form}: {}", failure.message);
            }
        }
    }
    assert_eq!(server.admin().stats().posts, 0, "nothing was submitted");
    // Bringing a file of that name does not open the folder of all results.
    let outcome =
        run(&server, &graph("LoadImage", "image", &json!("photo.png [output]")), &["photo.png"]).await;
    assert!(outcome.failure.expect("refused").message.contains("bucket and key"));
}

#[tokio::test]
async fn no_two_attempts_share_a_file_on_the_server() {
    let server = server().await;
    let load = graph("LoadImage", "image", &json!("photo.png"));
    for _ in 0..2 {
        assert_eq!(run(&server, &load, &["photo.png"]).await.failure, None);
    }
    let http = client();
    let queue: Value = http
        .get(format!("{}/history", server.url()))
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    let mut names: Vec<String> = queue
        .as_object()
        .expect("entries")
        .values()
        .map(|entry| entry["prompt"][2]["1"]["inputs"]["image"].as_str().expect("a name").to_owned())
        .collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(
        names.iter().all(|name| name.starts_with("argosy/") && name.ends_with("/0-photo.png")),
        "{names:?}"
    );
    // And a job that learned of another's folder cannot name it.
    for class in ["LoadImage", "AcceptancePicture"] {
        let input = if class == "LoadImage" { "image" } else { "picture" };
        let failure =
            run(&server, &graph(class, input, &json!(names[0])), &[]).await.failure.expect("refused");
        assert_eq!(failure.code, FailureCode::InvalidJob);
    }
}

#[tokio::test]
async fn choices_of_files_are_told_and_spelled_as_the_server_does() {
    let server = server().await;
    let case = Case::new(config(&server.url()), assignment(workflow(&json!({}))));
    let found = case.backend.discover().await;
    let choices = found.file_choices.expect("a table");
    assert_eq!(choices["AcceptanceFace"].iter().collect::<Vec<_>>(), ["face_model"]);
    assert!(!choices.contains_key("CheckpointLoaderSimple"), "everybody knows: {choices:?}");
    assert!(!choices.contains_key("LoadImage") && !choices.contains_key("KSampler"), "{choices:?}");
    let models = found.models.expect("models");
    assert!(models.contains("RealESRGAN_x4plus.pth") && !models.contains("photo.png"), "{models:?}");
    // A choice that is no file stays the job's fault, however it looks; one that is goes elsewhere.
    let wrong = |class: &str, inputs: Value| {
        let mut graph = graph("LoadImage", "image", &json!("photo.png"));
        graph["3"] = json!({"class_type": class, "inputs": inputs});
        graph["2"]["inputs"]["images"] = json!(["3", 0]);
        graph
    };
    let scale = json!({"image": ["1", 0], "upscale_method": "soft.pt", "width": 64, "height": 64, "crop": "disabled"});
    let failure = run(&server, &wrong("ImageScale", scale), &["photo.png"]).await.failure.expect("refused");
    assert_eq!(failure.code, FailureCode::InvalidJob, "{failure:?}");
    let face = json!({"image": ["1", 0], "face_model": "ann"});
    let failure =
        run(&server, &wrong("AcceptanceFace", face), &["photo.png"]).await.failure.expect("refused");
    assert_eq!((failure.code, failure.missing), (FailureCode::CapabilityMissing, vec!["ann".to_owned()]));
}
