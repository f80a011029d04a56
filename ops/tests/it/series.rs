//! `submit` with workflows and counts: what each job of a series says, and what is refused by the real command
//! before it looks for a broker.

use super::command_line::options;
use super::{repository, scratch};
use ops::command::draft::Draft;
use ops::command::job_options::Material;
use ops::command::series::{check_model, drafts};
use schemas::{JobId, workflow};
use serde_json::Value;
use std::process::{Command, Stdio};

fn material(words: &[&str]) -> Material {
    let options = options(words).expect("a good command line");
    let workflow = options.workflow.map(|path| {
        let bytes = std::fs::read(repository().join(path)).expect("a shipped workflow");
        client::workflow::read(&bytes).expect("a workflow")
    });
    Material { prompt: options.prompt, workflow }
}

fn series(words: &[&str], count: u32) -> Result<Vec<Draft>, String> {
    let options = options(words).expect("a good command line");
    drafts(&options, &material(words), count).map_err(|usage| usage.to_string())
}

fn seeds(drafts: &[Draft]) -> Vec<Option<u64>> {
    drafts.iter().map(|draft| draft.body.seed).collect()
}

const SDXL: &str = "ops/workflows/sdxl_txt2img.json";
const FLUX: &str = "ops/workflows/flux_txt2img.json";

#[test]
fn each_job_of_a_series_has_its_seed_in_its_workflow() {
    let words = ["--workflow", SDXL, "a red hat", "--seed", "5", "--steps", "4"];
    let drafts = series(&words, 3).expect("no doubt");
    assert_eq!(seeds(&drafts), [Some(5), Some(6), Some(7)]);
    for (draft, seed) in drafts.iter().zip(5..) {
        let graph = draft.body.workflow.as_ref().expect("a workflow");
        assert_eq!(graph["3"]["inputs"]["noise_seed"], seed);
        assert_eq!(graph["3"]["inputs"]["steps"], 4);
        assert_eq!(graph["6"]["inputs"]["text"], "a red hat");
        assert_eq!(graph["7"]["inputs"]["text"], "lowres, watermark", "what is not said stays");
        assert_eq!(draft.body.prompt.as_deref(), Some("a red hat"), "it describes, too");
    }
}

#[test]
fn a_series_without_a_seed_counts_on_from_the_workflows_own() {
    let drafts = series(&["--workflow", FLUX], 2).expect("no doubt");
    assert_eq!(seeds(&drafts), [Some(219_670_278_747_233), Some(219_670_278_747_234)]);
    let set = series(&["--workflow", FLUX, "--set", "25.noise_seed=40"], 2).expect("no doubt");
    assert_eq!(seeds(&set), [Some(40), Some(41)]);
    let one = series(&["--workflow", FLUX], 1).expect("nothing wanted");
    assert_eq!(one[0].body, drafts[0].body.clone_with_seed(None), "one job is the workflow as it is");
    assert_eq!(one[0].seed(JobId::new()), Some(219_670_278_747_233), "and its seed is known");
}

trait CloneWithSeed {
    fn clone_with_seed(&self, seed: Option<u64>) -> Self;
}

impl CloneWithSeed for schemas::Body {
    fn clone_with_seed(&self, seed: Option<u64>) -> Self {
        Self { seed, ..self.clone() }
    }
}

#[test]
fn prompts_are_counted_too() {
    assert_eq!(seeds(&series(&["a cat", "--seed", "5"], 3).expect("prompts")), [Some(5), Some(6), Some(7)]);
    let derived = series(&["a cat"], 2).expect("prompts");
    assert_eq!(seeds(&derived), [None, None], "derived from the id, which differs");
    let id = JobId::new();
    assert_eq!(derived[0].seed(id), Some(workflow::seed_of(id)));
    let most = u64::MAX.to_string();
    assert_eq!(seeds(&series(&["a cat", "--seed", &most], 1).expect("one")), [Some(u64::MAX)]);
    assert!(series(&["a cat", "--seed", &most], 2).expect_err("beyond").contains("--seed"));
}

#[test]
fn each_job_of_a_series_has_a_key_of_its_own() {
    let keys = |count| {
        let drafts = series(&["a cat", "--key", "order"], count).expect("prompts");
        drafts.into_iter().map(|draft| draft.key.expect("a key")).collect::<Vec<_>>()
    };
    assert_eq!(keys(1), ["order"]);
    assert_eq!(keys(3), ["order/1", "order/2", "order/3"]);
    let again = |words: &[&str]| series(words, 3).expect("no doubt");
    let words = ["--workflow", SDXL, "--key", "order"];
    assert_eq!(again(&words), again(&words), "the same command again is the same jobs");
}

#[test]
fn a_model_that_the_files_overrule_is_refused() {
    let catalog = policy::defaults::catalog();
    let of = |model: &str| {
        let drafts = series(&["--workflow", SDXL, "--model", model], 1).expect("no doubt");
        check_model(&drafts[0].body, &catalog).map_err(|usage| usage.to_string())
    };
    assert_eq!(of("sdxl"), Ok(()));
    let refused = of("flux").expect_err("its files are SDXL's");
    assert!(refused.contains("--model flux") && refused.contains("sdxl"), "{refused}");
}

/// Runs the real command where no broker is: what is refused ends with 2, and what is not with 69.
fn argosy(words: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_argosy"))
        .args(["--nats", "nats://127.0.0.1:1"])
        .args(words)
        .current_dir(repository())
        .stdin(Stdio::null())
        .output()
        .expect("the command runs");
    (output.status.code().expect("a code"), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_cannot_be_placed_is_refused_before_anything_is_sent() {
    let (_dir, folder) = scratch();
    let file = |name: &str, value: &Value| {
        let path = folder.join(name);
        std::fs::write(&path, value.to_string()).expect("written");
        path.display().to_string()
    };
    let shipped = |path: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(repository().join(path)).expect("shipped"))
            .expect("JSON")
    };
    let mut two = shipped(SDXL);
    two["13"] = two["3"].clone();
    two["13"]["inputs"]["noise_seed"] = 1.into();
    let two = file("two.json", &two);
    let upscale = serde_json::json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": "photo.png"}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    });
    let upscale = file("upscale.json", &upscale);
    let editor = file("editor.json", &serde_json::json!({"nodes": [], "links": [], "version": 0.4}));
    let rows = file(
        "rows.jsonl",
        &serde_json::json!({"body": {"kind": "image", "workflow": shipped(SDXL), "prompt": "p", "seed": 5}}),
    );
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["--workflow", &two, "--seed", "5"],
            &["--seed", "--set '13.noise_seed={{seed}}'", "--set '3.noise_seed={{seed}}'", "now 1"],
        ),
        (
            &["--workflow", &two, "--count", "3"],
            &["--count 3", "same picture", "--set '3.noise_seed={{seed}}'"],
        ),
        (&["--workflow", &upscale, "--count", "2"], &["--count 2", "Leave --count out"]),
        (&["--workflow", &upscale, "a red hat", "--steps", "4"], &["the prompt", "--steps"]),
        (&["--workflow", FLUX, "--negative", "dogs"], &["--negative", "Leave --negative out"]),
        (&["--workflow", "ops/workflows/img2img.json", "--width", "512"], &["--width", "image"]),
        (
            &["--workflow", "ops/workflows/wan_t2v.json", "--kind", "video", "--duration-s", "3"],
            &["--duration-s", "--set '40.length={{frames}}'"],
        ),
        (&["--workflow", SDXL, " "], &["prompt is blank"]),
        (
            &["--workflow", SDXL, "--input", "photo.png=Cargo.toml"],
            &["--input photo.png", "--set NODE.image=photo.png"],
        ),
        (&["--workflow", SDXL, "--set", "3.sed=1"], &["--set `3.sed`", "inputs are", "noise_seed"]),
        (&["--workflow", SDXL, "--set", "Nobody.seed=1"], &["--set `Nobody.seed`", "3 \"Base\""]),
        (&["--workflow", SDXL, "--set", "3.model=x"], &["linked to node 4"]),
        (&["--workflow", SDXL, "--set", "3.steps=4", "--steps", "5"], &["--set 3.steps", "--steps"]),
        (&["--workflow", SDXL, "--set", "3.noise_seed={{seed}}"], &["{{seed}}", "give --seed"]),
        (&["--workflow", SDXL, "--set", "noise_seed"], &["NODE.INPUT=VALUE"]),
        (&["--workflow", &editor, "--seed", "1"], &["editor.json", "Export (API)"]),
        (&["a cat", "--set", "3.steps=4"], &["--workflow"]),
        (&["a cat", "--out", "elsewhere"], &["--wait"]),
        (&["--file", &rows], &["line 1", "body.seed", "body.workflow"]),
        (&["--file", &rows, "--no-paid"], &["--no-paid", "--file"]),
        (&["--file", &rows, "--lane", "batch"], &["--lane"]),
    ];
    for (words, texts) in cases {
        let (code, said) = argosy(&[&["submit"], *words].concat());
        assert_eq!(code, 2, "{words:?}: {said}");
        for text in *texts {
            assert!(said.contains(text), "{words:?}: `{text}` is missing in {said}");
        }
    }
    let (code, said) = argosy(&["estimate", "--workflow", FLUX, "--negative", "dogs"]);
    assert!(code == 2 && said.contains("--negative"), "estimate refuses the same: {said}");
    for good in [
        &["--workflow", SDXL, "a red hat", "--seed", "5", "--steps", "4", "--count", "3"][..],
        &[
            "--workflow",
            &two,
            "--set",
            "3.noise_seed={{seed}}",
            "--set",
            "13.noise_seed={{seed}}",
            "--seed",
            "5",
            "--count",
            "2",
        ],
        &["--workflow", &upscale, "--input", "photo.png=Cargo.toml"],
    ] {
        let (code, said) = argosy(&[&["submit"], good].concat());
        assert_eq!(code, 69, "{good:?} goes on to the broker: {said}");
    }
}
