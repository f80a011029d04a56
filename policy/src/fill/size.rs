//! Where width and height are: the empty latent that sampling begins with, if nothing else sets a size.

use std::collections::BTreeSet;

use super::found::Found;
use super::graph::{Graph, Node, Place, Role};
use super::number::is_whole;

/// One of the two sides.
#[derive(Clone, Copy)]
struct Side {
    name: &'static str,
    /// The inputs that only tell a model what to expect.
    hints: [&'static str; 2],
    role: Role,
}

const WIDTH: Side = Side {
    name: "width",
    hints: ["width", "target_width"],
    role: Role { is_literal: is_whole, holders: &WIDTH_HOLDERS, takers: &["width", "target_width"] },
};
const HEIGHT: Side = Side {
    name: "height",
    hints: ["height", "target_height"],
    role: Role { is_literal: is_whole, holders: &HEIGHT_HOLDERS, takers: &["height", "target_height"] },
};
const WIDTH_HOLDERS: [&str; 6] = ["value", "int", "integer", "number", "INT", "width"];
const HEIGHT_HOLDERS: [&str; 6] = ["value", "int", "integer", "number", "INT", "height"];

/// Where the width is.
pub(super) fn width(graph: &Graph<'_>) -> Found {
    side(graph, WIDTH)
}

/// Where the height is.
pub(super) fn height(graph: &Graph<'_>) -> Found {
    side(graph, HEIGHT)
}

fn side(graph: &Graph<'_>, side: Side) -> Found {
    let mut found = Found::new();
    let mut latents = BTreeSet::new();
    for sampler in graph.nodes().filter(|node| node.link("latent_image").is_some()) {
        match latent(graph, sampler) {
            Ok(Some(node)) => {
                latents.insert(node.id);
                found.end(graph.literal(node, side.name, side.role));
            }
            Ok(None) => {}
            Err(why) => found.doubts.push(why),
        }
    }
    let sized = |node: &Node<'_>| node.has("width") && node.has("height");
    let held = found.places.first().and_then(|place| graph.value(place));
    for node in graph.nodes().filter(sized).filter(|node| !latents.contains(node.id)) {
        if !is_hint(node) {
            let too = if latents.is_empty() { "" } else { " too" };
            found.doubts.push(format!("{node} sets a size{too}"));
            continue;
        }
        // Told the same as the latent now, it is told the same afterwards.
        let same = side.hints.into_iter().filter(|name| held.is_some() && node.input(name) == held);
        found.along.extend(same.map(|name| Place::new(node.id, name)));
    }
    found
}

/// Nodes that take a size as an opinion on the picture, not as the size of what they make.
fn is_hint(node: Node<'_>) -> bool {
    node.has("clip") || node.has("max_shift")
}

/// The node with the size of what a sampler begins with; `None` where that is another sampler's work.
fn latent<'a>(graph: &Graph<'a>, sampler: Node<'a>) -> Result<Option<Node<'a>>, String> {
    let (mut node, mut met) = (sampler, BTreeSet::new());
    let mut next = sampler.link("latent_image");
    while let Some(link) = next {
        if !met.insert(link.node) {
            return Err(format!("{node} is part of a loop"));
        }
        node = graph.node(link.node).ok_or_else(|| format!("{node} is linked to no node"))?;
        if node.link("latent_image").is_some() {
            return Ok(None);
        }
        if node.has("pixels") {
            return Err(format!("the size is that of an image, which {node} takes"));
        }
        let choices = node.inputs().any(|(_, value)| value.is_string());
        if node.has("width") && node.has("height") {
            let makes_empty = node.has("batch_size") && !choices && !node.has("samples");
            return if makes_empty { Ok(Some(node)) } else { Err(format!("{node} sets the size")) };
        }
        next = node.link("samples").or_else(|| node.passes_on());
    }
    Err(format!("{node} makes the latent image, and is not understood"))
}
