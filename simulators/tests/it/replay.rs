//! Sends the requests of a transcript to a simulated server and compares what comes back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use simulators::comfyui::{Config, Mode, Server};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{client, eventually};
use crate::tokens::{Ids, Strictness, sequence};

/// Which parts of a transcript are compared.
#[derive(Clone, Copy)]
pub(crate) struct Scope {
    /// How messages are compared.
    pub(crate) strictness: Strictness,
    /// Stops before this line.
    pub(crate) until: Option<u64>,
    /// Lines that are not sent.
    pub(crate) skip: &'static [u64],
    /// Only the keys of bodies are compared.
    pub(crate) shapes: bool,
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/comfyui")
}

fn load(name: &str) -> Vec<Value> {
    let path = folder().join(format!("{name}.jsonl"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).expect("a transcript line is JSON")).collect()
}

/// A websocket: what came in, and a way to send.
struct Socket {
    received: Arc<Mutex<Vec<Value>>>,
    outgoing: mpsc::Sender<Option<String>>,
}

/// Frames one transcript sends on one socket; there are at most three.
const OUTGOING: usize = 8;

struct Replay {
    server: Server,
    http: reqwest::Client,
    scope: Scope,
    /// Ids in the transcript, ids of ours, and how to turn one into the other.
    theirs: Ids,
    ours: Ids,
    swap: Vec<(String, String)>,
    sockets: BTreeMap<String, Socket>,
    tasks: JoinSet<()>,
}

/// Replays one transcript; panics at the first difference.
pub(crate) async fn replay(name: &str, scope: Scope) {
    let lines: Vec<Value> =
        load(name).into_iter().filter(|line| scope.until.is_none_or(|end| seq(line) < end)).collect();
    let config = Config {
        mode: Mode::Recorded,
        acceptance_nodes: true,
        models: BTreeMap::new(),
        time_scale: 0.2,
        image_median_ms: 3_000,
        ..Config::default()
    };
    let mut replay = Replay {
        server: Server::start(config).await.expect("the simulator starts"),
        http: client(),
        scope,
        theirs: Ids::default(),
        ours: Ids::default(),
        swap: Vec::new(),
        sockets: BTreeMap::new(),
        tasks: JoinSet::new(),
    };
    for (at, line) in lines.iter().enumerate() {
        if scope.skip.contains(&seq(line)) {
            continue;
        }
        match line["kind"].as_str() {
            Some("ws_open") => replay.open(line).await,
            Some("ws") if line["dir"] == "send" => replay.send(line, Some(line["json"].to_string())).await,
            Some("ws_close") if line["by"] == "us" => {
                replay.catch_up(&lines[..at]).await;
                replay.send(line, None).await;
                replay.closed(line).await;
            }
            Some("http") => {
                replay.catch_up(&lines[..at]).await;
                replay.request(line).await;
            }
            _ => {}
        }
    }
    replay.compare_messages(&lines).await;
}

fn seq(line: &Value) -> u64 {
    line["seq"].as_u64().expect("lines are numbered")
}

impl Replay {
    async fn open(&mut self, line: &Value) {
        let url = format!("ws://{}{}", self.server.addr(), line["path"].as_str().unwrap());
        let (mut stream, _) = tokio_tungstenite::connect_async(url).await.expect("a websocket");
        let received = Arc::new(Mutex::new(Vec::new()));
        let (outgoing, mut frames) = mpsc::channel::<Option<String>>(OUTGOING);
        let inbox = Arc::clone(&received);
        self.tasks.spawn(async move {
            loop {
                tokio::select! {
                    frame = frames.recv() => match frame {
                        Some(Some(text)) => stream.send(Message::text(text)).await.expect("the socket is open"),
                        Some(None) | None => {
                            drop(stream.close(None).await);
                            // The server hangs up after it has let go of the socket.
                            while let Some(Ok(_)) = stream.next().await {}
                            return;
                        }
                    },
                    message = stream.next() => match message {
                        Some(Ok(Message::Text(text))) => {
                            inbox.lock().unwrap().push(serde_json::from_str(&text).expect("frames are JSON"));
                        }
                        Some(Ok(_)) => {}
                        Some(Err(_)) | None => return,
                    },
                }
            }
        });
        let name = line["conn"].as_str().unwrap().to_owned();
        let greeted = Arc::clone(&received);
        eventually("the greeting", || async { (!greeted.lock().unwrap().is_empty()).then_some(()) }).await;
        self.sockets.insert(name, Socket { received, outgoing });
    }

    async fn send(&self, line: &Value, frame: Option<String>) {
        let socket = &self.sockets[line["conn"].as_str().unwrap()];
        // Closing a socket twice is no difference worth a failure.
        socket.outgoing.send(frame).await.ok();
    }

    /// Waits until the server has let go of a socket: in the transcripts nothing follows at once.
    async fn closed(&self, line: &Value) {
        let socket = &self.sockets[line["conn"].as_str().unwrap()];
        eventually("the end of a closed socket", || async { socket.outgoing.is_closed().then_some(()) })
            .await;
    }

    /// Waits until every socket has seen what it had seen in the transcript at this point.
    async fn catch_up(&self, before: &[Value]) {
        for (name, socket) in &self.sockets {
            let wanted = sequence(&self.expected(before, name), self.scope.strictness).len();
            let what = format!("{wanted} messages on {name}, to go on as the transcript did");
            eventually(&what, || async {
                (sequence(&self.received(socket), self.scope.strictness).len() >= wanted).then_some(())
            })
            .await;
        }
    }

    fn expected(&self, lines: &[Value], conn: &str) -> Vec<String> {
        let received = lines.iter().filter(|line| {
            line["kind"] == "ws" && line["dir"] == "recv" && line["conn"] == conn && line["json"].is_object()
        });
        received.map(|line| self.theirs.message(&line["json"])).collect()
    }

    fn received(&self, socket: &Socket) -> Vec<String> {
        socket.received.lock().unwrap().iter().map(|message| self.ours.message(message)).collect()
    }

    /// The transcript's prompt ids become ours.
    fn translated(&self, text: &str) -> String {
        self.swap.iter().fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
    }

    fn build(&self, line: &Value) -> Option<reqwest::RequestBuilder> {
        let method: reqwest::Method = line["method"].as_str()?.parse().ok()?;
        let url = format!("{}{}", self.server.url(), self.translated(line["path"].as_str()?));
        let mut request = self.http.request(method, url);
        for (name, value) in line["request_headers"].as_object().into_iter().flatten() {
            let value = value.as_str()?;
            // A foreign origin stays foreign, the server's own name follows its port.
            request = request.header(name, value);
        }
        let body = &line["request_body"];
        if !body["json"].is_null() {
            return Some(request.body(self.translated(&body["json"].to_string())));
        }
        if let Some(parts) = body["multipart"].as_array() {
            return Some(request.multipart(form(parts)));
        }
        if body["raw_multipart"].is_object() {
            return None;
        }
        Some(match body["text"].as_str() {
            Some(text) => request.body(text.to_owned()),
            None => request,
        })
    }

    async fn request(&mut self, line: &Value) {
        let at = format!("line {}: {} {}", seq(line), line["method"], line["path"]);
        let expected = &line["response_body"];
        let mut last = String::new();
        // A GET may come a moment before the simulator is where the real server was; a POST happens once.
        let tries = if line["method"] == "GET" { 400 } else { 1 };
        let mut left = tries;
        let difference = eventually(&at, || {
            left -= 1;
            let request = self.build(line).unwrap_or_else(|| panic!("{at}: cannot be sent; skip it"));
            let finish = left == 0;
            let (ours, theirs, scope) = (self.ours.clone(), self.theirs.clone(), self.scope);
            let status = line["status"].clone();
            async move {
                let answer = request.send().await.expect("an answer");
                let got = answer.status().as_u16();
                let text = String::from_utf8_lossy(&answer.bytes().await.expect("a body")).into_owned();
                let body: Value = serde_json::from_str(&text).unwrap_or_default();
                let same = json!(got) == status && matches(&ours, &theirs, scope, expected, &body, &text);
                if same {
                    return Some(Ok(body));
                }
                finish.then(|| Err(format!("status {got} (wanted {status})\n got: {text}\nwant: {expected}")))
            }
        })
        .await;
        match difference {
            Ok(body) => self.learn(line, &body),
            Err(text) => last = text,
        }
        assert!(last.is_empty(), "{at}: {last}");
    }

    /// A new prompt gets a name on both sides.
    fn learn(&mut self, line: &Value, body: &Value) {
        let (Some(theirs), Some(ours)) =
            (line["response_body"]["json"]["prompt_id"].as_str(), body["prompt_id"].as_str())
        else {
            return;
        };
        let name = format!("p{}", self.swap.len());
        self.theirs.0.insert(theirs.to_owned(), name.clone());
        self.ours.0.insert(ours.to_owned(), name);
        self.swap.push((theirs.to_owned(), ours.to_owned()));
    }

    async fn compare_messages(&self, lines: &[Value]) {
        for (name, socket) in &self.sockets {
            let expected = self.expected(lines, name);
            let (wanted, strictness) = (sequence(&expected, self.scope.strictness), self.scope.strictness);
            let last_status = expected.iter().rev().find(|message| message.starts_with("status"));
            // A socket that the transcript closed early may have missed the end.
            let settled = || async {
                let received = self.received(socket);
                let enough = sequence(&received, strictness).len() >= wanted.len();
                let status = received.iter().rev().find(|message| message.starts_with("status"));
                (enough && (status == last_status || socket.outgoing.is_closed())).then_some(received)
            };
            let received = eventually(&format!("the end on {name}: {last_status:?}"), settled).await;
            assert_eq!(sequence(&received, strictness), wanted, "messages on {name}");
            assert!(received[0].ends_with("with sid"), "the first message greets");
        }
    }
}

fn matches(ours: &Ids, theirs: &Ids, scope: Scope, expected: &Value, body: &Value, text: &str) -> bool {
    if expected["json"].is_null() {
        // Binary bodies differ by nature; texts do not.
        return expected["text"].as_str().is_none_or(|expected| expected == text);
    }
    if scope.shapes {
        return shape(&expected["json"]) == shape(body);
    }
    // A new prompt's id is not known before it is learned.
    let strip = |mut value: Value| {
        if value["node_errors"].is_object() && value["prompt_id"].is_string() {
            value["prompt_id"] = json!("*");
        }
        value
    };
    strip(theirs.canonical(&expected["json"])) == strip(ours.canonical(body))
}

/// Keys and kinds without values.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), shape(value))).collect(),
        Value::Array(list) => json!(list.first().map(shape)),
        Value::String(_) => json!("text"),
        // The transcripts' server had no GPU, so no index.
        Value::Number(_) | Value::Null => json!("number"),
        Value::Bool(_) => json!("bool"),
    }
}

/// Parts of an upload; contents are known by their hash only, which serves as content.
fn form(parts: &[Value]) -> reqwest::multipart::Form {
    parts.iter().fold(reqwest::multipart::Form::new(), |form, part| {
        let name = part["name"].as_str().expect("parts have names").to_owned();
        let one = match part["filename"].as_str() {
            Some(filename) => {
                let content = part["sha256"].as_str().expect("files have hashes").to_owned();
                reqwest::multipart::Part::text(content).file_name(filename.to_owned())
            }
            None => reqwest::multipart::Part::text(part["value"].as_str().unwrap_or_default().to_owned()),
        };
        form.part(name, one)
    })
}
