//! The websocket side: who is connected, and who hears what.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// Frames waiting for one socket. A 10 000-step sampler with nobody reading would fill it; such a socket is dropped.
const SOCKET_BACKLOG: usize = 4096;

struct Client {
    frames: mpsc::Sender<Message>,
    preview_metadata: bool,
}

#[derive(Default)]
pub(super) struct Sockets(Mutex<HashMap<String, Client>>);

impl Sockets {
    /// Sends to one client, if it is connected.
    pub(super) fn send(&self, client: &str, kind: &str, data: &Value) {
        self.frame(client, Message::text(json!({"type": kind, "data": data}).to_string()));
    }

    /// Sends to everybody.
    pub(super) fn broadcast(&self, kind: &str, data: &Value) {
        let text = json!({"type": kind, "data": data}).to_string();
        self.lock().retain(|_, client| client.frames.try_send(Message::text(text.clone())).is_ok());
    }

    /// A preview picture (PNG), in the layout this client asked for.
    pub(super) fn preview(&self, client: &str, png: &[u8], metadata: &Value) {
        let with_metadata = self.lock().get(client).is_some_and(|client| client.preview_metadata);
        let mut frame = Vec::with_capacity(png.len() + 512);
        if with_metadata {
            let text = metadata.to_string();
            frame.extend(4u32.to_be_bytes());
            frame.extend((text.len() as u32).to_be_bytes());
            frame.extend(text.as_bytes());
        } else {
            frame.extend(1u32.to_be_bytes());
            frame.extend(2u32.to_be_bytes()); // PNG
        }
        frame.extend(png);
        self.frame(client, Message::Binary(Bytes::from(frame)));
    }

    /// Cuts one client's socket without a close frame.
    pub(super) fn drop_client(&self, client: &str) {
        self.lock().remove(client);
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn frame(&self, client: &str, message: Message) {
        let mut clients = self.lock();
        if clients.get(client).is_some_and(|client| client.frames.try_send(message).is_err()) {
            clients.remove(client);
        }
    }

    /// Serves one socket until it closes. `greeting` are the frames a new connection gets.
    ///
    /// A second socket with the same id takes over, and when the older one closes, the newer goes deaf: that is what
    /// the real server does.
    pub(super) async fn serve(
        &self,
        mut socket: WebSocket,
        id: String,
        greeting: Vec<Value>,
        features: Value,
    ) {
        let (frames, mut outgoing) = mpsc::channel(SOCKET_BACKLOG);
        for frame in greeting {
            frames.try_send(Message::text(frame.to_string())).ok();
        }
        self.lock().insert(id.clone(), Client { frames: frames.clone(), preview_metadata: false });
        drop(frames);
        let (mut first, mut replaced) = (true, false);
        loop {
            tokio::select! {
                frame = outgoing.recv(), if !replaced => {
                    let Some(frame) = frame else {
                        // Somebody else has the id now: this socket stays open and hears nothing.
                        replaced = self.lock().contains_key(&id);
                        if replaced {
                            continue;
                        }
                        // Dropped on purpose: the transport just ends.
                        break;
                    };
                    if socket.send(frame).await.is_err() {
                        break;
                    }
                }
                message = socket.recv() => match message {
                    Some(Ok(Message::Text(text))) => {
                        if std::mem::take(&mut first) {
                            self.first_message(&id, &text, &features);
                        }
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                    Some(Ok(_)) => {}
                },
            }
        }
        self.lock().remove(&id);
    }

    fn first_message(&self, id: &str, text: &str, features: &Value) {
        let Ok(message) = serde_json::from_str::<Value>(text) else { return };
        if message["type"] != "feature_flags" {
            return;
        }
        let wants = message["data"]["supports_preview_metadata"] == Value::Bool(true);
        if let Some(client) = self.lock().get_mut(id) {
            client.preview_metadata = wants;
        }
        self.send(id, "feature_flags", features);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Client>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
