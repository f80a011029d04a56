//! What is submitted: the job's own workflow, or its prompt in the catalog's template, with the names of
//! this attempt's files in it.

use std::collections::BTreeMap;

use schemas::{AttemptId, Body, Catalog, Failure, FailureCode, JobId, workflow};
use serde_json::{Value, json};

/// All files of ours on a server, inputs and results, are below folders of this name.
pub const FOLDER: &str = "argosy";
/// Endings of files for 3D nodes.
const MESH_ENDINGS: [&str; 5] = ["gltf", "glb", "obj", "fbx", "stl"];

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
    format!("{FOLDER}/{}.{}", id.job, id.attempt)
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
            model.render(body, job, prefix)
        }
    };
    workflow::requirements(&graph).map_err(|error| Failure::invalid("body.workflow", error.to_string()))?;
    Ok(graph)
}

/// The folder of the server's inputs that an attempt's files are uploaded to: no other attempt's. Nodes for 3D files
/// list only their own folder.
#[must_use]
pub fn upload_folder(prefix: &str, upload_name: &str) -> String {
    let ending = upload_name.rsplit_once('.').map_or("", |(_, ending)| ending);
    let is_mesh = MESH_ENDINGS.iter().any(|mesh| ending.eq_ignore_ascii_case(mesh));
    if is_mesh { format!("3d/{prefix}") } else { prefix.to_owned() }
}

/// The input that makes a node differ from an earlier attempt's. No node has an input of this name; the server reads it
/// when it looks whether it has the node's output in its cache, and nowhere else.
const ATTEMPT_INPUT: &str = "argosy_attempt";

/// Makes the server run the nodes that leave files or texts anew: what its cache says of them may be gone from its disk.
pub fn run_anew(graph: &mut Value, leaves: impl Fn(&str) -> bool, id: AttemptId) {
    for node in graph.as_object_mut().into_iter().flat_map(|nodes| nodes.values_mut()) {
        if node.get("class_type").and_then(Value::as_str).is_some_and(&leaves)
            && let Some(inputs) = node.get_mut("inputs").and_then(Value::as_object_mut)
        {
            inputs.insert(ATTEMPT_INPUT.to_owned(), Value::from(format!("{}.{}", id.job, id.attempt)));
        }
    }
}

/// What is posted to the server. Of what the job sends beside its workflow the server takes everything but the client's id,
/// which is this worker's.
#[must_use]
pub fn request(graph: &Value, body: &Body, prompt_id: &str, client_id: &str) -> Value {
    let mut request = json!({ "prompt": graph, "prompt_id": prompt_id, "client_id": client_id });
    if let Some(extra) = body.extra_data.as_ref().and_then(Value::as_object) {
        let mut extra = extra.clone();
        extra.remove("client_id");
        request["extra_data"] = Value::Object(extra);
    }
    request
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

    #[test]
    fn what_goes_beside_a_workflow_reaches_the_server_and_its_socket_stays_ours() {
        let mut body = Body::default();
        let of = |body: &Body| request(&json!({"1": {}}), body, "p", "c");
        assert_eq!(of(&body), json!({"prompt": {"1": {}}, "prompt_id": "p", "client_id": "c"}));
        body.extra_data = Some(json!({"extra_pnginfo": {"workflow": {"nodes": []}}, "client_id": "theirs"}));
        let sent = of(&body);
        assert_eq!(sent["extra_data"], json!({"extra_pnginfo": {"workflow": {"nodes": []}}}));
        assert_eq!(sent["client_id"], "c");
    }

    #[test]
    fn a_workflow_is_marked_and_a_wrong_one_refused() {
        let id = schemas::samples::assignment().id();
        let mut body = schemas::samples::job().body;
        body.workflow = Some(json!({"9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}}}));
        let graph = build(&body, id.job, &Catalog::default(), &prefix(id)).expect("a workflow");
        assert_eq!(graph["9"]["inputs"]["filename_prefix"], format!("argosy/{}.{}/x", id.job, id.attempt));
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
