//! Files of jobs: where they come from, and what a choice of files decides about the place.

use policy::admit::{admit, check_result, results};
use policy::defaults;
use policy::plan::Plan;
use schemas::*;
use serde_json::{Value, json};

use crate::world::{NOW_MS, World, name, offer, plain_job};

fn job(graph: &Value, inputs: &Value) -> Job {
    let mut job = plain_job();
    job["body"] = json!({"kind": "image", "workflow": graph, "inputs": inputs, "model": "sd15"});
    serde_json::from_value(job).expect("a job")
}

fn input(file: &str, key: &str) -> Value {
    json!({"name": file, "artifact": {"bucket": "ARTIFACTS", "key": key}, "media_type": "image/png"})
}

fn refusal(job: &Job) -> Option<(String, String)> {
    let failure = admit(job, &defaults::catalog(), &defaults::policy(), 0, NOW_MS).err()?;
    Some((failure.field.unwrap_or_default(), failure.message))
}

#[test]
fn a_workflow_names_only_files_that_the_job_brought() {
    let load = |value: Value| json!({"1": {"class_type": "LoadImage", "inputs": {"image": value}}});
    let own = json!([input("photo.png", "in/studio-a/x")]);
    for value in [json!("photo.png"), json!("pasted/photo.png"), json!({"__value__": "photo.png [input]"})] {
        assert_eq!(refusal(&job(&load(value), &own)), None);
    }
    for value in [
        json!("theirs.png"),
        json!("photo.png [output]"),
        json!({"__value__": ["theirs.png"]}),
        json!("a\\theirs.png"),
    ] {
        let (field, message) = refusal(&job(&load(value.clone()), &own)).expect("refused");
        assert!(field == "body.inputs" && message.contains("body.inputs"), "{value}: {message}");
    }
    let mut catalog = defaults::catalog();
    catalog.server_inputs.insert("theirs.png".to_owned());
    let listed =
        admit(&job(&load(json!("theirs.png")), &json!([])), &catalog, &defaults::policy(), 0, NOW_MS);
    assert!(listed.is_ok(), "the catalog says it is the server's: {listed:?}");
}

#[test]
fn inputs_come_from_the_tenant_s_own_folder_or_results() {
    let graph = json!({"1": {"class_type": "SaveImage", "inputs": {}}});
    let of = samples::job_id();
    for key in ["in/studio-a/x", "in/x"].map(str::to_owned).into_iter().chain([format!("out/{of}/1/0.png")]) {
        assert_eq!(refusal(&job(&graph, &json!([input("a.png", &key)]))), None, "{key}");
    }
    for key in ["in/studio-b/x", "secrets/x", "out/x"] {
        let (field, message) =
            refusal(&job(&graph, &json!([input("a.png", "in/x"), input("b.png", key)]))).expect(key);
        assert_eq!(field, "body.inputs[1].artifact.key", "{message}");
        assert!(message.contains("in/studio-a/"), "{message}");
    }
    let mut elsewhere = job(&graph, &json!([input("a.png", "in/x")]));
    elsewhere.body.inputs[0].artifact.bucket = "CONFIG".to_owned();
    assert_eq!(refusal(&elsewhere).expect("refused").0, "body.inputs[0].artifact.bucket");
}

#[test]
fn a_result_is_an_input_of_its_own_tenant_alone() {
    let of = samples::job_id();
    let key = format!("out/{of}/1/0.png");
    let graph = json!({"1": {"class_type": "SaveImage", "inputs": {}}});
    let job = job(&graph, &json!([input("a.png", "in/x"), input("b.png", &key)]));
    let (index, input, found) = results(&job).next().expect("one");
    assert_eq!((index, found, results(&job).count()), (1, of, 1));
    let artifact = |key: &str| Artifact {
        at: ArtifactRef::new("ARTIFACTS", key),
        media_type: "image/png".to_owned(),
        bytes: 1,
        sha256: String::new(),
        width: None,
        height: None,
        saved: None,
    };
    let ended = |tenant: &str, keys: &[&str]| {
        let fact = Fact::Ended {
            facts: JobFacts::of(&job, None, NOW_MS),
            state: JobState::Completed,
            artifacts: keys.iter().map(|key| artifact(key)).collect(),
            manifest: None,
            failure: None,
            attempts: Vec::new(),
        };
        Event::new(NOW_MS, name(tenant), of, 1, fact)
    };
    assert_eq!(check_result(&job, index, input, Some(&ended("studio-a", &["x", &key]))), Ok(()));
    let others = [
        None,
        // Another tenant's; a job of the same tenant that only borrowed the id and made another file.
        Some(ended("studio-b", &[&key])),
        Some(ended("studio-a", &[])),
        Some(ended("studio-a", &[&format!("out/{of}/2/0.png")])),
    ];
    for ended in others {
        let failure = check_result(&job, index, input, ended.as_ref()).expect_err("refused");
        assert_eq!(failure.field.as_deref(), Some("body.inputs[1].artifact.key"));
        assert!(failure.message.contains("in/studio-a/"), "{}", failure.message);
    }
}

/// A world with one worker of each backend, where `local` tells what it has.
fn world(graph: &Value, models: &[&str], choices: Value) -> World {
    let mut world = World::empty();
    world.job = job(graph, &json!([]));
    world.job.constraints.allow_paid = Some(true);
    let models = Some(models.iter().map(|name| (*name).to_owned()).collect());
    let file_choices = serde_json::from_value(choices).expect("a table");
    world.fleet.upsert_offer(Offer { models, file_choices, ..offer("local-1", "local", 1) }, NOW_MS);
    world.fleet.upsert_offer(offer("cloud-1", "cloud", 1), NOW_MS);
    world
}

fn backend(world: &World) -> String {
    match world.plan() {
        Plan::Assign(assign) => assign.backend.to_string(),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_text_never_sends_a_job_to_a_paid_backend() {
    let texts = [
        "bad hands, embedding:easynegative.safetensors",
        "a shop sign that reads www.sapo.pt",
        "the label says best.ckpt",
        "notes/model.GGUF and weights.pth",
    ];
    for text in texts {
        let graph = json!({
            "6": {"class_type": "CLIPTextEncode", "inputs": {"text": text}},
            "7": {"class_type": "Show Words", "inputs": {"words": text}},
        });
        assert_eq!(
            backend(&world(&graph, &["v1-5-pruned-emaonly.safetensors"], json!({}))),
            "local",
            "{text}"
        );
    }
}

#[test]
fn a_choice_of_files_that_only_a_worker_knows_decides() {
    let graph = json!({"1": {"class_type": "FaceLoader", "inputs": {"face": "sub\\ann.safetensors"}}});
    let knows = json!({"FaceLoader": ["face"]});
    assert_eq!(backend(&world(&graph, &["sub/ann.safetensors"], knows.clone())), "local");
    assert_eq!(backend(&world(&graph, &["other.safetensors"], knows)), "cloud", "only the cloud may have it");
    assert_eq!(backend(&world(&graph, &["other.safetensors"], Value::Null)), "local", "it does not tell");
    let power = json!({"1": {"class_type": "Power Lora Loader (rgthree)", "inputs": {
        "lora_1": {"on": true, "lora": "x.safetensors", "strength": 1}}}});
    assert_eq!(backend(&world(&power, &["x.safetensors"], json!({}))), "local");
    assert_eq!(
        backend(&world(&power, &["y.safetensors"], json!({}))),
        "cloud",
        "a LoRA in an object is seen"
    );
}
