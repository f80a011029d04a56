//! The HTTP calls. Nothing here repeats a call, follows a redirect, or reads without a bound. The key goes
//! into a header of requests to the API's own hosts, never into an address.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::HeaderValue;
use reqwest::{Method, RequestBuilder, Response, Url, redirect, retry};
use runtime::clock::now_ms;
use runtime::fetch::Fetcher;
use runtime::{metrics, retry_after, telemetry};
use serde::de::DeserializeOwned;

use crate::config::{ConfigError, GeminiConfig};
use crate::gemini::errors::CallError;
use crate::gemini::wire::{FileReply, GenerateReply, Interaction, ModelsPage};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer, bytes: a 4K picture in base64 with room to spare.
const ANSWER_MAX_BYTES: u64 = 128 * 1024 * 1024;
/// How much of a refusal is read, bytes.
const REFUSAL_MAX_BYTES: u64 = 64 * 1024;
/// Models asked for at a time.
const MODELS_PAGE: &str = "1000";

/// The API of one project.
pub struct Client {
    /// For starts: a new connection each, because a request lost on one that the server was just closing
    /// could not be told from one that was accepted.
    starter: reqwest::Client,
    reader: reqwest::Client,
    pub(super) files: Fetcher,
    pub(super) base: Url,
    pub(super) key: HeaderValue,
    request_timeout: Duration,
    generate_timeout: Duration,
}

impl Client {
    /// A client for the configured project.
    ///
    /// # Errors
    /// The configuration cannot work.
    pub fn new(config: &GeminiConfig) -> Result<Self, ConfigError> {
        config.check()?;
        let plain = || {
            let builder = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT);
            builder.retry(retry::never()).redirect(redirect::Policy::none())
        };
        Ok(Self {
            starter: plain().pool_max_idle_per_host(0).build()?,
            reader: plain().build()?,
            files: Fetcher::new("gemini", config.allowed_hosts()?)?,
            base: config.base()?,
            key: config.key()?,
            request_timeout: Duration::from_millis(config.request_timeout_ms),
            generate_timeout: Duration::from_millis(config.generate_timeout_ms),
        })
    }

    /// Makes a picture. Call it once: it is paid when it succeeds, and a lost answer is gone.
    ///
    /// # Errors
    /// See [`CallError`]; only [`CallError::NotSent`] is sure to have started nothing.
    pub async fn generate(&self, model: &str, body: Vec<u8>) -> Result<GenerateReply, CallError> {
        let url = self.url(&["models", &format!("{model}:generateContent")]);
        let request = self.keyed(&self.starter, Method::POST, url).timeout(self.generate_timeout);
        json(with_body(request, body), "generate").await
    }

    /// Starts an interaction. Call it once: the API has no way to recognise a repeat.
    ///
    /// # Errors
    /// See [`CallError`]; only [`CallError::NotSent`] and refusals are sure to have started nothing.
    pub async fn interact(&self, body: Vec<u8>) -> Result<Interaction, CallError> {
        let request = self.keyed(&self.starter, Method::POST, self.url(&["interactions"]));
        let reply: Interaction =
            json(with_body(request.timeout(self.request_timeout), body), "interact").await?;
        if reply.id.is_empty() {
            return Err(CallError::Unreadable("an interaction without an id".to_owned()));
        }
        Ok(reply)
    }

    /// Asks how an interaction is.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn interaction(&self, id: &str) -> Result<Interaction, CallError> {
        json(self.read(self.url(&["interactions", id])), "interaction").await
    }

    /// Asks to stop an interaction.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn cancel(&self, id: &str) -> Result<Interaction, CallError> {
        let request = self.keyed(&self.reader, Method::POST, self.url(&["interactions", id, "cancel"]));
        json(with_body(request.timeout(self.request_timeout), b"{}".to_vec()), "cancel").await
    }

    /// Asks how a stored file is.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn file(&self, id: &str) -> Result<FileReply, CallError> {
        json(self.read(self.url(&["files", id])), "file").await
    }

    /// One page of the list of models.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn models(&self, page_token: Option<&str>) -> Result<ModelsPage, CallError> {
        let mut url = self.url(&["models"]);
        url.query_pairs_mut().append_pair("pageSize", MODELS_PAGE);
        if let Some(token) = page_token {
            url.query_pairs_mut().append_pair("pageToken", token);
        }
        json(self.read(url), "models").await
    }

    fn read(&self, url: Url) -> RequestBuilder {
        self.keyed(&self.reader, Method::GET, url).timeout(self.request_timeout)
    }

    fn keyed(&self, client: &reqwest::Client, method: Method, url: Url) -> RequestBuilder {
        client.request(method, url).header("x-goog-api-key", self.key.clone())
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("v1beta").extend(segments);
        }
        url
    }
}

fn with_body(request: RequestBuilder, body: Vec<u8>) -> RequestBuilder {
    request.header("content-type", "application/json").body(body)
}

async fn json<T: DeserializeOwned>(request: RequestBuilder, call: &'static str) -> Result<T, CallError> {
    let response = sent(request, call).await?;
    let bytes = read(success(response).await?, ANSWER_MAX_BYTES).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let start: String = String::from_utf8_lossy(&bytes).chars().take(200).collect();
        CallError::Unreadable(format!("{error}: {start}"))
    })
}

/// Sends and counts.
pub(super) async fn sent(request: RequestBuilder, call: &'static str) -> Result<Response, CallError> {
    let result = request.send().await;
    let status = result.as_ref().map_or(0, |response| response.status().as_u16());
    metrics::PROVIDER_REQUESTS.of(["gemini".into(), call.into(), status.to_string().into()]).increment(1);
    result.map_err(failed)
}

/// Turns everything but a success into an error with its body.
pub(super) async fn success(mut response: Response) -> Result<Response, CallError> {
    if response.status().is_success() {
        return Ok(response);
    }
    let retry_after_ms = retry_after::wait_ms(response.headers(), now_ms());
    let mut body = BytesMut::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() as u64 > REFUSAL_MAX_BYTES {
            break;
        }
    }
    Err(CallError::Refused {
        status: response.status().as_u16(),
        retry_after_ms,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// Reads a body up to a bound.
pub(super) async fn read(mut response: Response, max_bytes: u64) -> Result<Bytes, CallError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if (body.len() + chunk.len()) as u64 > max_bytes {
            return Err(CallError::TooLarge(max_bytes));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn failed(error: reqwest::Error) -> CallError {
    let not_sent = error.is_connect() || error.is_builder();
    let words = telemetry::chain(&error.without_url());
    if not_sent { CallError::NotSent(words) } else { CallError::Lost(words) }
}
