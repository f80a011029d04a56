//! Workflows: told apart, read, rendered.

use schemas::catalog::Model;
use schemas::workflow::{self, WorkflowError};
use schemas::{Body, DeadLetter, Encoding, Kind, samples};
use serde_json::{Value, json};

#[test]
fn the_two_formats_are_told_apart() {
    let cases = [
        (json!({"nodes": [], "links": []}), WorkflowError::UiFormat),
        (json!({"last_node_id": 3, "nodes": [{"id": 1, "type": "KSampler"}]}), WorkflowError::UiFormat),
        (json!([]), WorkflowError::NotAGraph),
        (json!({}), WorkflowError::Empty),
        (json!({"1": 5}), WorkflowError::NotAGraph),
        (json!({"1": {"inputs": {}}}), WorkflowError::NoClassType("1".to_owned())),
        (nested(workflow::DEPTH_MAX), WorkflowError::TooDeep),
    ];
    for (graph, error) in cases {
        assert_eq!(workflow::requirements(&graph), Err(error), "{graph}");
    }
    assert!(WorkflowError::UiFormat.to_string().contains("Export (API)"));
}

#[test]
fn a_kind_that_lacks_nothing_is_remembered_by_its_own_number() {
    let needs = workflow::Requirements::default();
    assert!(!needs.met.by(0) && !needs.met.by(7));
    needs.met.remember(7);
    assert!(needs.met.by(7) && !needs.met.by(7 + 16), "two kinds on one place");
    needs.met.remember(7 + 16);
    assert!(needs.met.by(7 + 16) && !needs.met.by(7), "the later stays");
    needs.met.remember(0);
    assert!(!needs.met.by(0), "0 is no kind");
    assert_eq!(needs, workflow::Requirements::default(), "what is remembered is no part of them");
    assert!(!needs.clone().met.by(7 + 16), "a copy finds out for itself");
}

#[test]
fn requirements_are_nodes_and_model_files() {
    let graph = json!({
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a.safetensors"}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["4", 1]}},
    });
    let needs = workflow::requirements(&graph).expect("a graph");
    assert_eq!(needs.nodes.into_iter().collect::<Vec<_>>(), ["CLIPTextEncode", "CheckpointLoaderSimple"]);
    assert_eq!(needs.models.into_iter().collect::<Vec<_>>(), ["a.safetensors"]);
}

#[test]
fn a_prompt_fills_the_template_with_the_right_types() {
    let model = Model {
        needs: schemas::catalog::Needs::default(),
        model: "m".to_owned(),
        class: samples::decision().class,
        files: vec![],
        width: 512,
        height: 640,
        steps: 20,
        duration_ms: 2_000,
        template: json!({"1": {"class_type": "X", "inputs": {
            "text": "{{prompt}}", "w": "{{width}}", "seed": "{{seed}}", "frames": "{{frames}}",
            "filename_prefix": "{{prefix}}", "other": "{{unheard_of}}", "link": ["2", 0]}}}),
    };
    let body =
        Body { kind: Kind::Image, prompt: Some("{{steps}}".to_owned()), width: Some(768), ..Body::default() };
    let graph = model.render(&body, samples::job_id(), "argosy/x");
    assert_eq!(
        graph["1"]["inputs"],
        json!({"text": "{{steps}}", "w": 768, "seed": workflow::seed_of(samples::job_id()), "frames": 33,
               "filename_prefix": "argosy/x", "other": "{{unheard_of}}", "link": ["2", 0]})
    );
}

/// A graph with a value that nests so deep in one of its inputs.
fn nested(depth: usize) -> Value {
    let deep = (0..depth).fold(json!(1), |inner, _| json!([inner]));
    json!({"1": {"class_type": "A", "inputs": {"a": deep}}})
}

#[test]
fn what_is_accepted_can_be_handed_on() {
    // Graph, node and inputs are three levels themselves.
    let deepest = nested(workflow::DEPTH_MAX - 3);
    assert!(workflow::requirements(&deepest).is_ok());
    let mut letter = samples::dead_letter();
    letter.assignment.job.body.workflow = Some(deepest);
    for encoding in [Encoding::MessagePack, Encoding::Json] {
        assert_eq!(encoding.decode::<DeadLetter>(&encoding.encode(&letter)).as_ref(), Ok(&letter));
    }
}
