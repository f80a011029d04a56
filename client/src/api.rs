//! Requests to the routers, as any NATS client makes them.

use anyhow::{Context as _, anyhow};
use async_nats::client::RequestErrorKind;
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use schemas::api::ApiError;
use schemas::codec::{self, CONTENT_TYPE};
use schemas::{Encoding, Tenant, subjects};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The services framework's headers of a refused request.
const ERROR_CODE: &str = "Nats-Service-Error-Code";
const ERROR_TEXT: &str = "Nats-Service-Error";

/// A router refused a request.
#[derive(Debug, thiserror::Error)]
#[error("{}{error}", field.as_ref().map(|field| format!("{field}: ")).unwrap_or_default())]
pub struct Refused {
    /// The field to mend.
    pub field: Option<String>,
    /// What is wrong, and the cure.
    pub error: String,
}

/// Asks an endpoint in the operator's form, which answers for all tenants, and reads its answer.
///
/// # Errors
/// [`Refused`] in the router's words; no router is there; the broker does not answer.
pub async fn request<Q: Serialize, R: DeserializeOwned>(
    client: &Client,
    endpoint: &str,
    question: &Q,
) -> anyhow::Result<R> {
    request_as(client, None, endpoint, question).await
}

/// Asks an endpoint as a tenant, to whom jobs of others are unknown, or in the operator's form.
///
/// # Errors
/// As [`request`].
pub async fn request_as<Q: Serialize, R: DeserializeOwned>(
    client: &Client,
    tenant: Option<&Tenant>,
    endpoint: &str,
    question: &Q,
) -> anyhow::Result<R> {
    ask(client, tenant, endpoint, codec::encode(question).into()).await
}

/// Asks an endpoint that has no question.
///
/// # Errors
/// As [`request`].
pub async fn request_empty<R: DeserializeOwned>(client: &Client, endpoint: &str) -> anyhow::Result<R> {
    ask(client, None, endpoint, Bytes::new()).await
}

async fn ask<R: DeserializeOwned>(
    client: &Client,
    tenant: Option<&Tenant>,
    endpoint: &str,
    payload: Bytes,
) -> anyhow::Result<R> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, Encoding::MessagePack.content_type());
    let asking = |tenant| {
        client.request_with_headers(subjects::api(tenant, endpoint), headers.clone(), payload.clone())
    };
    let mut answered = asking(tenant).await;
    // Routers of release 0.1.0 know the operator's form alone.
    if tenant.is_some() && matches!(&answered, Err(error) if error.kind() == RequestErrorKind::NoResponders) {
        answered = asking(None).await;
    }
    let answer = answered.map_err(|error| match error.kind() {
        RequestErrorKind::NoResponders => anyhow!("no router is there to ask: start one, or `argosy up`"),
        _ => anyhow!(error).context(format!("asking the routers for `{endpoint}`")),
    })?;
    let header = |name: &str| Some(answer.headers.as_ref()?.get(name)?.as_str());
    if header(ERROR_CODE).is_some() || header(ERROR_TEXT).is_some() {
        let body: Result<ApiError, _> = codec::decode(header(CONTENT_TYPE), &answer.payload);
        let refused = match body {
            Ok(error) => Refused { field: error.field, error: error.error },
            Err(_) => Refused { field: None, error: header(ERROR_TEXT).unwrap_or("refused").to_owned() },
        };
        return Err(refused.into());
    }
    codec::decode(header(CONTENT_TYPE), &answer.payload)
        .with_context(|| format!("the answer of `{endpoint}` cannot be read"))
}
