//! What comes through the websocket: text frames `{"type", "data"}`; binary frames are previews.

use std::collections::BTreeMap;

use serde_json::Value;
use worker_host::python_json;

use crate::comfy::wire::ExecutionError;

/// A message of the server.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// The queue changed; sent to everybody, and on connect.
    Status {
        /// Pending and running jobs.
        queue_remaining: Option<u64>,
    },
    /// The server began with the job.
    Started {
        /// The job.
        prompt: String,
    },
    /// These nodes need not run.
    Cached {
        /// The job.
        prompt: String,
    },
    /// A node begins; no node: the run is over, history included.
    Executing {
        /// The job; absent in the message that greets a reconnect.
        prompt: Option<String>,
        /// The node.
        node: Option<String>,
    },
    /// A node is so far.
    Progress {
        /// The job.
        prompt: String,
        /// The node, where one is running.
        node: Option<String>,
        /// Steps done.
        value: u32,
        /// Steps in all.
        max: u32,
    },
    /// A node left something to show.
    Executed {
        /// The job.
        prompt: String,
    },
    /// All nodes ran; the history is not yet written.
    Succeeded {
        /// The job.
        prompt: String,
    },
    /// A node raised. Not always the end of the run.
    Failed(Box<ExecutionError>),
    /// Somebody interrupted the job.
    Interrupted {
        /// The job.
        prompt: String,
    },
    /// What the server can do.
    FeatureFlags,
    /// A preview or text in a binary frame.
    Binary,
    /// Of a kind that we do not know.
    Other(String),
}

impl Message {
    /// Reads a text frame.
    ///
    /// # Errors
    /// It is not a JSON object with a `type`.
    pub fn decode(text: &str) -> Result<Self, String> {
        let frame: Value = python_json::from_slice(text.as_bytes()).map_err(|error| error.to_string())?;
        let kind = frame.get("type").and_then(Value::as_str).ok_or("the frame has no type")?;
        let data = frame.get("data").unwrap_or(&Value::Null);
        let prompt = data.get("prompt_id").and_then(Value::as_str).map(str::to_owned);
        let node = data.get("node").and_then(text_of);
        Ok(match (kind, prompt) {
            ("status", _) => Self::Status {
                queue_remaining: data.pointer("/status/exec_info/queue_remaining").and_then(Value::as_u64),
            },
            ("executing", prompt) => Self::Executing { prompt, node },
            ("execution_start", Some(prompt)) => Self::Started { prompt },
            ("execution_cached", Some(prompt)) => Self::Cached { prompt },
            ("progress", Some(prompt)) => {
                Self::Progress { prompt, node, value: count(data.get("value")), max: count(data.get("max")) }
            }
            ("progress_state", Some(prompt)) => progress_state(prompt, data),
            ("executed", Some(prompt)) => Self::Executed { prompt },
            ("execution_success", Some(prompt)) => Self::Succeeded { prompt },
            ("execution_error", Some(_)) => {
                Self::Failed(Box::new(serde_json::from_value(data.clone()).unwrap_or_default()))
            }
            ("execution_interrupted", Some(prompt)) => Self::Interrupted { prompt },
            ("feature_flags", _) => Self::FeatureFlags,
            (kind, _) => Self::Other(kind.to_owned()),
        })
    }

    /// The job that it is about.
    #[must_use]
    pub fn prompt(&self) -> Option<&str> {
        match self {
            Self::Executing { prompt, .. } => prompt.as_deref(),
            Self::Started { prompt }
            | Self::Cached { prompt }
            | Self::Progress { prompt, .. }
            | Self::Executed { prompt }
            | Self::Succeeded { prompt }
            | Self::Interrupted { prompt } => Some(prompt),
            Self::Failed(error) => Some(&error.prompt_id),
            Self::Status { .. } | Self::FeatureFlags | Self::Binary | Self::Other(_) => None,
        }
    }
}

/// The state of all nodes at once: the one that is running counts.
fn progress_state(prompt: String, data: &Value) -> Message {
    let nodes: BTreeMap<String, Value> =
        data.get("nodes").and_then(|nodes| serde_json::from_value(nodes.clone()).ok()).unwrap_or_default();
    let running = nodes.iter().find(|(_, node)| node.get("state").and_then(Value::as_str) == Some("running"));
    Message::Progress {
        prompt,
        node: running.map(|(id, _)| id.clone()),
        value: running.map_or(0, |(_, node)| count(node.get("value"))),
        max: running.map_or(0, |(_, node)| count(node.get("max"))),
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A count that may come as a float.
fn count(value: Option<&Value>) -> u32 {
    value.and_then(Value::as_f64).map_or(0, |number| number.clamp(0.0, f64::from(u32::MAX)) as u32)
}
