//! What a workflow needs is known from which inputs are choices of files, never from how a text looks.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{Offer, samples, workflow};
use serde_json::{Value, json};

/// Title, nodes of a workflow, and the model files that it needs whoever runs it.
fn cases() -> Vec<(&'static str, Value, &'static [&'static str])> {
    let text = |text: &str| json!({"6": {"class_type": "CLIPTextEncode", "inputs": {"text": text, "clip": ["4", 1]}}});
    let node = |class: &str, inputs: Value| json!({"1": {"class_type": class, "inputs": inputs}});
    vec![
        ("an embedding at the end of a text", text("bad hands, embedding:easynegative.safetensors"), &[]),
        ("an embedding alone", text("embedding:easynegative.pt"), &[]),
        ("an address in a text", text("a shop sign that reads www.sapo.pt"), &[]),
        ("a path in a text", text("C:\\models\\checkpoints\\best.ckpt"), &[]),
        ("a LoRA in a text, as other programs write it", text("a fox <lora:detail.safetensors:0.8>"), &[]),
        ("a file's name as the whole text", text("sd_xl_base_1.0.safetensors"), &[]),
        (
            "several texts of one node",
            node("CLIPTextEncodeSDXL", json!({"text_g": "poster for weights.gguf", "text_l": "model.pth"})),
            &[],
        ),
        (
            "a text of a text node of somebody's",
            node("Text Multiline", json!({"text": "x.safetensors"})),
            &[],
        ),
        ("a value of a primitive", node("PrimitiveString", json!({"value": "www.sapo.pt"})), &[]),
        (
            "the name of a result",
            node("SaveImage", json!({"images": ["8", 0], "filename_prefix": "test.pt"})),
            &[],
        ),
        (
            "a checkpoint without an ending",
            node("CheckpointLoaderSimple", json!({"ckpt_name": "my_model"})),
            &["my_model"],
        ),
        (
            "a subfolder",
            node("LoraLoader", json!({"lora_name": "sdxl/x.safetensors", "model": ["4", 0]})),
            &["sdxl/x.safetensors"],
        ),
        (
            "a subfolder as Windows writes it",
            node("LoraLoaderModelOnly", json!({"lora_name": "sdxl\\x.safetensors"})),
            &["sdxl/x.safetensors"],
        ),
        (
            "two encoders",
            node(
                "DualCLIPLoader",
                json!({"clip_name1": "a.safetensors", "clip_name2": "b.bin", "type": "flux"}),
            ),
            &["a.safetensors", "b.bin"],
        ),
        ("no file on purpose", node("LoraLoader", json!({"lora_name": "None"})), &[]),
        ("a VAE that is part of ComfyUI", node("VAELoader", json!({"vae_name": "taesd"})), &[]),
        (
            "LoRAs in objects",
            node(
                "Power Lora Loader (rgthree)",
                json!({
                    "PowerLoraLoaderHeaderWidget": {"type": "PowerLoraLoaderHeaderWidget"},
                    "lora_1": {"on": true, "lora": "x.safetensors", "strength": 1},
                    "lora_2": {"on": false, "lora": "off.safetensors", "strength": 1},
                    "lora_3": {"lora": "sub\\y.safetensors", "strength": 0.5, "strengthTwo": null},
                    "lora_4": {"on": true, "lora": "None", "strength": 1},
                }),
            ),
            &["sub/y.safetensors", "x.safetensors"],
        ),
        (
            "LoRAs in a list of objects of a node that nobody knows",
            node(
                "Lora Stack",
                json!({"stack": [{"lora": "a.safetensors", "strength": 1}, {"lora_name": "b.pt"}]}),
            ),
            &["a.safetensors", "b.pt"],
        ),
        (
            "a list in its wrapping",
            node("LoraLoader", json!({"lora_name": {"__value__": ["a.safetensors", "b.safetensors"]}})),
            &["a.safetensors", "b.safetensors"],
        ),
        ("a choice that another node makes", node("LoraLoader", json!({"lora_name": ["7", 0]})), &[]),
    ]
}

#[test]
fn a_model_file_is_what_a_choice_of_files_says() {
    for (title, graph, files) in cases() {
        let needs = workflow::requirements(&graph).expect(title);
        assert_eq!(needs.models.iter().map(String::as_str).collect::<Vec<_>>(), files, "{title}");
    }
}

fn offer(choices: Option<&[(&str, &str)]>, models: &[&str]) -> Offer {
    let file_choices = choices.map(|choices| {
        let mut by_class: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (class, input) in choices {
            by_class.entry((*class).to_owned()).or_default().insert((*input).to_owned());
        }
        by_class
    });
    let models = Some(models.iter().map(|name| (*name).to_owned()).collect());
    Offer { file_choices, models, ..samples::offer() }
}

#[test]
fn values_of_unknown_nodes_are_files_where_a_worker_says_so() {
    let graph = json!({"1": {"class_type": "ReActorFaceSwap", "inputs": {
        "face_model": "faces\\ann.safetensors", "mode": "soft.pt", "restore": {"model": "gfpgan.pth"},
        "image": ["2", 0], "words": "one line\nand www.sapo.pt"}}});
    let needs = workflow::requirements(&graph).expect("a graph");
    let absent = |offer: &Offer| -> Vec<String> {
        needs.absent_candidates(offer).map(|candidate| candidate.value.clone()).collect()
    };
    let face = ("ReActorFaceSwap", "face_model");
    assert!(absent(&offer(None, &[])).is_empty(), "a worker that does not tell lacks nothing");
    assert!(absent(&offer(Some(&[]), &[])).is_empty(), "no choice of files at this worker");
    assert_eq!(absent(&offer(Some(&[face]), &[])), ["faces/ann.safetensors"]);
    assert!(absent(&offer(Some(&[face]), &["faces/ann.safetensors"])).is_empty());
    assert_eq!(
        absent(&offer(Some(&[face, ("ReActorFaceSwap", "restore")]), &["faces/ann.safetensors"])),
        ["gfpgan.pth"]
    );
    assert!(absent(&offer(Some(&[("Other", "face_model")]), &[])).is_empty(), "another node's input");
    assert!(needs.uses("gfpgan.pth") && !needs.uses("ann.safetensors"), "by its exact name");
    assert!(
        needs.candidates.iter().all(|candidate| candidate.input != "words" && candidate.input != "image")
    );
}
