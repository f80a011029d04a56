//! In which order nodes run: ComfyUI's list of pending nodes and its preference for showing results early.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::catalog::Catalog;
use super::validate::Graph;

/// The nodes that `node` is linked to, in the order of its declared inputs.
pub(super) fn links(graph: &Graph, catalog: &Catalog, node: &str) -> Vec<String> {
    let class = graph[node]["class_type"].as_str().unwrap_or_default();
    let inputs = &graph[node]["inputs"];
    let declared = catalog.node(class).map_or(&[][..], |known| &known.inputs);
    declared.iter().filter_map(|input| link_of(&inputs[&input.name])).collect()
}

/// The node id of a link `[id, slot]`; `None` for a literal.
pub(super) fn link_of(value: &Value) -> Option<String> {
    match value.as_array()?.as_slice() {
        [id, slot] if slot.is_number() => id.as_str().map(str::to_owned),
        _ => None,
    }
}

/// Every node that must run for `outputs`, in order. Cached nodes do not run, unless they are outputs.
pub(super) fn plan(
    graph: &Graph,
    catalog: &Catalog,
    outputs: &[String],
    cached: &HashSet<String>,
) -> Vec<String> {
    let mut pending: Vec<String> = Vec::new();
    for output in outputs {
        let mut stack = vec![output.clone()];
        while let Some(id) = stack.pop() {
            if pending.contains(&id) {
                continue;
            }
            if !cached.contains(&id) {
                stack.extend(links(graph, catalog, &id).into_iter().filter(|from| !cached.contains(from)));
            }
            pending.push(id);
        }
    }
    let waits_for: HashMap<String, Vec<String>> = pending
        .iter()
        .map(|id| {
            let open = links(graph, catalog, id).into_iter().filter(|from| !cached.contains(from));
            (id.clone(), if cached.contains(id) { Vec::new() } else { open.collect() })
        })
        .collect();
    let mut done: Vec<String> = Vec::new();
    while !pending.is_empty() {
        let ready = |id: &&String| waits_for[*id].iter().all(|from| done.contains(from));
        let available: Vec<&String> = pending.iter().filter(ready).collect();
        // A cycle cannot get past validation; if it did, stopping is better than spinning.
        let Some(next) = pick(graph, catalog, &available, &waits_for).cloned() else { break };
        pending.retain(|id| *id != next);
        done.push(next);
    }
    done
}

/// Output nodes first, then what leads to one directly, then in two steps, then whatever came first.
fn pick<'a>(
    graph: &Graph,
    catalog: &Catalog,
    available: &[&'a String],
    waits_for: &HashMap<String, Vec<String>>,
) -> Option<&'a String> {
    let is_output = |id: &str| {
        graph[id]["class_type"]
            .as_str()
            .and_then(|class| catalog.node(class))
            .is_some_and(|node| node.output_node)
    };
    let leads_to = |id: &str| {
        let id = id.to_owned();
        waits_for
            .iter()
            .filter(move |(_, from)| from.contains(&id))
            .map(|(to, _)| to.as_str())
            .collect::<Vec<_>>()
    };
    let directly = |id: &str| leads_to(id).into_iter().any(is_output);
    let in_two = |id: &str| leads_to(id).into_iter().any(directly);
    let first = |test: &dyn Fn(&str) -> bool| available.iter().find(|id| test(id)).copied();
    first(&is_output)
        .or_else(|| first(&directly))
        .or_else(|| first(&in_two))
        .or_else(|| available.first().copied())
}
