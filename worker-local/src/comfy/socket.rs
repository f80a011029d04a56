//! The websocket of one attempt: connects, reconnects, decodes. It only ever adds progress; whoever
//! listens must be right without it.
//!
//! Each attempt has a client id of its own. A shared socket was rejected: the server keeps one socket
//! per id, a second one silences the first, and closing the older one makes the newer one deaf.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use reqwest::header::HeaderMap;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite};

use crate::comfy::message::Message;

type Stream = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

/// Messages that wait for the listener; more make the reader wait, and then the server.
const MESSAGES_MAX: usize = 256;
/// Limit for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A dead link is noticed after two of these.
const PING_EVERY: Duration = Duration::from_secs(20);
/// First and longest pause before connecting again.
const RECONNECT_PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What happens on the socket.
#[derive(Debug, Clone, PartialEq)]
pub enum SocketEvent {
    /// Connected; messages of the job come from now on.
    Up,
    /// Not connected; messages are missed and will not be repeated.
    Down,
    /// A message.
    Message(Message),
}

/// A socket that reconnects until it is dropped.
pub struct Socket {
    events: Option<mpsc::Receiver<SocketEvent>>,
    _reader: JoinSet<()>,
}

impl Socket {
    /// Begins to connect, with these headers beside those of a websocket.
    #[must_use]
    pub fn open(url: String, headers: HeaderMap) -> Self {
        let (sender, events) = mpsc::channel(MESSAGES_MAX);
        let mut reader = JoinSet::new();
        reader.spawn(read_forever(url, headers, sender));
        Self { events: Some(events), _reader: reader }
    }

    /// A socket on which nothing ever happens.
    #[must_use]
    pub fn none() -> Self {
        Self { events: None, _reader: JoinSet::new() }
    }

    /// The next event. Can be dropped at any point without losing one.
    pub async fn next(&mut self) -> SocketEvent {
        if let Some(events) = &mut self.events {
            if let Some(event) = events.recv().await {
                return event;
            }
            self.events = None;
            return SocketEvent::Down;
        }
        std::future::pending().await
    }

    /// Waits until it is connected or has failed to; true when connected.
    pub async fn settled(&mut self, limit: Duration) -> bool {
        if self.events.is_none() {
            return false;
        }
        matches!(tokio::time::timeout(limit, self.next()).await, Ok(SocketEvent::Up))
    }
}

async fn read_forever(url: String, headers: HeaderMap, sender: mpsc::Sender<SocketEvent>) {
    let mut pause = RECONNECT_PAUSES.0;
    loop {
        match tokio::time::timeout(CONNECT_TIMEOUT, connect(&url, &headers)).await {
            Ok(Ok(stream)) => {
                pause = RECONNECT_PAUSES.0;
                if sender.send(SocketEvent::Up).await.is_err() {
                    return;
                }
                read(stream, &sender).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "the websocket does not open"),
            Err(_) => tracing::debug!("the websocket does not open in time"),
        }
        if sender.send(SocketEvent::Down).await.is_err() {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RECONNECT_PAUSES.1);
    }
}

async fn connect(url: &str, headers: &HeaderMap) -> Result<Stream, tungstenite::Error> {
    let mut request = url.into_client_request()?;
    request.headers_mut().extend(headers.clone());
    tokio_tungstenite::connect_async(request).await.map(|(stream, _)| stream)
}

/// Reads until the link ends or is found dead.
async fn read(mut stream: Stream, sender: &mpsc::Sender<SocketEvent>) {
    let mut unanswered_pings = 0;
    let mut pings = tokio::time::interval_at(tokio::time::Instant::now() + PING_EVERY, PING_EVERY);
    loop {
        let frame = tokio::select! {
            frame = stream.next() => frame,
            _ = pings.tick() => {
                unanswered_pings += 1;
                if unanswered_pings > 2 || stream.send(Frame::Ping(Vec::new().into())).await.is_err() {
                    return;
                }
                continue;
            }
        };
        unanswered_pings = 0;
        let message = match frame {
            Some(Ok(Frame::Text(text))) => match Message::decode(&text) {
                Ok(message) => message,
                Err(error) => {
                    tracing::debug!(%error, "a websocket frame cannot be read");
                    continue;
                }
            },
            Some(Ok(Frame::Binary(_))) => Message::Binary,
            Some(Ok(Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_))) => continue,
            Some(Ok(Frame::Close(_)) | Err(_)) | None => return,
        };
        if sender.send(SocketEvent::Message(message)).await.is_err() {
            return;
        }
    }
}
