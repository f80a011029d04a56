//! Where seed and steps are.

use serde_json::Value;

use super::found::Found;
use super::graph::{Graph, Node, Place, Role};

/// The names of an input for a seed.
pub(super) const SEEDS: [&str; 2] = ["seed", "noise_seed"];
/// The name of an input for steps.
pub(super) const STEPS: [&str; 1] = ["steps"];

/// The inputs of nodes that only hold a whole number.
const HOLDERS: [&str; 9] =
    ["value", "int", "integer", "number", "Number", "seed", "noise_seed", "steps", "INT"];

const SEED: Role = Role { is_literal: is_whole, holders: &HOLDERS, takers: &SEEDS };
const STEP: Role = Role { is_literal: is_whole, holders: &HOLDERS, takers: &STEPS };

pub(super) fn is_whole(value: &Value) -> bool {
    value.is_u64() || value.is_i64()
}

/// Where the seed is. A sampler that adds no noise needs none.
pub(super) fn seed(graph: &Graph<'_>) -> Found {
    let mut found = Found::new();
    let adds_noise =
        |node: &Node<'_>| node.input("add_noise").is_none_or(|add| add != "disable" && add != false);
    for node in graph.nodes().filter(adds_noise) {
        for name in SEEDS.into_iter().filter(|name| node.has(name)) {
            found.end(graph.literal(node, name, SEED));
        }
    }
    found
}

/// Where the steps are. Where they are split between samplers, the split would have to move with them.
pub(super) fn steps(graph: &Graph<'_>, wanted: Option<u64>) -> Found {
    let mut found = Found::new();
    for node in graph.nodes().filter(|node| node.has("steps")) {
        found.end(graph.literal(node, "steps", STEP));
    }
    let held = found.places.iter().filter_map(|place| graph.value(place)?.as_u64()).max();
    let last = held.max(wanted).unwrap_or(0);
    for node in graph.nodes() {
        let begins_late = node.input("start_at_step").is_some_and(|start| start.as_u64() != Some(0));
        let ends_early =
            node.input("end_at_step").is_some_and(|end| end.as_u64().is_none_or(|end| end < last));
        let splits = node.class_type.starts_with("SplitSigmas");
        for (is_so, input) in [(begins_late, "start_at_step"), (ends_early, "end_at_step"), (splits, "step")]
        {
            if is_so {
                found.doubts.push(format!("the steps are split at {}", Place::new(node.id, input)));
            }
        }
    }
    found
}
