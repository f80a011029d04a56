//! A workflow in API format, read: nodes, links, and the literal that an input takes its value from.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

/// Links in a row that are followed; longer ones are loops, or beyond what people draw.
const LINKS_MAX: usize = 64;

/// One input of one node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The node's id.
    pub node: String,
    /// The input's name.
    pub input: String,
}

impl Place {
    pub(super) fn new(node: &str, input: &str) -> Self {
        Self { node: node.to_owned(), input: input.to_owned() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node, self.input)
    }
}

/// An input that may be meant.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Which one.
    pub place: Place,
    /// Its node's class.
    pub class_type: String,
    /// Its node's title, where it has one.
    pub title: Option<String>,
    /// What it holds now.
    pub value: Value,
}

/// One node.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    pub(super) id: &'a str,
    pub(super) class_type: &'a str,
    pub(super) title: Option<&'a str>,
    inputs: Option<&'a Map<String, Value>>,
}

impl<'a> Node<'a> {
    fn new(id: &'a str, node: &'a Value) -> Self {
        Self {
            id,
            class_type: node["class_type"].as_str().unwrap_or_default(),
            title: node["_meta"]["title"].as_str(),
            inputs: node["inputs"].as_object(),
        }
    }

    /// Its inputs with what they hold.
    pub(super) fn inputs(self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.inputs.into_iter().flatten().map(|(name, value)| (name.as_str(), value))
    }

    pub(super) fn input(self, name: &str) -> Option<&'a Value> {
        self.inputs?.get(name)
    }

    pub(super) fn has(self, name: &str) -> bool {
        self.input(name).is_some()
    }

    /// Where an input is linked to.
    pub(super) fn link(self, name: &str) -> Option<Link<'a>> {
        link(self.input(name)?)
    }

    fn links(self) -> impl Iterator<Item = Link<'a>> {
        self.inputs().filter_map(|(_, value)| link(value))
    }

    /// The only thing that it takes, so that it can only be handing that on.
    pub(super) fn passes_on(self) -> Option<Link<'a>> {
        let mut inputs = self.inputs();
        let only = inputs.next()?.1;
        if inputs.next().is_none() { link(only) } else { None }
    }
}

/// What a node is called in a text.
impl fmt::Display for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} ({})", self.id, self.class_type)
    }
}

/// Another node's output.
#[derive(Clone, Copy)]
pub(super) struct Link<'a> {
    pub(super) node: &'a str,
    pub(super) slot: u64,
}

/// `["node id", slot]`, as ComfyUI tells a link from a value.
pub(super) fn link(value: &Value) -> Option<Link<'_>> {
    match value.as_array()?.as_slice() {
        [Value::String(node), slot] => Some(Link { node, slot: slot.as_u64()? }),
        _ => None,
    }
}

/// What kind of literal is looked for, and which inputs mean the same.
#[derive(Clone, Copy)]
pub(super) struct Role {
    /// Whether a value is such a literal.
    pub(super) is_literal: fn(&Value) -> bool,
    /// Inputs of a node that only holds a value.
    pub(super) holders: &'static [&'static str],
    /// Inputs that may take their value from the same literal.
    pub(super) takers: &'static [&'static str],
}

/// Why no literal is found.
pub(super) struct Unclear {
    /// A clause.
    pub(super) why: String,
    /// The literal that is there and serves something else too.
    pub(super) shared: Option<Place>,
}

impl From<String> for Unclear {
    fn from(why: String) -> Self {
        Self { why, shared: None }
    }
}

/// A whole workflow.
pub(super) struct Graph<'a> {
    nodes: Vec<Node<'a>>,
    /// Ids that something is linked to.
    linked: BTreeSet<&'a str>,
}

impl<'a> Graph<'a> {
    pub(super) fn new(graph: &'a Value) -> Self {
        let all = graph.as_object().into_iter().flatten();
        let nodes: Vec<Node<'a>> = all.map(|(id, node)| Node::new(id, node)).collect();
        let linked = nodes.iter().flat_map(|node| node.links()).map(|link| link.node).collect();
        Self { nodes, linked }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Node<'a>> {
        self.nodes.iter().copied()
    }

    /// The nodes that can matter. One that takes nothing and that nothing takes from never runs.
    pub(super) fn nodes(&self) -> impl Iterator<Item = Node<'a>> {
        self.all().filter(|node| self.linked.contains(node.id) || node.links().next().is_some())
    }

    pub(super) fn node(&self, id: &str) -> Option<Node<'a>> {
        self.all().find(|node| node.id == id)
    }

    /// Every input of every node.
    pub(super) fn inputs(&self) -> impl Iterator<Item = (Place, &'a Value)> {
        self.all().flat_map(|node| node.inputs().map(move |(name, value)| (Place::new(node.id, name), value)))
    }

    pub(super) fn value(&self, place: &Place) -> Option<&'a Value> {
        self.node(&place.node)?.input(&place.input)
    }

    /// The inputs of these names that hold such a literal.
    pub(super) fn named(&self, names: &[&str], is_literal: fn(&Value) -> bool) -> Vec<Place> {
        let of = |node: Node<'a>| {
            let fits = move |(name, value): &(&str, &Value)| names.contains(name) && is_literal(value);
            node.inputs().filter(fits).map(move |(name, _)| Place::new(node.id, name))
        };
        self.nodes().flat_map(of).collect()
    }

    pub(super) fn candidate(&self, place: &Place) -> Option<Candidate> {
        let node = self.node(&place.node)?;
        Some(Candidate {
            value: node.input(&place.input)?.clone(),
            place: place.clone(),
            class_type: node.class_type.to_owned(),
            title: node.title.map(str::to_owned),
        })
    }

    /// Where an input takes its value from: itself, or the node that holds it and does nothing else.
    pub(super) fn literal(&self, node: Node<'a>, input: &str, role: Role) -> Result<Place, Unclear> {
        let place = Place::new(node.id, input);
        let held = node.input(input).ok_or_else(|| format!("{place} is not there"))?;
        if (role.is_literal)(held) {
            return Ok(place);
        }
        let first = link(held).ok_or_else(|| format!("{place} does not hold what it should"))?;
        let linked = |id: &str| self.node(id).ok_or_else(|| format!("{place} is linked to no node"));
        let mut from = linked(first.node)?;
        for _ in 0..LINKS_MAX {
            match from.passes_on() {
                Some(next) => from = linked(next.node)?,
                None => break,
            }
        }
        let holder =
            holder(from, role).ok_or_else(|| format!("{place} is linked to {from}, which makes it"))?;
        let holder = Place::new(from.id, holder);
        match self.ends(from).find(|(_, name)| !role.takers.contains(name)) {
            None => Ok(holder),
            Some((taker, name)) => {
                let why = format!("{from} feeds {}.{name} too", taker.id);
                Err(Unclear { why, shared: Some(holder) })
            }
        }
    }

    /// The inputs that a node's value reaches, also through nodes that hand it on.
    fn ends(&self, from: Node<'a>) -> impl Iterator<Item = (Node<'a>, &'a str)> {
        let (mut ends, mut reached, mut pending) = (Vec::new(), BTreeSet::new(), vec![from.id]);
        while let Some(id) = pending.pop() {
            if !reached.insert(id) {
                continue;
            }
            for taker in self.all() {
                let takes = |(_, value): &(&str, &Value)| link(value).is_some_and(|link| link.node == id);
                for (name, _) in taker.inputs().filter(takes) {
                    match taker.passes_on() {
                        Some(_) if self.linked.contains(taker.id) => pending.push(taker.id),
                        _ => ends.push((taker, name)),
                    }
                }
            }
        }
        ends.into_iter()
    }

    /// Whether any input names a file: by itself, in a folder, or annotated (`photo.png [input]`), at any depth.
    pub(super) fn mentions(&self, file: &str) -> bool {
        self.inputs().any(|(_, value)| mentions(value, file))
    }
}

fn mentions(value: &Value, file: &str) -> bool {
    match value {
        Value::String(text) => {
            let plain = ["input", "output", "temp"]
                .iter()
                .find_map(|folder| text.strip_suffix(&format!("[{folder}]")))
                .unwrap_or(text)
                .trim_end();
            plain.rsplit(['/', '\\']).next() == Some(file)
        }
        Value::Array(items) => items.iter().any(|item| mentions(item, file)),
        Value::Object(map) => map.values().any(|item| mentions(item, file)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The input of a node that does nothing but hold a value of this kind.
fn holder<'a>(node: Node<'a>, role: Role) -> Option<&'a str> {
    if node.links().next().is_some() {
        return None;
    }
    let mut literals = node.inputs().filter(|(_, value)| (role.is_literal)(value));
    let (name, _) = literals.next()?;
    (literals.next().is_none() && role.holders.contains(&name)).then_some(name)
}

/// Writes an input.
pub(super) fn put(graph: &mut Value, place: &Place, value: Value) {
    graph[&place.node]["inputs"][&place.input] = value;
}
