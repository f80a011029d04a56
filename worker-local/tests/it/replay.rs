//! A server that answers as a recording says. Ids and the prefix of file names are ours, so they are put
//! in the place of the recorded ones; everything else is byte for byte what the real server said.
//!
//! Requests that the recording does not have (the queue while a job runs) are answered from what the
//! recording implies. File contents are not recorded: files have the recorded length.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Query, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::transcript::{Recorded, Step, Transcript};

/// The replaying server behind a proxy that can be killed like a process.
pub(crate) struct Replay {
    pub(crate) world: Arc<World>,
    pub(crate) addr: SocketAddr,
    proxy: JoinSet<()>,
    inner: SocketAddr,
    _tasks: JoinSet<()>,
}

/// What the handlers share.
pub(crate) struct World {
    state: Mutex<Inner>,
    /// The pump may go on.
    go: watch::Sender<bool>,
    /// A socket was opened.
    opened: Notify,
    /// The process is to be killed.
    pub(crate) kill: Notify,
    transcript: Transcript,
}

#[derive(Default)]
struct Inner {
    answers: VecDeque<Recorded>,
    run: Option<Run>,
    socket: Option<mpsc::Sender<Step>>,
    log: Vec<String>,
    posted: Vec<Value>,
    uploads: VecDeque<Value>,
    no_websocket: bool,
    lose_answer: bool,
    deleted: Vec<String>,
}

/// The job that was submitted last.
struct Run {
    ours: String,
    client_id: String,
    recorded: Recorded,
    ended: bool,
    gone: bool,
}

impl Replay {
    /// Replays the submissions of a recording from the given one on.
    pub(crate) async fn start(name: &str, first: usize) -> Self {
        let transcript = Transcript::load(name);
        let answers = transcript.submissions().split_off(first).into();
        let world = Arc::new(World {
            state: Mutex::new(Inner { answers, ..Inner::default() }),
            go: watch::Sender::new(true),
            opened: Notify::new(),
            kill: Notify::new(),
            transcript,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let inner = listener.local_addr().expect("an address");
        let mut tasks = JoinSet::new();
        let app = router(Arc::clone(&world));
        tasks.spawn(async move { axum::serve(listener, app).await.expect("serving") });
        let mut replay = Self { world, addr: inner, proxy: JoinSet::new(), inner, _tasks: tasks };
        let front = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        replay.addr = front.local_addr().expect("an address");
        replay.proxy.spawn(forward(front, inner));
        replay
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Ends every connection and refuses new ones.
    pub(crate) async fn kill(&mut self) {
        self.proxy.shutdown().await;
        let mut state = self.world.lock();
        (state.run, state.socket) = (None, None);
    }

    /// Comes back on the same address, having forgotten everything.
    pub(crate) async fn restart(&mut self) {
        let front = TcpListener::bind(self.addr).await.expect("the same port");
        self.proxy.spawn(forward(front, self.inner));
    }
}

async fn forward(front: TcpListener, inner: SocketAddr) {
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = front.accept().await {
        connections.spawn(async move {
            let mut server = TcpStream::connect(inner).await?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await
        });
    }
}

impl World {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().expect("no panic while locked")
    }

    /// Jobs stay where they are until told to go on.
    pub(crate) fn hold(&self, hold: bool) {
        self.go.send_replace(!hold);
    }

    pub(crate) fn without_websocket(&self) {
        self.lock().no_websocket = true;
    }

    /// The next submission is taken, and its answer lost.
    pub(crate) fn lose_answer(&self) {
        self.lock().lose_answer = true;
    }

    /// Uploads are answered as recorded from the given one on.
    pub(crate) fn uploads_from(&self, first: usize) {
        let all = self.transcript.exchanges("POST", "/upload/image").into_iter().cloned();
        self.lock().uploads = all.skip(first).collect();
    }

    /// The graphs that were submitted.
    pub(crate) fn posted(&self) -> Vec<Value> {
        self.lock().posted.clone()
    }

    /// `METHOD /path` of every request so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.lock().log.clone()
    }

    /// The length that a file has according to the recording.
    pub(crate) fn length_of(&self, filename: &str) -> Option<usize> {
        let views = self.transcript.exchanges("GET", "/view");
        let view = views.into_iter().find(|line| {
            line["path"].as_str().is_some_and(|path| path.contains(&format!("filename={filename}&")))
        })?;
        usize::try_from(view["response_body"]["length"].as_u64()?).ok()
    }

    /// Plays the run's messages to the socket, as long as there is one.
    async fn pump(self: Arc<Self>, steps: Vec<Step>, recorded: String, ours: String) {
        let mut go = self.go.subscribe();
        let mut broken = false;
        for step in steps {
            go.wait_for(|go| *go).await.expect("the world lives");
            match step {
                Step::Kill => return self.kill.notify_one(),
                Step::Close => {
                    self.send(Step::Close).await;
                    self.lock().socket = None;
                    broken = true;
                    continue;
                }
                Step::Text(_) | Step::Binary(_) => {}
            }
            if broken && !self.lock().no_websocket {
                // What is recorded after a break was received after a reconnect.
                self.connected().await;
                broken = false;
            }
            let text =
                if let Step::Text(text) = &step { substitute(text, &recorded, &ours) } else { String::new() };
            if text.contains(r#""node":null"#) && text.contains(&ours) {
                self.end(&ours);
            }
            let step = if text.is_empty() { step } else { Step::Text(text) };
            self.send(step).await;
        }
        go.wait_for(|go| *go).await.expect("the world lives");
        self.end(&ours);
    }

    async fn connected(&self) {
        loop {
            let opened = self.opened.notified();
            if self.lock().socket.is_some() {
                return;
            }
            opened.await;
        }
    }

    /// Nobody listening is no reason to wait.
    async fn send(&self, step: Step) {
        let socket = self.lock().socket.clone();
        if let Some(socket) = socket {
            let _ = socket.send(step).await;
        }
    }

    fn end(&self, ours: &str) {
        if let Some(run) = self.lock().run.as_mut().filter(|run| run.ours == ours) {
            run.ended = true;
            run.gone = run.recorded.history.is_none();
        }
    }
}

/// Puts our id in the place of the recorded one.
fn substitute(text: &str, theirs: &str, ours: &str) -> String {
    text.replace(&format!("\"{theirs}\""), &format!("\"{ours}\""))
}

type Shared = State<Arc<World>>;

fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/ws", any(socket))
        .route("/prompt", post(prompt))
        .route("/queue", get(queue).post(delete))
        .route("/interrupt", post(interrupt))
        .route("/history/{id}", get(history))
        .route("/history", post(forget))
        .route("/view", get(view))
        .route("/upload/image", post(upload))
        .route("/free", post(|| async { StatusCode::OK }))
        .route("/object_info", get(object_info))
        .fallback(recorded)
        .layer(axum::middleware::from_fn_with_state(
            Arc::clone(&world),
            |State(world): Shared, request: axum::extract::Request, next: axum::middleware::Next| {
                world.lock().log.push(format!("{} {}", request.method(), request.uri().path()));
                assert!(request.headers().get("origin").is_none(), "no Origin header may be sent");
                next.run(request)
            },
        ))
        .with_state(world)
}

async fn socket(State(world): Shared, upgrade: WebSocketUpgrade) -> Response {
    if world.lock().no_websocket {
        return StatusCode::NOT_FOUND.into_response();
    }
    upgrade.on_upgrade(move |socket| listen(world, socket))
}

async fn listen(world: Arc<World>, mut socket: WebSocket) {
    let (sender, mut steps) = mpsc::channel(64);
    world.lock().socket = Some(sender);
    world.opened.notify_waiters();
    loop {
        let sent = tokio::select! {
            step = steps.recv() => match step {
                Some(Step::Text(text)) => socket.send(Message::Text(text.into())).await,
                Some(Step::Binary(bytes)) => socket.send(Message::Binary(bytes.into())).await,
                Some(Step::Close | Step::Kill) | None => return,
            },
            heard = socket.recv() => if matches!(heard, Some(Ok(_))) { Ok(()) } else { return },
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn prompt(State(world): Shared, Json(body): Json<Value>) -> Response {
    let ours = body["prompt_id"].as_str().expect("an id of our own").to_owned();
    assert!(uuid::Uuid::parse_str(&ours).is_ok_and(|id| id.as_hyphenated().to_string() == ours), "{ours}");
    let client_id = body["client_id"].as_str().expect("a client id").to_owned();
    let mut state = world.lock();
    state.posted.push(body["prompt"].clone());
    let Some(recorded) = state.answers.pop_front() else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "500 Internal Server Error").into_response();
    };
    let status = StatusCode::from_u16(recorded.answer.0).expect("a status");
    let Some(theirs) = recorded.id.clone() else {
        return (status, Json(recorded.answer.1)).into_response();
    };
    let answer = substitute(&recorded.answer.1.to_string(), &theirs, &ours);
    let steps = recorded.steps.clone();
    state.run = Some(Run { ours: ours.clone(), client_id, recorded, ended: false, gone: false });
    let lost = std::mem::take(&mut state.lose_answer);
    drop(state);
    // Ends with the steps or, held for ever, with the runtime of the test.
    #[expect(
        clippy::disallowed_methods,
        reason = "it belongs to the test's runtime, which ends with the test"
    )]
    tokio::spawn(Arc::clone(&world).pump(steps, theirs, ours));
    if lost {
        return (StatusCode::INTERNAL_SERVER_ERROR, "500 Internal Server Error").into_response();
    }
    (status, [("content-type", "application/json")], answer).into_response()
}

async fn queue(State(world): Shared) -> Json<Value> {
    let state = world.lock();
    let live = state.run.as_ref().filter(|run| !run.ended && !run.gone);
    let items: Vec<Value> = live
        .map(|run| json!([1, run.ours, run.recorded.graph, {"client_id": run.client_id}, []]))
        .into_iter()
        .collect();
    Json(json!({"queue_running": items, "queue_pending": []}))
}

async fn history(State(world): Shared, Path(id): Path<String>) -> Json<Value> {
    let state = world.lock();
    let run = state.run.as_ref().filter(|run| run.ours == id && run.ended && !state.deleted.contains(&id));
    let entry = run.and_then(|run| {
        let theirs = run.recorded.id.as_deref()?;
        let text = substitute(&run.recorded.history.as_ref()?.to_string(), theirs, &id);
        serde_json::from_str::<Value>(&text).ok()
    });
    Json(entry.map_or_else(|| json!({}), |entry| json!({ id: entry })))
}

async fn forget(State(world): Shared, Json(body): Json<Value>) -> StatusCode {
    let ids = body["delete"].as_array().expect("ids");
    world.lock().deleted.extend(ids.iter().filter_map(Value::as_str).map(str::to_owned));
    StatusCode::OK
}

/// A running job cannot be deleted.
async fn delete() -> StatusCode {
    StatusCode::OK
}

async fn interrupt(State(world): Shared, Json(body): Json<Value>) -> StatusCode {
    let mut state = world.lock();
    if let Some(run) = state.run.as_mut().filter(|run| body["prompt_id"] == run.ours.as_str()) {
        run.gone = true;
    }
    StatusCode::OK
}

async fn view(State(world): Shared, Query(query): Query<HashMap<String, String>>) -> Response {
    let named = |state: &Inner| {
        let run = state.run.as_ref()?;
        let item =
            json!({"filename": query["filename"], "subfolder": query["subfolder"], "type": query["type"]});
        let outputs = run.recorded.history.as_ref()?["outputs"].as_object()?.clone();
        let items = outputs.values().filter_map(Value::as_object).flat_map(|keys| keys.values()).cloned();
        items.filter_map(|list| list.as_array().cloned()).flatten().any(|listed| listed == item).then_some(())
    };
    if named(&world.lock()).is_none() {
        return StatusCode::NOT_FOUND.into_response();
    }
    Bytes::from(vec![b'x'; world.length_of(&query["filename"]).unwrap_or(10)]).into_response()
}

async fn upload(State(world): Shared, body: Bytes) -> Response {
    assert!(!body.is_empty());
    let mut line = world.lock().uploads.pop_front().expect("another recorded upload");
    // The server answers with the folder it was asked for; the recording was asked for another.
    if line["response_body"]["json"]["type"] == "input" {
        let text = String::from_utf8_lossy(&body).into_owned();
        let folder = text.split_once("name=\"subfolder\"\r\n\r\n").expect("a folder").1;
        line["response_body"]["json"]["subfolder"] = folder.lines().next().unwrap_or_default().into();
    }
    replay_line(&line)
}

/// All the classes that the recording describes.
async fn object_info(State(world): Shared) -> Json<Value> {
    let mut all = serde_json::Map::new();
    for line in world.transcript.exchanges("GET", "/object_info/") {
        all.extend(line["response_body"]["json"].as_object().expect("an object").clone());
    }
    Json(Value::Object(all))
}

/// Any other request: the recorded answer, or what the server says to unknown routes.
async fn recorded(State(world): Shared, method: Method, uri: Uri) -> Response {
    let stats = Transcript::load("system_stats");
    let mut lines = world.transcript.exchanges(method.as_str(), uri.path());
    lines.extend(stats.exchanges(method.as_str(), uri.path()));
    lines
        .first()
        .map_or_else(|| (StatusCode::NOT_FOUND, "404: Not Found").into_response(), |line| replay_line(line))
}

fn replay_line(line: &Value) -> Response {
    let status = line["status"].as_u64().and_then(|status| u16::try_from(status).ok()).expect("a status");
    let status = StatusCode::from_u16(status).expect("a status");
    match &line["response_body"]["json"] {
        Value::Null => {
            (status, line["response_body"]["text"].as_str().unwrap_or_default().to_owned()).into_response()
        }
        body => (status, Json(body.clone())).into_response(),
    }
}
