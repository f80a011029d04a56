//! The server's answers and messages, read leniently: versions differ, custom nodes add what they like,
//! and an unexpected shape must never cost a job. Unknown fields are ignored, odd ones become defaults.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Reads a value if it has the expected shape, else its default.
fn lenient<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// Reads a list, leaving out what does not have the expected shape: one odd element must not hide the others.
fn lenient_list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let items: Vec<Value> = lenient(deserializer)?;
    Ok(items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect())
}

/// Reads a map likewise; a value of an odd shape becomes its default, because its key says something already.
fn lenient_map<'de, D, T>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    let items: BTreeMap<String, Value> = lenient(deserializer)?;
    Ok(items.into_iter().map(|(key, item)| (key, serde_json::from_value(item).unwrap_or_default())).collect())
}

/// Errors by node id. Older paths send an empty list instead of an empty map.
pub type NodeErrors = BTreeMap<String, NodeError>;

/// The answer to `POST /prompt`, both kinds in one: a 200 can carry node errors too.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct PromptAnswer {
    /// The id under which the job is queued.
    #[serde(default, deserialize_with = "lenient")]
    pub prompt_id: Option<String>,
    /// Why nothing was queued.
    #[serde(default, deserialize_with = "lenient")]
    pub error: Option<ErrorWords>,
    /// What is wrong with which node.
    #[serde(default, deserialize_with = "lenient_map")]
    pub node_errors: NodeErrors,
}

/// What is wrong with one node.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct NodeError {
    /// One entry for each fault.
    #[serde(default, deserialize_with = "lenient_list")]
    pub errors: Vec<ErrorWords>,
    /// The node's class.
    #[serde(default, deserialize_with = "lenient")]
    pub class_type: String,
}

/// One fault in the server's words.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct ErrorWords {
    /// A stable word, for example `value_not_in_list`.
    #[serde(default, rename = "type", deserialize_with = "lenient")]
    pub kind: String,
    /// For people.
    #[serde(default, deserialize_with = "lenient")]
    pub message: String,
    /// For people, with values.
    #[serde(default, deserialize_with = "lenient")]
    pub details: String,
    /// For programs.
    #[serde(default, deserialize_with = "lenient")]
    pub extra_info: ExtraInfo,
}

/// The parts of `extra_info` that are used.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct ExtraInfo {
    /// The faulty input.
    #[serde(default, deserialize_with = "lenient")]
    pub input_name: Option<String>,
    /// What it was set to.
    #[serde(default, deserialize_with = "lenient")]
    pub received_value: Value,
    /// What it may be: `[options, settings]`.
    #[serde(default, deserialize_with = "lenient")]
    pub input_config: Value,
    /// The node class that does not exist.
    #[serde(default, deserialize_with = "lenient")]
    pub class_type: Option<String>,
    /// The node that the fault is in.
    #[serde(default, deserialize_with = "lenient")]
    pub node_id: Option<Value>,
}

/// The answer to `GET /queue`; an item is `[number, id, graph, extra_data, outputs]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Queue {
    /// At most one.
    #[serde(default, deserialize_with = "lenient")]
    pub queue_running: Vec<Value>,
    /// In no order that may be relied on.
    #[serde(default, deserialize_with = "lenient")]
    pub queue_pending: Vec<Value>,
}

/// The id of a queue item.
#[must_use]
pub fn item_id(item: &Value) -> Option<&str> {
    item.get(1)?.as_str()
}

/// The client id that a queue item was submitted with.
#[must_use]
pub fn item_client(item: &Value) -> Option<&str> {
    item.get(3)?.get("client_id")?.as_str()
}

/// The answer to `GET /history/{id}`: jobs that ended, by id.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct History(#[serde(deserialize_with = "lenient_map")] pub BTreeMap<String, HistoryEntry>);

/// A job that ended.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct HistoryEntry {
    /// By node, then by key; see [`super::outputs`].
    #[serde(default, deserialize_with = "lenient")]
    pub outputs: BTreeMap<String, Value>,
    /// How it ended; null in rare paths.
    #[serde(default, deserialize_with = "lenient")]
    pub status: Option<HistoryStatus>,
}

/// How a job ended.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct HistoryStatus {
    /// `success` or `error`; an interrupt is an `error` too.
    #[serde(default, deserialize_with = "lenient")]
    pub status_str: String,
    /// `[type, data]` of the websocket messages of the run.
    #[serde(default, deserialize_with = "lenient_list")]
    pub messages: Vec<(String, Value)>,
}

/// How a job ended, as far as its history tells.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// Its outputs are there.
    Success,
    /// Somebody interrupted it.
    Interrupted,
    /// A node raised.
    Error(Box<ExecutionError>),
    /// The history does not say.
    Unclear,
}

impl HistoryEntry {
    /// How the job ended. The messages tell; `status_str` alone cannot tell an interrupt from an error.
    #[must_use]
    pub fn end(&self) -> End {
        let Some(status) = &self.status else { return End::Unclear };
        // A blocked node leaves an error message in a run that succeeded.
        if status.status_str == "success" {
            return End::Success;
        }
        for (kind, data) in status.messages.iter().rev() {
            match kind.as_str() {
                "execution_success" => return End::Success,
                "execution_interrupted" => return End::Interrupted,
                "execution_error" => {
                    return End::Error(Box::new(serde_json::from_value(data.clone()).unwrap_or_default()));
                }
                _ => {}
            }
        }
        End::Unclear
    }
}

/// What a node raised.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct ExecutionError {
    /// Of which job.
    #[serde(default, deserialize_with = "lenient")]
    pub prompt_id: String,
    /// The node.
    #[serde(default, deserialize_with = "lenient")]
    pub node_id: Value,
    /// Its class.
    #[serde(default, deserialize_with = "lenient")]
    pub node_type: String,
    /// The Python exception's text.
    #[serde(default, deserialize_with = "lenient")]
    pub exception_message: String,
    /// The Python exception's class.
    #[serde(default, deserialize_with = "lenient")]
    pub exception_type: String,
    /// The node's inputs: each a list of values.
    #[serde(default, deserialize_with = "lenient")]
    pub current_inputs: BTreeMap<String, Value>,
}

/// The answer to `POST /upload/image`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Uploaded {
    /// The name it was stored under, which may not be the one it was sent under.
    pub name: String,
    /// The folder below the server's inputs.
    #[serde(default, deserialize_with = "lenient")]
    pub subfolder: String,
}

impl Uploaded {
    /// What a node's input must say to get the file.
    #[must_use]
    pub fn reference(&self) -> String {
        if self.subfolder.is_empty() {
            self.name.clone()
        } else {
            format!("{}/{}", self.subfolder, self.name)
        }
    }
}

/// The answer to `GET /system_stats`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct SystemStats {
    /// The software.
    #[serde(default, deserialize_with = "lenient")]
    pub system: System,
    /// The devices, the one in use first.
    #[serde(default, deserialize_with = "lenient_list")]
    pub devices: Vec<Device>,
}

/// The server's software.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct System {
    /// For example `0.3.64`.
    #[serde(default, deserialize_with = "lenient")]
    pub comfyui_version: String,
}

/// A device as the server sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Device {
    /// For example `cuda:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync`.
    #[serde(default, deserialize_with = "lenient")]
    pub name: String,
    /// `cuda`, `cpu`, `mps` and others; AMD says `cuda` too.
    #[serde(default, rename = "type", deserialize_with = "lenient")]
    pub kind: String,
    /// The server's number for it.
    #[serde(default, deserialize_with = "lenient")]
    pub index: Option<u32>,
    /// Bytes; the machine's memory for a CPU.
    #[serde(default, deserialize_with = "lenient")]
    pub vram_total: u64,
    /// Bytes.
    #[serde(default, deserialize_with = "lenient")]
    pub vram_free: u64,
}
