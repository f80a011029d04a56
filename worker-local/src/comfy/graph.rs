//! What is submitted: the job's own workflow, or its prompt in the catalog's template, with the names of
//! this attempt's files in it.

use std::collections::BTreeMap;

use schemas::{AttemptId, Body, Catalog, Failure, FailureCode, Input, JobId, workflow};
use serde_json::Value;

/// Where the graph came from, which decides whom a fault in it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The job's workflow: a fault is the job's.
    Workflow,
    /// The catalog's template: a fault is mostly ours.
    Template,
}

/// Where the job's graph comes from.
#[must_use]
pub const fn source(body: &Body) -> Source {
    if body.workflow.is_some() { Source::Workflow } else { Source::Template }
}

/// Files of an attempt begin so, which tells them from all others on the server, and keeps the server
/// from answering a repeat out of its cache with an earlier run's files.
#[must_use]
pub fn prefix(id: AttemptId) -> String {
    format!("argosy/{}.{}", id.job, id.attempt)
}

/// The graph to submit, inputs not yet named.
///
/// # Errors
/// The failure to end the attempt with: no workflow and no model, or a workflow of the wrong form.
pub fn build(body: &Body, job: JobId, catalog: &Catalog, prefix: &str) -> Result<Value, Failure> {
    let graph = match &body.workflow {
        Some(graph) => {
            let mut graph = graph.clone();
            workflow::set_prefix(&mut graph, prefix);
            graph
        }
        None => {
            let name = body.model.as_ref().or_else(|| catalog.default_models.get(&body.kind));
            let model = name.and_then(|name| catalog.model(name)).ok_or_else(|| {
                let name = name.map_or("no model", String::as_str);
                let message = format!("{name} is not in the catalog, so there is no workflow for the prompt");
                Failure::new(FailureCode::CapabilityMissing, message).with_missing(vec![name.to_owned()])
            })?;
            workflow::render(model, body, job, prefix)
        }
    };
    workflow::requirements(&graph).map_err(|error| Failure::invalid("body.workflow", error.to_string()))?;
    Ok(graph)
}

/// The name to upload an input under: the last part of what the job calls it.
#[must_use]
pub fn upload_name(input: &Input) -> &str {
    let name = input.name.rsplit(['/', '\\']).next().unwrap_or_default();
    if name.is_empty() { "input" } else { name }
}

/// Puts the server's names in the place of the job's, wherever a node's input is exactly that name.
pub fn name_inputs(graph: &mut Value, names: &BTreeMap<String, String>) {
    let Some(nodes) = graph.as_object_mut() else { return };
    for inputs in nodes.values_mut().filter_map(|node| node.get_mut("inputs")?.as_object_mut()) {
        for value in inputs.values_mut() {
            if let Some(name) = value.as_str().and_then(|text| names.get(text)) {
                *value = Value::from(name.as_str());
            }
        }
    }
}

/// Node id to node class, for words about progress.
#[must_use]
pub fn node_classes(graph: &Value) -> BTreeMap<String, String> {
    let nodes = graph.as_object().into_iter().flatten();
    nodes.filter_map(|(id, node)| Some((id.clone(), node.get("class_type")?.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_exact_names_are_replaced() {
        let mut graph = json!({
            "1": {"class_type": "LoadImage", "inputs": {"image": "photo.png"}},
            "2": {"class_type": "Text", "inputs": {"text": "a photo.png", "link": ["1", 0]}},
        });
        name_inputs(&mut graph, &BTreeMap::from([("photo.png".to_owned(), "photo (1).png".to_owned())]));
        assert_eq!(graph["1"]["inputs"]["image"], "photo (1).png");
        assert_eq!(graph["2"]["inputs"], json!({"text": "a photo.png", "link": ["1", 0]}));
        assert_eq!(node_classes(&graph)["1"], "LoadImage");
    }

    #[test]
    fn a_workflow_is_marked_and_a_wrong_one_refused() {
        let id = schemas::samples::assignment().id();
        let mut body = schemas::samples::job().body;
        body.workflow = Some(json!({"9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}}}));
        let graph = build(&body, id.job, &Catalog::default(), &prefix(id)).expect("a workflow");
        assert_eq!(graph["9"]["inputs"]["filename_prefix"], format!("argosy/{}.{}", id.job, id.attempt));
        body.workflow = Some(json!({"nodes": [], "links": []}));
        let failure = build(&body, id.job, &Catalog::default(), "p").expect_err("the editor's format");
        assert_eq!(
            (failure.code, failure.field.as_deref()),
            (FailureCode::InvalidJob, Some("body.workflow"))
        );
        assert!(failure.message.contains("Export (API)"), "{}", failure.message);
        body.workflow = None;
        let failure = build(&body, id.job, &Catalog::default(), "p").expect_err("no such model");
        assert_eq!(
            (failure.code, failure.missing),
            (FailureCode::CapabilityMissing, vec!["sdxl".to_owned()])
        );
    }
}
