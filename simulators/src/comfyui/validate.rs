//! Judges a submitted graph as ComfyUI does: the same error types, texts and shapes.
//!
//! Validation walks up from each output node; a node with errors lists the outputs that depend on it, and outputs
//! that are fine still run. Literal values are converted in place, as the server does.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::catalog::{Catalog, Input, Kind, Node};
use super::text::{python_list, python_repr};

/// A graph in API format: node id to node.
pub(crate) type Graph = Map<String, Value>;

/// Lists longer than this are not repeated in errors.
const LIST_SHOWN: usize = 20;

pub(crate) struct Accepted {
    pub(crate) graph: Graph,
    pub(crate) outputs: Vec<String>,
    pub(crate) node_errors: Map<String, Value>,
}

pub(crate) struct Refused {
    pub(crate) error: Value,
    pub(crate) node_errors: Map<String, Value>,
}

/// What validation needs to know beside the graph.
pub(crate) struct Context<'a> {
    pub(crate) catalog: &'a Catalog,
    /// Is this a file of the input folder?
    pub(crate) input_exists: &'a dyn Fn(&str) -> bool,
    /// Newer servers name a missing node class differently.
    pub(crate) new_mode: bool,
    /// `partial_execution_targets`.
    pub(crate) targets: Option<&'a [String]>,
}

pub(crate) fn validate(mut graph: Graph, context: &Context<'_>) -> Result<Accepted, Refused> {
    let outputs = find_outputs(&graph, context)?;
    if outputs.is_empty() {
        return Err(refused("prompt_no_outputs", "Prompt has no outputs", "", &json!({})));
    }
    let mut judge = Judge { context, graph: &mut graph, verdicts: BTreeMap::new(), path: Vec::new() };
    let mut good = Vec::new();
    let mut own_errors = Vec::new();
    let mut node_errors = Map::new();
    for output in &outputs {
        if let Err(raised) = judge.node(output) {
            let error = raised.into_error("exception_during_validation", "Exception when validating node");
            judge.verdicts.insert(output.clone(), (false, vec![error]));
        }
        let Some((valid, errors)) = judge.verdicts.get(output) else { continue };
        if *valid {
            good.push(output.clone());
            continue;
        }
        own_errors.extend(errors.iter().map(|error| {
            format!(
                "{}: {}",
                error["message"].as_str().unwrap_or(""),
                error["details"].as_str().unwrap_or("")
            )
        }));
        judge.blame(output, &mut node_errors);
    }
    if good.is_empty() {
        let mut refusal = refused(
            "prompt_outputs_failed_validation",
            "Prompt outputs failed validation",
            &own_errors.join("\n"),
            &json!({}),
        );
        refusal.node_errors = node_errors;
        return Err(refusal);
    }
    Ok(Accepted { graph, outputs: good, node_errors })
}

pub(crate) fn refused(kind: &str, message: &str, details: &str, extra_info: &Value) -> Refused {
    let error = json!({"type": kind, "message": message, "details": details, "extra_info": extra_info});
    Refused { error, node_errors: Map::new() }
}

fn find_outputs(graph: &Graph, context: &Context<'_>) -> Result<Vec<String>, Refused> {
    let mut outputs = Vec::new();
    for (id, node) in graph {
        let details = format!("Node ID '#{id}'");
        let Some(class) = node.get("class_type").and_then(Value::as_str) else {
            let message = "Cannot execute because a node is missing the class_type property.";
            return Err(refused("invalid_prompt", message, &details, &json!({})));
        };
        let Some(known) = context.catalog.node(class) else {
            if context.new_mode {
                let title = node["_meta"]["title"].as_str().unwrap_or(class);
                let message = format!("Node '{title}' not found. The custom node may not be installed.");
                let extra = json!({"node_id": id, "class_type": class, "node_title": title});
                return Err(refused("missing_node_type", &message, &details, &extra));
            }
            let message = format!("Cannot execute because node {class} does not exist.");
            return Err(refused("invalid_prompt", &message, &details, &json!({})));
        };
        if known.output_node && context.targets.is_none_or(|targets| targets.contains(id)) {
            outputs.push(id.clone());
        }
    }
    Ok(outputs)
}

/// What the server's own code would have raised.
enum Raised {
    /// `KeyError` or `IndexError` with its text.
    Exception(&'static str, String),
    /// A cycle: the server refuses without blaming anyone.
    Cycle,
}

impl Raised {
    fn into_error(self, kind: &str, message: &str) -> Value {
        let (name, text) = match self {
            Self::Exception(name, text) => (name, text),
            Self::Cycle => ("RecursionError", "maximum recursion depth exceeded".to_owned()),
        };
        error(kind, message, &text, &json!({"exception_type": name, "traceback": ["<simulated>"]}))
    }
}

fn error(kind: &str, message: &str, details: &str, extra_info: &Value) -> Value {
    json!({"type": kind, "message": message, "details": details, "extra_info": extra_info})
}

struct Judge<'a> {
    context: &'a Context<'a>,
    graph: &'a mut Graph,
    verdicts: BTreeMap<String, (bool, Vec<Value>)>,
    path: Vec<String>,
}

impl Judge<'_> {
    /// Judges a node and all it depends on; the verdict is remembered.
    fn node(&mut self, id: &str) -> Result<bool, Raised> {
        if let Some((valid, _)) = self.verdicts.get(id) {
            return Ok(*valid);
        }
        if self.path.iter().any(|seen| seen == id) {
            return Err(Raised::Cycle);
        }
        let class = self.graph[id]["class_type"].as_str().unwrap_or_default();
        let Some(known) = self.context.catalog.node(class).cloned() else { return Ok(false) };
        if !self.graph[id].get("inputs").is_some_and(Value::is_object) {
            return Err(Raised::Exception("KeyError", "'inputs'".to_owned()));
        }
        self.path.push(id.to_owned());
        let judged = self.inputs(id, &known);
        self.path.pop();
        let (valid, errors) = judged?;
        self.verdicts.insert(id.to_owned(), (valid, errors));
        Ok(valid)
    }

    fn inputs(&mut self, id: &str, known: &Node) -> Result<(bool, Vec<Value>), Raised> {
        let mut valid = true;
        let mut errors = Vec::new();
        for input in &known.inputs {
            let Some(value) = self.graph[id]["inputs"].get(&input.name).cloned() else {
                if input.required {
                    let extra = json!({"input_name": input.name});
                    errors.push(error(
                        "required_input_missing",
                        "Required input is missing",
                        &input.name,
                        &extra,
                    ));
                }
                continue;
            };
            // How a list is passed that is no link, and anything else too.
            let value = match value {
                Value::Object(mut map) if map.contains_key("__value__") => {
                    let inner = map.remove("__value__").unwrap_or_default();
                    if inner.is_array() {
                        self.graph[id]["inputs"][&input.name] = inner;
                        continue;
                    }
                    inner
                }
                other => other,
            };
            match value {
                Value::Array(link) => match self.link(input, &link)? {
                    Ok(upstream) => valid &= upstream,
                    Err(one) => errors.push(one),
                },
                literal => match self.literal(input, &literal) {
                    Ok(converted) => self.graph[id]["inputs"][&input.name] = converted,
                    Err(one) => errors.push(one),
                },
            }
        }
        Ok((valid && errors.is_empty(), errors))
    }

    /// The inner result is an error of this node, the outer one an exception while looking at it.
    fn link(&mut self, input: &Input, link: &[Value]) -> Result<Result<bool, Value>, Raised> {
        let config = input.kind.config();
        let [from, slot] = link else {
            let extra = json!({"input_name": input.name, "input_config": config, "received_value": link});
            let message = "Bad linked input, must be a length-2 list of [node_id, slot_index]";
            return Ok(Err(error("bad_linked_input", message, &input.name, &extra)));
        };
        let from = from.as_str().map_or_else(|| from.to_string(), str::to_owned);
        let Some(source) = self.graph.get(&from) else {
            return Err(Raised::Exception("KeyError", format!("'{from}'")));
        };
        let outputs = source["class_type"].as_str().and_then(|class| self.context.catalog.node(class));
        let received = slot.as_u64().and_then(|slot| outputs?.outputs.get(slot as usize));
        let Some(received) = received.cloned() else {
            return Err(Raised::Exception("IndexError", "tuple index out of range".to_owned()));
        };
        let wanted = input.kind.type_name();
        if wanted != "*" && received != "*" && received != wanted {
            let details = format!("{}, received_type({received}) mismatch input_type({wanted})", input.name);
            let extra = json!({"input_name": input.name, "input_config": config, "received_type": received, "linked_node": link});
            let message = "Return type mismatch between linked nodes";
            return Ok(Err(error("return_type_mismatch", message, &details, &extra)));
        }
        match self.node(&from) {
            Ok(valid) => Ok(Ok(valid)),
            Err(Raised::Cycle) => {
                // The server swallows it: everything is refused, nobody is blamed.
                self.verdicts.insert(from, (false, Vec::new()));
                Ok(Ok(false))
            }
            Err(Raised::Exception(name, text)) => {
                let extra = json!({"input_name": input.name, "input_config": config, "exception_message": text,
                    "exception_type": name, "traceback": ["<simulated>"], "linked_node": link});
                let message = "Exception when validating inner node";
                let blame = error("exception_during_inner_validation", message, &text, &extra);
                self.verdicts.insert(from, (false, vec![blame]));
                Ok(Ok(false))
            }
        }
    }

    fn literal(&self, input: &Input, value: &Value) -> Result<Value, Value> {
        match &input.kind {
            Kind::Int { min, max, .. } => {
                let number = to_int(value).map_err(|why| unconvertible(input, "INT", value, &why))?;
                bounds(input, &number, *min as f64, *max as f64, number.as_f64().unwrap_or(0.0))?;
                Ok(number)
            }
            Kind::Float { min, max, .. } => {
                let number = to_float(value).map_err(|why| unconvertible(input, "FLOAT", value, &why))?;
                bounds(input, &json!(number), *min, *max, number)?;
                Ok(json!(number))
            }
            Kind::Text { .. } => Ok(value.as_str().map_or_else(|| json!(value.to_string()), Value::from)),
            Kind::Choice(options) => {
                if value.as_str().is_some_and(|text| options.iter().any(|option| option == text)) {
                    return Ok(value.clone());
                }
                let short = options.len() <= LIST_SHOWN;
                let list =
                    if short { python_list(options) } else { format!("(list of length {})", options.len()) };
                let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let details = format!("{}: '{shown}' not in {list}", input.name);
                let config = if short { input.kind.config() } else { Value::Null };
                let extra =
                    json!({"input_name": input.name, "input_config": config, "received_value": value});
                Err(error("value_not_in_list", "Value not in list", &details, &extra))
            }
            Kind::InputFile => {
                let name = value.as_str().unwrap_or_default();
                if (self.context.input_exists)(name) {
                    return Ok(value.clone());
                }
                let details = format!("{} - Invalid image file: {name}", input.name);
                let message = "Custom validation failed for node";
                Err(error("custom_validation_failed", message, &details, &json!({"input_name": input.name})))
            }
            Kind::Link(_) | Kind::Bool { .. } => Ok(value.clone()),
        }
    }

    /// Adds every invalid node that has errors of its own to the report, with `output` as one that depends on it.
    fn blame(&self, output: &str, node_errors: &mut Map<String, Value>) {
        for (id, (valid, errors)) in &self.verdicts {
            if *valid || errors.is_empty() {
                continue;
            }
            let entry = node_errors.entry(id.clone()).or_insert_with(
                || json!({"errors": errors, "dependent_outputs": [], "class_type": self.graph[id]["class_type"]}),
            );
            if let Some(list) = entry["dependent_outputs"].as_array_mut() {
                list.push(json!(output));
            }
        }
    }
}

fn bounds(input: &Input, shown: &Value, min: f64, max: f64, value: f64) -> Result<(), Value> {
    let config = input.kind.config();
    let extra = || json!({"input_name": input.name, "input_config": config, "received_value": shown});
    if value < min {
        let message = format!("Value {shown} smaller than min of {}", config[1]["min"]);
        return Err(error("value_smaller_than_min", &message, &input.name, &extra()));
    }
    if value > max {
        let message = format!("Value {shown} bigger than max of {}", config[1]["max"]);
        return Err(error("value_bigger_than_max", &message, &input.name, &extra()));
    }
    Ok(())
}

fn unconvertible(input: &Input, kind: &str, value: &Value, why: &str) -> Value {
    let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let extra = json!({"input_name": input.name, "input_config": input.kind.config(), "received_value": value,
        "exception_message": why});
    let message = format!("Failed to convert an input value to a {kind} value");
    error("invalid_input_type", &message, &format!("{}, {shown}, {why}", input.name), &extra)
}

fn to_int(value: &Value) -> Result<Value, String> {
    match value {
        Value::Number(number) if number.is_i64() || number.is_u64() => Ok(value.clone()),
        Value::Number(number) => Ok(json!(number.as_f64().unwrap_or(0.0).trunc() as i64)),
        Value::Bool(flag) => Ok(json!(i64::from(*flag))),
        Value::String(text) => {
            let parsed = text
                .trim()
                .parse::<i64>()
                .map(Value::from)
                .or_else(|_| text.trim().parse::<u64>().map(Value::from));
            parsed.map_err(|_| format!("invalid literal for int() with base 10: {}", python_repr(text)))
        }
        _ => Err("int() argument must be a string, a bytes-like object or a real number".to_owned()),
    }
}

fn to_float(value: &Value) -> Result<f64, String> {
    match value {
        Value::Number(number) => Ok(number.as_f64().unwrap_or(0.0)),
        Value::Bool(flag) => Ok(f64::from(u8::from(*flag))),
        Value::String(text) => text
            .trim()
            .parse()
            .map_err(|_| format!("could not convert string to float: {}", python_repr(text))),
        _ => Err("float() argument must be a string or a real number".to_owned()),
    }
}
