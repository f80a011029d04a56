//! Reports that providers send about work they did for us (webhooks): `POST /reports/<attempt>?secret=…`, on a
//! listener of their own, or beside the pages where none is configured.
//!
//! A report is a hint only: it tells under which id the provider knows an attempt. What became of the work
//! is then asked of the provider, as ever. It is answered 200 once the id is durable.
//!
//! The address is reachable from outside, so nothing of a body is read before the secret was right and there is room
//! for one more report; strangers' connections are few and short ([`crate::bounded`]).

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use schemas::AttemptId;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::bounded::{BoundedListener, Bounds, Lifetime};
use crate::exit::{Exit, Fault};

/// The largest report: RunPod sends a whole job with its output along.
const REPORT_MAX_BYTES: usize = 32 * 1024 * 1024;
/// Reports read at once; more are asked to come again.
const AT_ONCE: usize = 4;
/// How long a provider may take to send one, after its secret was right.
const BODY_TIME: Duration = Duration::from_secs(20);
/// How long it lives on, so that what the report says is made durable and the answer is sent.
const ANSWER_TIME: Duration = Duration::from_secs(20);
/// What the listener of its own lets in.
const BOUNDS: Bounds = Bounds { connections: 64, unknown: Duration::from_secs(5) };

/// Why a report was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// It names no attempt of ours, or no id.
    Unknown,
    /// The broker did not store it; the provider will try again.
    NotStored,
}

/// Who takes reports.
#[async_trait]
pub trait TakeReport: Send + Sync + 'static {
    /// Whether the sender knows the secret; checked before anything else.
    fn knows(&self, secret: &str) -> bool;

    /// Makes durable what the report says; a repeat changes nothing.
    async fn take(&self, attempt: AttemptId, report: &[u8]) -> Result<(), NotTaken>;
}

/// Where reports go; nowhere until a worker says that it takes them.
#[derive(Clone, Default)]
pub struct Inbox {
    taker: Arc<OnceLock<Arc<dyn TakeReport>>>,
}

impl Inbox {
    /// From now on reports go there; the first one to ask gets them.
    pub fn open(&self, taker: Arc<dyn TakeReport>) {
        let _ = self.taker.set(taker);
    }

    /// The page; it is served with the [`Lifetime`] of each connection.
    pub(crate) fn page(self) -> Router {
        let state = Page { inbox: self, at_once: Arc::new(Semaphore::new(AT_ONCE)) };
        Router::new().route("/reports/{attempt}", post(receive)).with_state(state)
    }
}

/// A bound listener for reports alone.
pub struct Reports {
    listener: TcpListener,
    bounds: Bounds,
}

impl Reports {
    /// Binds the address of the configuration key.
    ///
    /// # Errors
    /// [`Exit::PortOccupied`].
    pub async fn bind(listen: SocketAddr, key: &str) -> Result<Self, Fault> {
        let listener = TcpListener::bind(listen).await.map_err(|error| {
            let message =
                format!("configuration key `{key}`: cannot listen on {listen}: {error}; set a free address");
            Fault::new(Exit::PortOccupied, message)
        })?;
        Ok(Self { listener, bounds: BOUNDS })
    }

    /// Serves until the token fires.
    ///
    /// # Errors
    /// The listener failed.
    pub async fn serve(self, taker: Arc<dyn TakeReport>, stop: CancellationToken) -> std::io::Result<()> {
        let inbox = Inbox::default();
        inbox.open(taker);
        let listener = BoundedListener::new(self.listener, self.bounds);
        let app = inbox.page().into_make_service_with_connect_info::<Lifetime>();
        tokio::select! {
            ended = axum::serve(listener, app) => ended,
            // What is being sent is sent again by the provider.
            () = stop.cancelled() => Ok(()),
        }
    }
}

#[derive(Clone)]
struct Page {
    inbox: Inbox,
    at_once: Arc<Semaphore>,
}

#[derive(Deserialize)]
struct Credentials {
    #[serde(default)]
    secret: String,
}

/// No connection outlives its report.
async fn receive(
    State(page): State<Page>,
    Path(attempt): Path<String>,
    Query(credentials): Query<Credentials>,
    ConnectInfo(lifetime): ConnectInfo<Lifetime>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let status = take(&page, &attempt, &credentials.secret, &lifetime, &headers, body).await;
    (status, [(header::CONNECTION, HeaderValue::from_static("close"))]).into_response()
}

async fn take(
    page: &Page,
    attempt: &str,
    secret: &str,
    lifetime: &Lifetime,
    headers: &HeaderMap,
    body: Body,
) -> StatusCode {
    let Some(taker) = page.inbox.taker.get() else { return StatusCode::NOT_FOUND };
    if !taker.knows(secret) {
        return StatusCode::FORBIDDEN;
    }
    let Ok(attempt) = attempt.parse::<AttemptId>() else { return StatusCode::NOT_FOUND };
    if announced(headers).is_some_and(|bytes| bytes > REPORT_MAX_BYTES as u64) {
        return StatusCode::PAYLOAD_TOO_LARGE;
    }
    let Ok(_permit) = page.at_once.try_acquire() else { return StatusCode::SERVICE_UNAVAILABLE };
    lifetime.extend(BODY_TIME + ANSWER_TIME);
    let report = match tokio::time::timeout(BODY_TIME, axum::body::to_bytes(body, REPORT_MAX_BYTES)).await {
        Err(_) => return StatusCode::REQUEST_TIMEOUT,
        Ok(Err(_)) => return StatusCode::PAYLOAD_TOO_LARGE,
        Ok(Ok(report)) => report,
    };
    match taker.take(attempt, &report).await {
        Ok(()) => StatusCode::OK,
        Err(NotTaken::Unknown) => StatusCode::NOT_FOUND,
        Err(NotTaken::NotStored) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::task::JoinSet;

    use super::*;

    /// Far above what any answer takes, far below the time of a body.
    const SOON: Duration = Duration::from_secs(10);

    #[derive(Default)]
    struct Taker {
        taken: Mutex<Vec<usize>>,
    }

    #[async_trait]
    impl TakeReport for Taker {
        fn knows(&self, secret: &str) -> bool {
            secret == "s3cret"
        }

        async fn take(&self, _attempt: AttemptId, report: &[u8]) -> Result<(), NotTaken> {
            self.taken.lock().unwrap().push(report.len());
            if report == b"odd" { Err(NotTaken::Unknown) } else { Ok(()) }
        }
    }

    struct World {
        address: SocketAddr,
        taker: Arc<Taker>,
        _tasks: JoinSet<()>,
    }

    async fn world(bounds: Bounds) -> World {
        let bound =
            Reports::bind(SocketAddr::from(([127, 0, 0, 1], 0)), "worker.report_listen").await.unwrap();
        let reports = Reports { bounds, ..bound };
        let address = reports.listener.local_addr().unwrap();
        let (taker, mut tasks) = (Arc::new(Taker::default()), JoinSet::new());
        let takes: Arc<dyn TakeReport> = Arc::<Taker>::clone(&taker);
        tasks.spawn(async move { reports.serve(takes, CancellationToken::new()).await.unwrap() });
        World { address, taker, _tasks: tasks }
    }

    impl World {
        /// Sends the head of a report, and nothing of its body.
        async fn head(&self, secret: &str, length: usize) -> TcpStream {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            let attempt = schemas::samples::attempt_record().id();
            let head = format!(
                "POST /reports/{attempt}?secret={secret} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            stream
        }
    }

    /// The status, once the connection has ended.
    async fn answer(stream: &mut TcpStream) -> Option<u16> {
        let mut text = Vec::new();
        // A connection that is cut with bytes in flight is reset; what came before counts.
        let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut text)).await.expect("it ends soon");
        String::from_utf8_lossy(&text).split(' ').nth(1).map(|status| status.parse().unwrap())
    }

    #[tokio::test]
    async fn a_stranger_is_refused_before_anything_of_its_body_is_read() {
        let world = world(BOUNDS).await;
        for secret in ["", "wrong", "s3cret2"] {
            let mut stream = world.head(secret, REPORT_MAX_BYTES).await;
            assert_eq!(answer(&mut stream).await, Some(403), "{secret}: no byte of the body was sent");
        }
        let mut large = world.head("s3cret", REPORT_MAX_BYTES + 1).await;
        assert_eq!(answer(&mut large).await, Some(413));
        assert!(world.taker.taken.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn no_more_reports_are_read_at_once_than_there_is_room_for() {
        let world = world(BOUNDS).await;
        let mut held = Vec::new();
        for _ in 0..AT_ONCE {
            let mut stream = world.head("s3cret", 1_000).await;
            stream.write_all(b"the beginning").await.unwrap();
            held.push(stream);
        }
        // Until all of them are being read, there is room.
        let refused = async {
            loop {
                let mut one_more = world.head("s3cret", 2).await;
                let _ = one_more.write_all(b"{}").await;
                if answer(&mut one_more).await == Some(503) {
                    return;
                }
            }
        };
        tokio::time::timeout(SOON, refused).await.expect("refused before its body");
        let mut first = held.remove(0);
        first.write_all(&[b' '; 1_000 - 13]).await.unwrap();
        assert_eq!(answer(&mut first).await, Some(200));
        let mut next = world.head("s3cret", 3).await;
        next.write_all(b"odd").await.unwrap();
        assert_eq!(answer(&mut next).await, Some(404), "there is room again");
    }

    #[tokio::test]
    async fn connections_are_few_and_short() {
        let world = world(Bounds { connections: 2, unknown: Duration::from_millis(300) }).await;
        let mut silent = TcpStream::connect(world.address).await.unwrap();
        let mut slow = TcpStream::connect(world.address).await.unwrap();
        slow.write_all(b"POST /reports/x?secret=s3cret HTTP/1.1\r\nHost").await.unwrap();
        // Both places are taken: this one waits until the two are cut, and is served then.
        let mut waiting = world.head("s3cret", 2).await;
        waiting.write_all(b"{}").await.unwrap();
        let ends = async { tokio::join!(answer(&mut silent), answer(&mut slow), answer(&mut waiting)) };
        assert_eq!(ends.await, (None, None, Some(200)));
    }
}
