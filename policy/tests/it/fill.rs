//! `tests/tables/fill.txt`: which inputs of a workflow are filled, and what is refused with which words.

use std::collections::BTreeMap;
use std::path::Path;

use policy::fill::{FillError, Setting, Wishes, fill};
use schemas::Body;
use serde_json::{Value, json};

use crate::table::{cases, patch};

/// A workflow of the shipped ones or of the tests.
pub(crate) fn workflow(name: &str) -> Value {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shipped = here.join(format!("../ops/workflows/{name}.json"));
    let path = if shipped.exists() { shipped } else { here.join(format!("tests/graphs/{name}.json")) };
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn body(change: &Value) -> Body {
    let mut body = json!({"kind": "image"});
    patch(&mut body, change);
    serde_json::from_value(body).expect("a body")
}

/// Every input as `node.input` with its value.
fn inputs(graph: &Value) -> BTreeMap<String, &Value> {
    let nodes = graph.as_object().expect("a graph").iter();
    let inputs = nodes.flat_map(|(id, node)| {
        let inputs = node["inputs"].as_object().into_iter().flatten();
        inputs.map(move |(name, value)| (format!("{id}.{name}"), value))
    });
    inputs.collect()
}

fn differences(before: &Value, after: &Value) -> BTreeMap<String, Value> {
    let (before, after) = (inputs(before), inputs(after));
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "no input comes or goes");
    let differs =
        |(place, value): (String, &Value)| (before[&place] != value).then(|| (place, value.clone()));
    after.into_iter().filter_map(differs).collect()
}

fn in_words(error: &FillError) -> String {
    let FillError::Doubts(doubts) = error else { return format!("refused {error}") };
    let shown = doubts.iter().map(|doubt| {
        let places: Vec<String> = doubt.candidates.iter().map(|one| one.place.to_string()).collect();
        format!("{}: {} | {}", doubt.wish, doubt.why, places.join(" "))
    });
    format!("doubt {}", shown.collect::<Vec<_>>().join("; "))
}

#[test]
fn a_workflow_is_filled_where_there_is_no_doubt() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for case in cases(include_str!("../tables/fill.txt")) {
        let (mut graph, mut want, mut settings) = (Value::Null, json!({}), Vec::<Setting>::new());
        let mut wanted = "";
        for line in &case.lines {
            let (key, rest) = line.split_once(' ').unwrap_or((line, ""));
            match key {
                "graph" => graph = workflow(rest),
                "patch" => patch(&mut graph, &serde_json::from_str(rest).expect(rest)),
                "want" => want = serde_json::from_str(rest).expect(rest),
                "set" => settings.push(rest.parse().expect(rest)),
                "=>" => wanted = rest,
                _ => panic!("{}: {line}", case.title),
            }
        }
        let found = match fill(&graph, &Wishes::of(&body(&want)), &settings) {
            Err(error) => in_words(&error),
            Ok(filled) => {
                let differences = differences(&graph, &filled.graph);
                for (place, value) in &differences {
                    let told =
                        filled.changes.iter().any(|it| it.place.to_string() == *place && it.value == *value);
                    assert!(told, "{}: {place} is not among the changes", case.title);
                }
                let shown = differences.iter().map(|(place, value)| format!("{place}={value}"));
                shown.collect::<Vec<_>>().join(" ")
            }
        };
        seen += 1;
        if found != wanted {
            wrong.push(format!("{}\n  wanted {wanted}\n  found  {found}", case.title));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 50, "{seen} cases");
}
