//! The HTTP calls. Nothing here repeats a call, follows a redirect with the key, or reads without a bound.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, redirect, retry};
use runtime::clock::now_ms;
use runtime::fetch::{FetchError, Fetcher};
use runtime::{metrics, retry_after, telemetry};
use serde::de::DeserializeOwned;
use worker_host::python_json;

use crate::config::{ConfigError, RunPodConfig};
use crate::runpod::billing::BillingReply;
use crate::runpod::errors::CallError;
use crate::runpod::wire::{HealthReply, JobReply, RunReply};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer: results are at most about 20 MB, a little larger as base64.
const ANSWER_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// How much of a refusal is read.
const REFUSAL_MAX_BYTES: u64 = 64 * 1024;

/// One endpoint of the data plane.
pub struct Client {
    /// For starts: a new connection each, because a request lost on one that the server was just closing
    /// could not be told from one that was accepted.
    starter: reqwest::Client,
    reader: reqwest::Client,
    /// For files, from addresses that the handler names: without the key.
    files: Fetcher,
    endpoint: Url,
    billing: Url,
    endpoint_id: String,
}

impl Client {
    /// A client for the configured endpoint.
    ///
    /// # Errors
    /// The configuration cannot work.
    pub fn new(config: &RunPodConfig) -> Result<Self, ConfigError> {
        config.check()?;
        let endpoint = config.endpoint_url()?;
        let bearer = config.bearer()?;
        let headers = HeaderMap::from_iter([(AUTHORIZATION, bearer)]);
        let timeout = Duration::from_millis(config.request_timeout_ms);
        let keyed = || {
            let builder = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).retry(retry::never());
            builder.redirect(redirect::Policy::none()).default_headers(headers.clone()).timeout(timeout)
        };
        Ok(Self {
            starter: keyed().pool_max_idle_per_host(0).build()?,
            reader: keyed().build()?,
            files: Fetcher::new("runpod", config.allowed_hosts()?)?,
            endpoint,
            billing: config.billing_url()?,
            endpoint_id: config.endpoint.clone(),
        })
    }

    /// Starts a job. Call it once: the provider has no way to recognise a repeat.
    ///
    /// # Errors
    /// See [`CallError`]; only [`CallError::NotSent`] and refusals are sure to have started nothing.
    pub async fn run(&self, body: Vec<u8>) -> Result<RunReply, CallError> {
        let request = self.starter.request(Method::POST, self.url(&["run"]));
        json(request.header("content-type", "application/json").body(body), "run").await
    }

    /// Asks how a job is.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn status(&self, id: &str) -> Result<JobReply, CallError> {
        json(self.reader.request(Method::GET, self.url(&["status", id])), "status").await
    }

    /// Asks to stop a job. The answer is not trusted: read the status afterwards.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn cancel(&self, id: &str) -> Result<JobReply, CallError> {
        json(self.reader.request(Method::POST, self.url(&["cancel", id])), "cancel").await
    }

    /// Asks how the endpoint is.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn health(&self) -> Result<HealthReply, CallError> {
        json(self.reader.request(Method::GET, self.url(&["health"])), "health").await
    }

    /// Asks what the endpoint was billed for the last UTC days, the running one included.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn bill(&self, days: u32) -> Result<BillingReply, CallError> {
        let mut url = self.billing.clone();
        url.query_pairs_mut()
            .append_pair("serverlessId", &self.endpoint_id)
            .append_pair("bucketSize", "day")
            .append_pair("lastN", &days.to_string());
        json(self.reader.request(Method::GET, url), "billing").await
    }

    /// Downloads a file by its presigned URL, without the key.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn download(&self, url: &str, max_bytes: u64) -> Result<Bytes, FetchError> {
        self.files.get(url, max_bytes, |_| HeaderMap::new()).await
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.endpoint.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend(segments);
        }
        url
    }
}

async fn json<T: DeserializeOwned>(request: RequestBuilder, call: &'static str) -> Result<T, CallError> {
    let bytes = read(sent(request, call).await?, ANSWER_MAX_BYTES).await?;
    python_json::from_slice(&bytes).map_err(|error| {
        let start: String = String::from_utf8_lossy(&bytes).chars().take(200).collect();
        CallError::Unreadable(format!("{error}: {start}"))
    })
}

/// Sends, counts, and turns everything but a success into an error.
async fn sent(request: RequestBuilder, call: &'static str) -> Result<Response, CallError> {
    let result = request.send().await;
    let status = result.as_ref().map_or(0, |response| response.status().as_u16());
    metrics::PROVIDER_REQUESTS.of(["runpod".into(), call.into(), status.to_string().into()]).increment(1);
    let mut response = result.map_err(failed)?;
    if response.status() == StatusCode::OK || response.status() == StatusCode::CREATED {
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
    Err(CallError::Refused { status, retry_after_ms, body: String::from_utf8_lossy(&body).into_owned() })
}

async fn read(mut response: Response, max_bytes: u64) -> Result<Bytes, CallError> {
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
