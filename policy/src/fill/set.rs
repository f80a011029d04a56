//! Settings by name: `node.input=value`.

use std::str::FromStr;

use serde_json::Value;

use super::graph::{self, Graph, Node, Place};
use super::wish::Wish;

/// An input that was filled.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Which one.
    pub place: Place,
    /// What it holds now.
    pub value: Value,
}

/// Names listed in an error; more would hide its beginning.
const LISTED_MAX: usize = 24;

/// An input by name, and what it is to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// `node.input`: the node by its id, or by its title where only one has that title.
    pub key: String,
    /// JSON, or a text as it is.
    pub value: String,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((key, value)) if key.contains('.') => {
                Ok(Self { key: key.to_owned(), value: value.to_owned() })
            }
            _ => Err("write NODE.INPUT=VALUE, for example 3.cfg=4.5".to_owned()),
        }
    }
}

/// Why a setting does not fit the workflow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// No such node.
    #[error("`{key}`: no node has this id or title; the workflow's nodes are {nodes}")]
    NoNode {
        /// What was asked for.
        key: String,
        /// The nodes that there are.
        nodes: String,
    },
    /// A title that several nodes have.
    #[error("`{key}`: nodes {ids} all have this title: use the id")]
    Ambiguous {
        /// What was asked for.
        key: String,
        /// Who has the title.
        ids: String,
    },
    /// No such input.
    #[error("`{key}`: {node} has no such input; its inputs are {inputs}")]
    NoInput {
        /// What was asked for.
        key: String,
        /// The node.
        node: String,
        /// The inputs that it has.
        inputs: String,
    },
    /// The input's value comes from another node.
    #[error("`{key}`: this input is linked to {from}: set an input of that node; its inputs are {inputs}")]
    Linked {
        /// What was asked for.
        key: String,
        /// Where the value comes from.
        from: String,
        /// The inputs of that node.
        inputs: String,
    },
    /// A value of another type.
    #[error("`{key}`: it holds {held} now, and `{value}` is not {wanted}")]
    Type {
        /// What was asked for.
        key: String,
        /// What the input holds.
        held: String,
        /// What it is to hold.
        value: String,
        /// The type, with an article.
        wanted: &'static str,
    },
    /// An input that is overwritten later.
    #[error("`{key}`: files are named after their job and attempt, whatever this says: leave it out")]
    FileName {
        /// What was asked for.
        key: String,
    },
    /// An input set a second time.
    #[error("`{key}`: {place} is set twice: leave one out")]
    Twice {
        /// What was asked for.
        key: String,
        /// The input.
        place: Place,
    },
}

/// Carries out settings on a copy of the workflow.
pub(super) fn apply(workflow: &Value, settings: &[Setting]) -> Result<(Value, Vec<Change>), SetError> {
    let read = Graph::new(workflow);
    let mut changes: Vec<Change> = Vec::with_capacity(settings.len());
    for setting in settings {
        let key = setting.key.clone();
        let (node, input) = resolve(&read, &key)?;
        let place = Place::new(node.id, input);
        let held = node.input(input).unwrap_or(&Value::Null);
        if input == "filename_prefix" {
            return Err(SetError::FileName { key });
        }
        if let Some(link) = graph::link(held) {
            let from = read.node(link.node);
            let inputs = from.map(list_inputs).unwrap_or_default();
            let from = from.map_or_else(|| format!("node {}", link.node), |node| node.to_string());
            return Err(SetError::Linked { key, from, inputs });
        }
        if changes.iter().any(|change| change.place == place) {
            return Err(SetError::Twice { key, place });
        }
        changes.push(Change { value: value(held, setting)?, place });
    }
    let mut workflow = workflow.clone();
    for change in &changes {
        graph::put(&mut workflow, &change.place, change.value.clone());
    }
    Ok((workflow, changes))
}

/// The node and the input of a key. Ids, titles and names of inputs may have dots: of all ways to part the
/// key the one that exists is taken, and the last dot where none does.
fn resolve<'a, 'k>(graph: &Graph<'a>, key: &'k str) -> Result<(Node<'a>, &'k str), SetError> {
    let mut wrong = None;
    for (dot, _) in key.rmatch_indices('.') {
        let (name, input) = (&key[..dot], &key[dot + 1..]);
        let titled: Vec<Node<'a>> = graph.all().filter(|node| node.title == Some(name)).collect();
        let problem = match (graph.node(name), titled.as_slice()) {
            (Some(node), _) | (None, &[node]) if node.has(input) => return Ok((node, input)),
            (Some(node), _) | (None, &[node]) => {
                SetError::NoInput { key: key.to_owned(), node: node.to_string(), inputs: list_inputs(node) }
            }
            (None, []) => continue,
            (None, several) => SetError::Ambiguous {
                key: key.to_owned(),
                ids: list(several.iter().map(|node| node.id.to_owned())),
            },
        };
        wrong.get_or_insert(problem);
    }
    Err(wrong.unwrap_or_else(|| {
        let shown = |node: Node<'_>| match node.title {
            Some(title) => format!("{} \"{title}\"", node.id),
            None => format!("{} ({})", node.id, node.class_type),
        };
        SetError::NoNode { key: key.to_owned(), nodes: list(graph.all().map(shown)) }
    }))
}

fn list_inputs(node: Node<'_>) -> String {
    let shown = |(name, value): (&str, &Value)| match graph::link(value) {
        Some(link) => format!("{name} (linked to {})", link.node),
        None => name.to_owned(),
    };
    list(node.inputs().map(shown))
}

fn list(all: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = all.collect();
    let more = all.len().saturating_sub(LISTED_MAX);
    let shown = all[..all.len() - more].join(", ");
    match (all.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (_, 0) => shown,
        (_, more) => format!("{shown} and {more} more"),
    }
}

/// What an input is to hold, of the type that it holds now.
fn value(held: &Value, setting: &Setting) -> Result<Value, SetError> {
    let text = &setting.value;
    let parsed = serde_json::from_str::<Value>(text).ok();
    // A placeholder is filled before anything is sent.
    if Wish::ALL.iter().any(|wish| wish.placeholder() == text) {
        return Ok(Value::from(text.as_str()));
    }
    let wanted = match (held, &parsed) {
        (Value::String(_), Some(Value::String(inner))) => return Ok(Value::from(inner.as_str())),
        (Value::String(held), _) if !is_placeholder(held) => return Ok(Value::from(text.as_str())),
        (Value::Number(_), Some(Value::Number(_)))
        | (Value::Bool(_), Some(Value::Bool(_)))
        | (Value::Array(_), Some(Value::Array(_)))
        | (Value::Object(_), Some(Value::Object(_))) => return Ok(parsed.unwrap_or_default()),
        (Value::String(_) | Value::Null, _) => {
            return Ok(parsed.unwrap_or_else(|| Value::from(text.as_str())));
        }
        (Value::Number(_), _) => "a number",
        (Value::Bool(_), _) => "true or false",
        (Value::Array(_), _) => "a JSON list",
        (Value::Object(_), _) => "a JSON object",
    };
    let held = held.to_string();
    Err(SetError::Type { key: setting.key.clone(), held, value: text.clone(), wanted })
}

/// A placeholder's own type says nothing.
fn is_placeholder(held: &str) -> bool {
    Wish::ALL.iter().any(|wish| wish.placeholder() == held)
}
