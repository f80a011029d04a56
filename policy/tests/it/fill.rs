//! `tests/tables/fill.txt`: which inputs of a workflow are filled, and what is refused with which words.

use std::collections::BTreeMap;
use std::path::Path;

use policy::fill::{FillError, Setting, Wishes, fill, ignored, overruling_model, seed_of, unmentioned};
use schemas::Body;
use serde_json::{Value, json};

use crate::table::{cases, patch};

/// A workflow of the shipped ones or of the tests.
pub(crate) fn workflow(name: &str) -> Value {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shipped = here.join(format!("../ops/workflows/{name}.json"));
    let path = if shipped.exists() { shipped } else { here.join(format!("tests/graphs/{name}.json")) };
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn body(change: &Value) -> Body {
    let mut body = json!({"kind": "image"});
    patch(&mut body, change);
    serde_json::from_value(body).expect("a body")
}

/// Every input as `node.input` with its value.
fn inputs(graph: &Value) -> BTreeMap<String, &Value> {
    let nodes = graph.as_object().expect("a graph").iter();
    let inputs = nodes.flat_map(|(id, node)| {
        let inputs = node["inputs"].as_object().into_iter().flatten();
        inputs.map(move |(name, value)| (format!("{id}.{name}"), value))
    });
    inputs.collect()
}

fn differences(before: &Value, after: &Value) -> BTreeMap<String, Value> {
    let (before, after) = (inputs(before), inputs(after));
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "no input comes or goes");
    let differs =
        |(place, value): (String, &Value)| (before[&place] != value).then(|| (place, value.clone()));
    after.into_iter().filter_map(differs).collect()
}

fn in_words(error: &FillError) -> String {
    let FillError::Doubts(doubts) = error else { return format!("refused {error}") };
    let shown = doubts.iter().map(|doubt| {
        let places: Vec<String> = doubt.candidates.iter().map(|one| one.place.to_string()).collect();
        let places = if places.is_empty() { "none".to_owned() } else { places.join(" ") };
        format!("{}: {} | {places}", doubt.wish, doubt.why)
    });
    format!("doubt {}", shown.collect::<Vec<_>>().join("; "))
}

#[test]
fn a_workflow_is_filled_where_there_is_no_doubt() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for case in cases(include_str!("../tables/fill.txt")) {
        let (mut graph, mut want, mut settings) = (Value::Null, json!({}), Vec::<Setting>::new());
        let mut wanted = "";
        for line in &case.lines {
            let (key, rest) = line.split_once(' ').unwrap_or((line, ""));
            match key {
                "graph" => graph = workflow(rest),
                "patch" => patch(&mut graph, &serde_json::from_str(rest).expect(rest)),
                "want" => want = serde_json::from_str(rest).expect(rest),
                "set" => settings.push(rest.parse().expect(rest)),
                "=>" => wanted = rest,
                _ => panic!("{}: {line}", case.title),
            }
        }
        let found = match fill(&graph, &Wishes::of(&body(&want)), &settings) {
            Err(error) => in_words(&error),
            Ok(filled) => {
                let differences = differences(&graph, &filled.graph);
                for (place, value) in &differences {
                    let told =
                        filled.changes.iter().any(|it| it.place.to_string() == *place && it.value == *value);
                    assert!(told, "{}: {place} is not among the changes", case.title);
                }
                let shown = differences.iter().map(|(place, value)| format!("{place}={value}"));
                shown.collect::<Vec<_>>().join(" ")
            }
        };
        seen += 1;
        if found != wanted {
            wrong.push(format!("{}\n  wanted {wanted}\n  found  {found}", case.title));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 50, "{seen} cases");
}

#[test]
fn a_series_counts_on_from_the_seed_that_a_workflow_holds() {
    for (name, seed) in [
        ("sd15_txt2img", Some(156_680_208_700_286)),
        ("flux_txt2img", Some(219_670_278_747_233)),
        ("base_refiner", Some(721)),
        ("primitives", Some(77)),
        ("hires", None),
        ("upscale", None),
        ("template", None),
    ] {
        assert_eq!(seed_of(&workflow(name)).ok(), seed, "{name}");
    }
}

#[test]
fn what_says_something_else_than_its_workflow_is_named() {
    let of = |name: &str, change: Value| {
        let body = Body { workflow: Some(workflow(name)), ..body(&change) };
        ignored(&body)
    };
    let plain = |change: Value| ignored(&body(&change));
    assert_eq!(of("sd15_txt2img", json!({"prompt": "it only describes"})), [""; 0]);
    assert_eq!(
        of("sd15_txt2img", json!({"seed": 5, "steps": 20, "width": 512, "height": 640})),
        ["seed", "height"]
    );
    assert_eq!(of("hires", json!({"seed": 1, "negative_prompt": "bad"})), ["seed"], "no place is no effect");
    assert_eq!(
        of("upscale", json!({"negative_prompt": "dogs", "duration_ms": 1000})),
        ["negative_prompt", "duration_ms"]
    );
    assert_eq!(
        plain(json!({"prompt": "a cat", "seed": 5, "steps": 4})),
        [""; 0],
        "no workflow, no contradiction"
    );
    let filled = fill(&workflow("sd15_txt2img"), &Wishes::of(&body(&json!({"seed": 5, "steps": 4}))), &[]);
    let filled =
        Body { workflow: Some(filled.expect("no doubt").graph), ..body(&json!({"seed": 5, "steps": 4})) };
    assert_eq!(ignored(&filled), [""; 0], "what was filled in says the same");
}

#[test]
fn a_file_is_mentioned_in_every_form_that_a_server_resolves() {
    let nested = json!({"1": {"class_type": "A", "inputs": {"files": [{"image": "sub/mask.png [temp]"}]}}});
    for (graph, name, mentioned) in [
        (workflow("img2img"), "photo.png", true),
        (workflow("img2img"), "photo.jpg", false),
        (workflow("img2img"), "oto.png", false),
        (workflow("qwen_edit"), "photo.png", true),
        (nested.clone(), "mask.png", true),
        (nested, "sub", false),
    ] {
        assert_eq!(unmentioned(&graph, [name]).is_empty(), mentioned, "{name} in {graph}");
    }
}

#[test]
fn a_model_beside_the_files_of_another_is_overruled() {
    let catalog = policy::defaults::catalog();
    let of = |name: &str, model: &str| {
        let body = Body { workflow: Some(workflow(name)), model: Some(model.to_owned()), ..Body::default() };
        overruling_model(&body, &catalog).map(|model| model.model.clone())
    };
    assert_eq!(of("sd15_txt2img", "flux"), Some("sd15".to_owned()));
    assert_eq!(of("sd15_txt2img", "sd15"), None, "it says the same");
    assert_eq!(of("upscale", "flux"), None, "its files are nobody's");
}

#[test]
fn any_graph_is_answered_and_never_changed_where_nothing_is_wanted() {
    let names =
        ["sdxl_txt2img", "flux_guided", "base_refiner", "primitives", "control", "efficient", "qwen_edit"];
    let want =
        json!({"prompt": "p", "negative_prompt": "n", "seed": 1, "steps": 2, "width": 64, "height": 64});
    for name in names {
        let graph = workflow(name);
        let all: Vec<(String, String)> = graph
            .as_object()
            .expect("a graph")
            .iter()
            .flat_map(|(id, node)| {
                let inputs = node["inputs"].as_object().into_iter().flatten();
                inputs.map(move |(input, _)| (id.clone(), input.clone()))
            })
            .collect();
        // Each input in turn holds something odd; a search may refuse, and must end.
        for (id, input) in &all {
            for odd in [
                json!(null),
                json!([id, 0]),
                json!([id, 1]),
                json!(["", 0]),
                json!({}),
                json!("{{seed}}"),
                json!(-1),
            ] {
                let mut bent = graph.clone();
                bent[id]["inputs"][input] = odd;
                let before = bent.clone();
                let _ = fill(&bent, &Wishes::of(&body(&want)), &[]);
                if let Ok(filled) = fill(&bent, &Wishes::default(), &[]) {
                    assert_eq!(filled.graph, before, "{name} {id}.{input}");
                }
            }
        }
    }
}
