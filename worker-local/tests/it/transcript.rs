//! Reads the recordings: what was posted, what was answered, and what the socket said of each job.

use std::path::PathBuf;

use serde_json::{Value, json};

/// A recording, line by line.
pub(crate) struct Transcript {
    pub(crate) lines: Vec<Value>,
}

/// One submission and all that followed from it.
#[derive(Clone)]
pub(crate) struct Recorded {
    /// The graph that was posted.
    pub(crate) graph: Value,
    /// HTTP status and body of the answer.
    pub(crate) answer: (u16, Value),
    /// The id of the job; none when it was refused.
    pub(crate) id: Option<String>,
    /// What happened on the client's socket, in order.
    pub(crate) steps: Vec<Step>,
    /// The job's history entry, once there is one.
    pub(crate) history: Option<Value>,
}

/// What happens on the socket.
#[derive(Clone)]
pub(crate) enum Step {
    Text(String),
    Binary(Vec<u8>),
    Close,
    /// The server process is killed.
    Kill,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/comfyui")
}

/// The names of all recordings.
pub(crate) fn names() -> Vec<String> {
    let files = std::fs::read_dir(folder()).expect("the recordings");
    let names = files.map(|file| file.expect("a file").file_name().into_string().expect("UTF-8"));
    let mut names: Vec<_> = names.filter_map(|name| Some(name.strip_suffix(".jsonl")?.to_owned())).collect();
    names.sort();
    names
}

impl Transcript {
    pub(crate) fn load(name: &str) -> Self {
        let path = folder().join(format!("{name}.jsonl"));
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { lines: text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect() }
    }

    /// Exchanges of a method on paths that begin so.
    pub(crate) fn exchanges(&self, method: &str, path: &str) -> Vec<&Value> {
        let is_it = |line: &&Value| {
            line["kind"] == "http"
                && line["method"] == method
                && line["path"].as_str().is_some_and(|text| text.starts_with(path))
        };
        self.lines.iter().filter(is_it).collect()
    }

    /// The submissions, in order. Those that no server answered are left out.
    pub(crate) fn submissions(&self) -> Vec<Recorded> {
        let is_post = |line: &Value| {
            line["kind"] == "http"
                && line["method"] == "POST"
                && line["path"] == "/prompt"
                && !line["status"].is_null()
        };
        let posts = self.lines.iter().enumerate().filter(|(_, line)| is_post(line));
        posts.map(|(at, line)| self.submission(at, line)).collect()
    }

    fn submission(&self, at: usize, line: &Value) -> Recorded {
        let id = line["response_body"]["json"]["prompt_id"].as_str().map(str::to_owned);
        let status = u16::try_from(line["status"].as_u64().expect("a status")).expect("a status");
        let history =
            id.as_deref().and_then(|id| self.history(at, id).or_else(|| self.implied_history(at, id)));
        let mut steps = id.as_deref().map(|id| self.steps(at, id)).unwrap_or_default();
        if history.is_none() {
            // It never ended: the recorder's own goodbye at the end does not belong to it.
            steps.retain(|step| !matches!(step, Step::Close));
        }
        Recorded {
            graph: line["request_body"]["json"]["prompt"].clone(),
            answer: (status, line["response_body"]["json"].clone()),
            steps,
            history,
            id,
        }
    }

    /// Everything on the socket from the submission to the job's end, other jobs' messages included.
    fn steps(&self, at: usize, id: &str) -> Vec<Step> {
        let mut steps = Vec::new();
        for line in &self.lines[at..] {
            match line["kind"].as_str() {
                Some("ws") if line["dir"] == "recv" && !line["json"].is_null() => {
                    let (kind, data) = (&line["json"]["type"], &line["json"]["data"]);
                    steps.push(Step::Text(line["json"].to_string()));
                    if kind == "executing" && data["node"].is_null() && data["prompt_id"] == id {
                        break;
                    }
                }
                Some("ws") if line["dir"] == "recv" => steps.push(Step::Binary(binary(&line["binary"]))),
                Some("ws_close") => steps.push(Step::Close),
                Some("note") if line["text"].as_str().is_some_and(|text| text.contains("SIGKILL")) => {
                    steps.push(Step::Kill);
                    break;
                }
                _ => {}
            }
        }
        steps
    }

    fn history(&self, at: usize, id: &str) -> Option<Value> {
        let path = format!("/history/{id}");
        let answers = self.lines[at..].iter().filter(|line| line["path"] == path.as_str());
        answers.filter_map(|line| line["response_body"]["json"].get(id)).next().cloned()
    }
}

impl Transcript {
    /// The history entry of a job that nobody asked for, made of what the socket said of it.
    fn implied_history(&self, at: usize, id: &str) -> Option<Value> {
        let messages = self.lines[at..].iter().filter(|line| line["dir"] == "recv").map(|line| &line["json"]);
        let ours: Vec<_> = messages.filter(|message| message["data"]["prompt_id"] == id).collect();
        if !ours.iter().any(|message| message["type"] == "executing" && message["data"]["node"].is_null()) {
            return None;
        }
        let outputs = ours.iter().filter(|message| message["type"] == "executed");
        let outputs: serde_json::Map<String, Value> = outputs
            .filter_map(|message| {
                Some((message["data"]["node"].as_str()?.to_owned(), message["data"]["output"].clone()))
            })
            .collect();
        let told =
            ours.iter().filter(|one| one["type"].as_str().is_some_and(|kind| kind.starts_with("execution_")));
        let told: Vec<Value> = told.map(|one| json!([one["type"], one["data"]])).collect();
        let success = told.last()?[0] == "execution_success";
        let status = json!({
            "status_str": if success { "success" } else { "error" },
            "completed": success,
            "messages": told,
        });
        Some(json!({"outputs": outputs, "status": status, "meta": {}}))
    }
}

/// The frame's recorded beginning, filled up to its length.
fn binary(recorded: &Value) -> Vec<u8> {
    let hex = recorded["first8_hex"].as_str().expect("the first bytes");
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    let mut bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
    let length = recorded["length"].as_u64().expect("a length");
    bytes.resize(usize::try_from(length).expect("a length"), 0);
    bytes
}
