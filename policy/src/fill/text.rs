//! Where prompts are: from whatever takes a positive or negative conditioning up to the text that is encoded.

use std::collections::BTreeSet;

use serde_json::Value;

use super::found::Found;
use super::graph::{Graph, Link, Node, Place, Role, link};

/// The text inputs of the nodes that encode a text, the one that tells most first: a node for several encoders
/// has several, and all of them get the prompt.
const ENCODED: [&str; 11] = [
    "text",
    "prompt",
    "user_prompt",
    "text_g",
    "text_l",
    "t5xxl",
    "clip_g",
    "clip_l",
    "llama",
    "mt5xl",
    "bert",
];

/// The names that an input for a prompt usually has.
pub(super) const NAMES: [&str; 15] = [
    "text",
    "text_g",
    "text_l",
    "clip_l",
    "clip_g",
    "t5xxl",
    "llama",
    "prompt",
    "user_prompt",
    "positive",
    "negative",
    "positive_prompt",
    "negative_prompt",
    "string",
    "value",
];

const TEXT: Role = Role {
    is_literal: Value::is_string,
    holders: &["text", "string", "value", "prompt", "content", "Text", "String"],
    takers: &NAMES,
};

/// Nodes that answer with an empty conditioning, whatever they are given.
const EMPTY: [&str; 1] = ["ConditioningZeroOut"];

/// Which of the two is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Positive,
    Negative,
}

impl Side {
    /// The input's name, and that of the same where a node takes both as texts.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Positive => ("positive", "positive_prompt"),
            Self::Negative => ("negative", "negative_prompt"),
        }
    }
}

/// Where the prompt is.
pub(super) fn prompt(graph: &Graph<'_>) -> Found {
    let mut walk = Walk::new(graph);
    walk.visit_all(Side::Positive);
    // A guider may take what it is to follow under another name.
    for guider in graph.nodes().filter_map(|node| graph.node(node.link("guider")?.node)) {
        if let Some(link) = guider.link("conditioning") {
            walk.up(guider, link, Side::Positive);
        } else if !guider.has("positive") {
            walk.found.doubts.push(format!("{guider} is a guider that is not understood"));
        }
    }
    for sampler in graph.nodes().filter(|node| node.has("latent_image")) {
        if let Some(link) = sampler.link("conditioning") {
            walk.up(sampler, link, Side::Positive);
        }
    }
    walk.found
}

/// Where the negative prompt is.
pub(super) fn negative(graph: &Graph<'_>) -> Found {
    let mut walk = Walk::new(graph);
    walk.visit_all(Side::Negative);
    let Walk { mut found, empty, .. } = walk;
    if found.doubts.is_empty() {
        if let Some(shared) = found.places.intersection(&prompt(graph).places).next() {
            found.doubts.push(format!("the workflow takes its negative from its prompt, {shared}"));
        } else if let (true, Some(node)) = (found.places.is_empty(), empty) {
            found.doubts.push(format!("the workflow's negative is empty: {node}"));
        }
    }
    found
}

/// Whether a node takes a positive and a negative conditioning and hands both on, as control nets do.
fn hands_both_on(node: Node<'_>) -> bool {
    node.link("positive").is_some() && node.link("negative").is_some() && !node.has("model")
}

/// Whether a walk from the nodes that sample comes to this one by itself, and knows which side it is on.
fn is_met_below(graph: &Graph<'_>, node: Node<'_>) -> bool {
    let takes = |(name, value): (&str, &Value)| {
        let is_conditioning = ["positive", "negative"].contains(&name) || name.starts_with("conditioning");
        is_conditioning && link(value).is_some_and(|link| link.node == node.id)
    };
    hands_both_on(node) && graph.nodes().any(|taker| taker.inputs().any(takes))
}

/// A walk against the direction of links.
struct Walk<'a, 'g> {
    graph: &'g Graph<'a>,
    found: Found,
    /// What was met already.
    met: BTreeSet<(&'a str, u64, bool)>,
    /// A node that makes an empty conditioning of what it gets.
    empty: Option<String>,
}

impl<'a, 'g> Walk<'a, 'g> {
    const fn new(graph: &'g Graph<'a>) -> Self {
        Self { graph, found: Found::new(), met: BTreeSet::new(), empty: None }
    }

    fn visit_all(&mut self, side: Side) {
        for node in self.graph.nodes().filter(|node| !is_met_below(self.graph, *node)) {
            self.at_side(node, side);
        }
    }

    /// Follows a node's input for a side; `false` where it has none.
    fn at_side(&mut self, node: Node<'a>, side: Side) -> bool {
        let (conditioning, text) = side.names();
        if let Some(link) = node.link(conditioning) {
            self.up(node, link, side);
        } else if node.input(conditioning).is_some_and(Value::is_string) {
            self.found.places.insert(Place::new(node.id, conditioning));
        } else if node.has(text) {
            self.found.end(self.graph.literal(node, text, TEXT));
        } else {
            return false;
        }
        true
    }

    /// Finds what a link's conditioning is made of.
    fn up(&mut self, taker: Node<'a>, link: Link<'a>, side: Side) {
        if !self.met.insert((link.node, link.slot, side == Side::Positive)) {
            return;
        }
        let Some(node) = self.graph.node(link.node) else {
            self.found.doubts.push(format!("{taker} is linked to node {}, which is not there", link.node));
            return;
        };
        if EMPTY.contains(&node.class_type) {
            self.empty = Some(node.to_string());
            return;
        }
        // What takes both hands both on, the positive first; a sampler that does so hands on its model before.
        if hands_both_on(node) {
            let side = if link.slot == 0 { Side::Positive } else { Side::Negative };
            self.at_side(node, side);
            return;
        }
        if self.at_side(node, side) {
            return;
        }
        let mut texts = ENCODED.into_iter().filter(|name| node.has(name));
        if let Some(first) = texts.next() {
            self.found.end(self.graph.literal(node, first, TEXT));
            for name in texts {
                match self.graph.literal(node, name, TEXT) {
                    Ok(place) => _ = self.found.along.insert(place),
                    unclear => self.found.end(unclear),
                }
            }
            return;
        }
        let named = node.inputs().filter(|(name, _)| name.starts_with("conditioning"));
        let mut next: Vec<Link<'a>> = named.filter_map(|(name, _)| node.link(name)).collect();
        if next.is_empty() {
            next.extend(node.passes_on());
        }
        if next.is_empty() {
            self.found.doubts.push(format!("{node} is not understood"));
        }
        for link in next {
            self.up(node, link, side);
        }
    }
}
