//! HTTP calls, one function each. No retries here: who may repeat what is the callers' knowledge.
//!
//! No `Origin` header is ever sent (the server refuses foreign ones), no proxy is asked (the server is
//! ours), no redirect is followed, and every answer has a bound.

use std::sync::Mutex;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use runtime::artifacts::ARTIFACT_MAX_BYTES;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use worker_host::python_json;

use crate::comfy::outputs::OutputFile;
use crate::comfy::wire::{History, PromptAnswer, Queue, SystemStats, Uploaded};
use crate::config::ComfyConfig;

/// The largest JSON answer that is read; `/object_info` of a server with many custom nodes is some MiB.
const JSON_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Where a server tells about one job that ended.
const HISTORY_OF_ONE: &str = "history/";
/// Limit for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// This much of an unexpected answer is kept as words.
const WORDS_MAX_CHARS: usize = 500;

/// Why a call gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection, or it broke.
    #[error("{path}: the server cannot be reached: {words}")]
    Unreachable {
        /// The call.
        path: String,
        /// The error chain.
        words: String,
        /// No connection was made, so the server cannot have seen the request.
        never_sent: bool,
    },
    /// No answer in time.
    #[error("{path}: no answer within {limit_ms} ms")]
    TimedOut {
        /// The call.
        path: String,
        /// The limit, milliseconds.
        limit_ms: u64,
    },
    /// An answer that was not a success.
    #[error("{path}: HTTP {status}: {words}")]
    Status {
        /// The call.
        path: String,
        /// The HTTP status.
        status: u16,
        /// The beginning of the body.
        words: String,
    },
    /// An answer that cannot be read.
    #[error("{path}: {words}")]
    Body {
        /// The call.
        path: String,
        /// What is wrong with it.
        words: String,
    },
    /// A file larger than the artifact store takes.
    #[error("{path}: the answer is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The call.
        path: String,
        /// The limit, bytes.
        limit_bytes: u64,
    },
}

impl ClientError {
    /// The request may have reached the server although no answer came.
    #[must_use]
    pub const fn may_have_arrived(&self) -> bool {
        match self {
            Self::Unreachable { never_sent, .. } => !*never_sent,
            Self::TimedOut { .. } | Self::Body { .. } => true,
            Self::Status { status, .. } => *status >= 500,
            Self::TooLarge { .. } => false,
        }
    }

    /// The fault is in what the server has to say about one job, not in the server: it cannot write that job's
    /// record (a node left something that is no JSON), or writes one that cannot be read or is too large.
    #[must_use]
    pub fn is_of_one_job(&self) -> bool {
        match self {
            Self::Status { path, status: 500, .. }
            | Self::Body { path, .. }
            | Self::TooLarge { path, .. } => path.starts_with(HISTORY_OF_ONE),
            _ => false,
        }
    }

    /// The HTTP status, where there was one.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// One ComfyUI server.
pub struct Client {
    http: reqwest::Client,
    base: Url,
    timeout: Duration,
    /// Whether the server has `/api/jobs`; asked once, and again after it was away.
    jobs_api: Mutex<Option<bool>>,
}

impl Client {
    /// A client for the configured server; connects lazily.
    ///
    /// # Errors
    /// What is wrong with the configuration or the TLS set-up.
    pub fn new(config: &ComfyConfig) -> Result<Self, String> {
        config.check().map_err(|error| error.to_string())?;
        runtime::tls::install();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| words_of(&error))?;
        let mut base = Url::parse(&config.url).map_err(|error| error.to_string())?;
        // Paths are appended: a server behind a prefix keeps it.
        let path = format!("{}/", base.path().trim_end_matches('/'));
        base.set_path(&path);
        let timeout = Duration::from_millis(config.request_timeout_ms);
        Ok(Self { http, base, timeout, jobs_api: Mutex::new(None) })
    }

    /// The websocket's address for a client id.
    #[must_use]
    pub fn socket_url(&self, client_id: &str) -> String {
        let mut url = self.url("ws");
        let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
        // Both are known schemes with the same rules, so this cannot fail.
        let _ = url.set_scheme(scheme);
        url.query_pairs_mut().append_pair("clientId", client_id);
        url.to_string()
    }

    /// `POST /prompt`. A refusal (400) is an answer, not an error.
    ///
    /// # Errors
    /// No answer, or one that is neither acceptance nor refusal.
    pub async fn submit(&self, body: &Value) -> Result<(u16, PromptAnswer), ClientError> {
        let path = "prompt";
        let response = self.send(path, self.request(Method::POST, path).json(body)).await?;
        let status = response.status();
        if status != StatusCode::OK && status != StatusCode::BAD_REQUEST {
            return Err(self.unexpected(path, response).await);
        }
        Ok((status.as_u16(), self.json(path, response).await?))
    }

    /// `GET /queue`.
    ///
    /// # Errors
    /// No usable answer.
    pub async fn queue(&self) -> Result<Queue, ClientError> {
        self.get("queue").await
    }

    /// `GET /history/{id}`; empty while the job has not ended.
    ///
    /// # Errors
    /// No usable answer.
    pub async fn history(&self, id: &str) -> Result<History, ClientError> {
        self.get(&format!("{HISTORY_OF_ONE}{id}")).await
    }

    /// Takes a finished job out of the history.
    ///
    /// # Errors
    /// No success.
    pub async fn forget(&self, id: &str) -> Result<(), ClientError> {
        self.post("history", &json!({ "delete": [id] })).await.map(drop)
    }

    /// Takes a pending job out of the queue; nothing happens to a running one.
    ///
    /// # Errors
    /// No success.
    pub async fn delete_pending(&self, id: &str) -> Result<(), ClientError> {
        self.post("queue", &json!({ "delete": [id] })).await.map(drop)
    }

    /// Interrupts the job if it is running. Very old servers ignore the id and interrupt what runs.
    ///
    /// # Errors
    /// No success.
    pub async fn interrupt(&self, id: &str) -> Result<(), ClientError> {
        self.post("interrupt", &json!({ "prompt_id": id })).await.map(drop)
    }

    /// Cancels a job whatever its state; only on servers with `/api/jobs`.
    ///
    /// # Errors
    /// No success.
    pub async fn cancel_job(&self, id: &str) -> Result<(), ClientError> {
        self.post(&format!("api/jobs/{id}/cancel"), &json!({})).await.map(drop)
    }

    /// Unloads models and frees the GPU's memory when the server's worker next wakes up.
    ///
    /// # Errors
    /// No success.
    pub async fn free(&self) -> Result<(), ClientError> {
        self.post("free", &json!({ "unload_models": true, "free_memory": true })).await.map(drop)
    }

    /// `GET /system_stats`: health, version, devices.
    ///
    /// # Errors
    /// No usable answer.
    pub async fn system_stats(&self) -> Result<SystemStats, ClientError> {
        self.get("system_stats").await
    }

    /// `GET /object_info`: all node classes with their inputs.
    ///
    /// # Errors
    /// No usable answer.
    pub async fn object_info(&self) -> Result<Value, ClientError> {
        self.get("object_info").await
    }

    /// Whether the server has `/api/jobs`. Asked once.
    ///
    /// # Errors
    /// No answer; a refusal means no.
    pub async fn has_jobs_api(&self) -> Result<bool, ClientError> {
        if let Some(known) = *self.jobs_api() {
            return Ok(known);
        }
        let path = "api/jobs";
        let response = self.send(path, self.request(Method::GET, path).query(&[("limit", "1")])).await?;
        let has = response.status().is_success();
        *self.jobs_api() = Some(has);
        Ok(has)
    }

    /// The server was away: what came back may be another version.
    pub fn forget_version(&self) {
        *self.jobs_api() = None;
    }

    /// Uploads an input file to a folder of the server's inputs; the answer says under which name it can be used.
    ///
    /// # Errors
    /// No success.
    pub async fn upload(
        &self,
        folder: &str,
        name: &str,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<Uploaded, ClientError> {
        let path = "upload/image";
        // Sending takes its time: at least 1 MiB/s is expected of a server of our own.
        let transfer = Duration::from_secs(bytes.len() as u64 / (1024 * 1024));
        let part = reqwest::multipart::Part::stream(bytes).file_name(name.to_owned());
        let part = part.mime_str(media_type).map_err(|error| body_error(path, error.to_string()))?;
        let form = reqwest::multipart::Form::new().part("image", part).text("type", "input");
        let form = form.text("subfolder", folder.to_owned());
        let request = self.request(Method::POST, path).multipart(form);
        let response = self.send_within(self.timeout + transfer, path, request).await?;
        if !response.status().is_success() {
            return Err(self.unexpected(path, response).await);
        }
        self.json(path, response).await
    }

    /// Downloads an output file.
    ///
    /// # Errors
    /// No success, or larger than the artifact store takes.
    pub async fn view(&self, file: &OutputFile) -> Result<Bytes, ClientError> {
        let path = "view";
        let query = [("filename", &file.filename), ("subfolder", &file.subfolder), ("type", &file.kind)];
        let response = self.send(path, self.http.get(self.url(path)).query(&query)).await?;
        if !response.status().is_success() {
            return Err(self.unexpected(path, response).await);
        }
        self.bounded(path, response, ARTIFACT_MAX_BYTES).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let response = self.send(path, self.request(Method::GET, path)).await?;
        if !response.status().is_success() {
            return Err(self.unexpected(path, response).await);
        }
        self.json(path, response).await
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Response, ClientError> {
        let response = self.send(path, self.request(Method::POST, path).json(body)).await?;
        if response.status().is_success() { Ok(response) } else { Err(self.unexpected(path, response).await) }
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let path = format!("{}{path}", url.path());
        url.set_path(&path);
        url
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path))
    }

    async fn send(&self, path: &str, request: RequestBuilder) -> Result<Response, ClientError> {
        self.send_within(self.timeout, path, request).await
    }

    /// Sends, and waits for the head of the answer.
    async fn send_within(
        &self,
        limit: Duration,
        path: &str,
        request: RequestBuilder,
    ) -> Result<Response, ClientError> {
        match tokio::time::timeout(limit, request.send()).await {
            Err(_) => Err(timed_out(path, limit)),
            Ok(Err(error)) => Err(unreachable(path, &error)),
            Ok(Ok(response)) => Ok(response),
        }
    }

    async fn json<T: DeserializeOwned>(&self, path: &str, response: Response) -> Result<T, ClientError> {
        let bytes = self.bounded(path, response, JSON_MAX_BYTES).await?;
        python_json::from_slice(&bytes).map_err(|error| {
            let begin: String = String::from_utf8_lossy(&bytes).chars().take(WORDS_MAX_CHARS).collect();
            body_error(path, format!("the answer is not what ComfyUI sends ({error}): {begin}"))
        })
    }

    async fn unexpected(&self, path: &str, response: Response) -> ClientError {
        let status = response.status().as_u16();
        let bytes = self.bounded(path, response, JSON_MAX_BYTES).await.unwrap_or_default();
        let words: String = String::from_utf8_lossy(&bytes).trim().chars().take(WORDS_MAX_CHARS).collect();
        ClientError::Status { path: path.to_owned(), status, words }
    }

    /// Reads a body up to a limit; silence ends it, however long the whole takes.
    async fn bounded(
        &self,
        path: &str,
        mut response: Response,
        limit_bytes: u64,
    ) -> Result<Bytes, ClientError> {
        let mut bytes = BytesMut::new();
        loop {
            match tokio::time::timeout(self.timeout, response.chunk()).await {
                Err(_) => return Err(timed_out(path, self.timeout)),
                Ok(Err(error)) => return Err(unreachable(path, &error)),
                Ok(Ok(None)) => return Ok(bytes.freeze()),
                Ok(Ok(Some(chunk))) if (bytes.len() + chunk.len()) as u64 > limit_bytes => {
                    return Err(ClientError::TooLarge { path: path.to_owned(), limit_bytes });
                }
                Ok(Ok(Some(chunk))) => bytes.extend_from_slice(&chunk),
            }
        }
    }

    fn jobs_api(&self) -> std::sync::MutexGuard<'_, Option<bool>> {
        self.jobs_api.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn unreachable(path: &str, error: &reqwest::Error) -> ClientError {
    ClientError::Unreachable { path: path.to_owned(), words: words_of(error), never_sent: error.is_connect() }
}

fn timed_out(path: &str, limit: Duration) -> ClientError {
    let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    ClientError::TimedOut { path: path.to_owned(), limit_ms }
}

fn body_error(path: &str, words: String) -> ClientError {
    ClientError::Body { path: path.to_owned(), words }
}

/// An error with its causes: the outermost of reqwest's says little.
fn words_of(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        words = format!("{words}: {inner}");
        cause = inner.source();
    }
    words
}
