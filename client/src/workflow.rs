//! A workflow as other tools hand it on: by itself, inside what they post to a server, or inside a picture that it made.

use anyhow::{Context as _, bail};
use runtime::png_text;
use serde_json::{Map, Value, json};

/// A workflow in API format, and what goes beside it (`body.extra_data`).
#[derive(Debug, Clone, PartialEq)]
pub struct Workflow {
    /// The graph.
    pub graph: Value,
    /// What a page sent along, for the files that the graph makes.
    pub extra_data: Option<Value>,
}

/// Reads a workflow from a file's bytes: a graph in API format; the body of ComfyUI's `/prompt` (`{"prompt": …}`); what its page
/// makes of a graph (`{"output": …, "workflow": …}`); the body of a RunPod handler (`{"input": {"workflow": …}}`); a PNG that
/// carries one. What is none of these comes back as it is, for admission to say what it is.
///
/// # Errors
/// It is neither JSON nor a PNG with a workflow, or it brings files that have to be given by themselves.
pub fn read(bytes: &[u8]) -> anyhow::Result<Workflow> {
    if png_text::is_png(bytes) {
        return of_picture(bytes);
    }
    let value: Value =
        serde_json::from_slice(bytes).context("not JSON, and not a PNG that carries a workflow")?;
    unwrapped(value)
}

/// A picture that ComfyUI saved.
fn of_picture(png: &[u8]) -> anyhow::Result<Workflow> {
    let read = |keyword: &str| -> anyhow::Result<Option<Value>> {
        let Some(text) = png_text::text(png, keyword) else { return Ok(None) };
        Ok(Some(
            serde_json::from_str(&text)
                .with_context(|| format!("the picture's text `{keyword}` is not JSON"))?,
        ))
    };
    let page = read("workflow")?;
    let Some(graph) = read("prompt")? else {
        let why = if page.is_some() {
            "the picture carries a workflow in the editor's format only: open it in ComfyUI, and use Export (API)"
        } else {
            "the picture carries no workflow: the server that saved it was told not to write one, or another program saved \
             it again"
        };
        bail!(why);
    };
    Ok(Workflow { graph, extra_data: page.as_ref().map(of_page) })
}

fn of_page(workflow: &Value) -> Value {
    json!({ "extra_pnginfo": { "workflow": workflow } })
}

fn unwrapped(value: Value) -> anyhow::Result<Workflow> {
    let Value::Object(mut fields) = value else { return Ok(Workflow { graph: value, extra_data: None }) };
    if is_graph(&fields) {
        return Ok(Workflow { graph: fields.into(), extra_data: None });
    }
    if let Some(graph) = take_graph(&mut fields, "prompt") {
        return Ok(Workflow { graph, extra_data: fields.remove("extra_data") });
    }
    if let Some(graph) = take_graph(&mut fields, "output") {
        return Ok(Workflow { graph, extra_data: fields.get("workflow").map(of_page) });
    }
    if let Some(graph) = take_graph(&mut fields, "workflow") {
        return Ok(Workflow { graph, extra_data: None });
    }
    if let Some(Value::Object(input)) = fields.get_mut("input")
        && let Some(graph) = take_graph(input, "workflow")
    {
        let names = input.get("images").and_then(Value::as_array).into_iter().flatten();
        let names: Vec<&str> = names.filter_map(|image| image.get("name")?.as_str()).collect();
        if !names.is_empty() {
            let (graph, names) = (r#"{"input": {"workflow": …}}"#, names.join(", "));
            bail!(
                "the body {graph} brings files of its own ({names}): give each with --input NAME=FILE, and the workflow \
                   without input.images"
            );
        }
        return Ok(Workflow { graph, extra_data: None });
    }
    Ok(Workflow { graph: fields.into(), extra_data: None })
}

/// Whether these are nodes by id.
fn is_graph(fields: &Map<String, Value>) -> bool {
    !fields.is_empty() && fields.values().all(|node| node.get("class_type").is_some())
}

fn take_graph(fields: &mut Map<String, Value>, name: &str) -> Option<Value> {
    let is_one = fields.get(name).and_then(Value::as_object).is_some_and(is_graph);
    if is_one { fields.remove(name) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> Value {
        json!({"9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "boat"}}})
    }

    fn of(value: &Value) -> anyhow::Result<Workflow> {
        read(value.to_string().as_bytes())
    }

    #[test]
    fn a_graph_is_found_in_what_other_tools_wrap_it_in() {
        let page = json!({"nodes": [], "links": []});
        let told = json!({"extra_pnginfo": {"workflow": page}});
        let cases = [
            (graph(), None),
            (json!({"prompt": graph(), "client_id": "x", "extra_data": told}), Some(&told)),
            (json!({"prompt": graph()}), None),
            (json!({"output": graph(), "workflow": page}), Some(&told)),
            (json!({"workflow": graph()}), None),
            (json!({"input": {"workflow": graph()}, "webhook": "https://example.com"}), None),
            (json!({"input": {"workflow": graph(), "images": []}}), None),
        ];
        for (wrapped, extra_data) in cases {
            let found = of(&wrapped).expect("read");
            assert_eq!((found.graph, found.extra_data.as_ref()), (graph(), extra_data), "{wrapped}");
        }
    }

    #[test]
    fn what_is_no_wrapped_graph_is_left_for_admission_to_explain() {
        for value in [json!({"nodes": [], "links": []}), json!({"prompt": "a boat"}), json!([1]), json!({})] {
            assert_eq!(of(&value).expect("read"), Workflow { graph: value, extra_data: None });
        }
        // A node may be called so.
        let odd =
            json!({"prompt": {"class_type": "Text", "inputs": {}}, "2": {"class_type": "x", "inputs": {}}});
        assert_eq!(of(&odd).expect("read").graph, odd);
    }

    #[test]
    fn files_that_are_brought_along_are_named() {
        let body = json!({"input": {"workflow": graph(), "images": [{"name": "a.png", "image": "…"}, {"name": "b.png"}]}});
        let error = of(&body).expect_err("refused").to_string();
        assert!(error.contains("a.png, b.png") && error.contains("--input"), "{error}");
        assert!(read(b"GIF89a").expect_err("refused").to_string().contains("PNG"));
        assert!(read(b"\x89PNG\r\n\x1a\n").expect_err("refused").to_string().contains("carries no workflow"));
    }
}
