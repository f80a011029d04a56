//! Downloads of files whose addresses a provider named.
//!
//! Such an address may lead anywhere: to the machine's own services, to its cloud's metadata, into the
//! private network. So an address must be https and of the public internet, and every redirect is followed
//! here, one by one, and checked like the first. A host name is checked where it is resolved: the connection
//! goes to exactly the addresses that passed, so that a name that changes its mind gains nothing. Proxies of
//! the environment are not used: they would resolve names themselves. What the operator configured
//! ([`AllowedHosts`]) is trusted with private addresses and with plain http.
//!
//! Errors name the host alone: paths and queries of presigned addresses are secrets.

pub mod address;
mod allowed;

use std::error::Error as StdError;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Response, StatusCode, Url, redirect, retry};
use schemas::{Failure, FailureCode};

pub use crate::fetch::allowed::{AllowedHosts, NotAHost};
use crate::{metrics, telemetry};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest silence while a file is downloaded.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Redirects followed.
const REDIRECTS_MAX: usize = 5;

/// Why a file was not downloaded.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address, or one that it redirects to, is not one that a provider may send us to.
    #[error("the address of the result leads to {host}, {why}")]
    Forbidden {
        /// The host.
        host: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The address is no URL, or leads nowhere.
    #[error("the address of the result cannot be followed: {0}")]
    BadAddress(&'static str),
    /// The host answered with something else than the file.
    #[error("{host} answered {status}")]
    Status {
        /// The host.
        host: String,
        /// The HTTP status.
        status: u16,
    },
    /// The file is larger than we take.
    #[error("the file is larger than {0} bytes")]
    TooLarge(u64),
    /// No connection, or it ended before the file did.
    #[error("{host} did not deliver the file: {}", telemetry::chain(.source))]
    Lost {
        /// The host.
        host: String,
        /// What the client library says, without the address.
        source: reqwest::Error,
    },
}

impl FetchError {
    /// Whether another try may succeed.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Lost { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            Self::Forbidden { .. } | Self::BadAddress(_) | Self::TooLarge(_) => false,
        }
    }

    /// The failure of an attempt whose file this was. The provider was paid and keeps the file under its id: what may
    /// pass is `transient`, which after a delivery is fetched again and never made again; all else is final.
    #[must_use]
    pub fn failure(&self, setting: &str) -> Failure {
        match self {
            Self::Forbidden { .. } => {
                let cure = format!("{self}: if the operator trusts that host, name it in `{setting}`");
                Failure::new(FailureCode::UnusableResult, cure)
            }
            Self::BadAddress(_) => Failure::new(FailureCode::UnusableResult, self.to_string()),
            Self::Status { .. } | Self::TooLarge(_) | Self::Lost { .. } => {
                let code = if self.may_pass() { FailureCode::Transient } else { FailureCode::NotStored };
                Failure::new(
                    code,
                    format!("the provider made the file, and it could not be downloaded: {self}"),
                )
            }
        }
    }
}

/// Finds the addresses of a host name. Tests bring their own.
#[async_trait]
pub trait Lookup: Send + Sync + 'static {
    /// All addresses of the name.
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's resolver.
struct System;

#[async_trait]
impl Lookup for System {
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// Downloads files of one provider.
pub struct Fetcher {
    provider: &'static str,
    allowed: AllowedHosts,
    /// For addresses that the operator trusts.
    trusting: reqwest::Client,
    /// For all others: resolves to public addresses only.
    checking: reqwest::Client,
}

impl Fetcher {
    /// A fetcher; the provider's name is a label of the metric.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub fn new(provider: &'static str, allowed: AllowedHosts) -> Result<Self, reqwest::Error> {
        Self::with_lookup(provider, allowed, Arc::new(System))
    }

    /// A fetcher with another resolver.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub fn with_lookup(
        provider: &'static str,
        allowed: AllowedHosts,
        lookup: Arc<dyn Lookup>,
    ) -> Result<Self, reqwest::Error> {
        let plain = || {
            let builder = reqwest::Client::builder().no_proxy().redirect(redirect::Policy::none());
            builder.retry(retry::never()).connect_timeout(CONNECT_TIMEOUT).read_timeout(STALL_TIMEOUT)
        };
        Ok(Self {
            provider,
            allowed,
            trusting: plain().build()?,
            checking: plain().dns_resolver(Checked(lookup)).build()?,
        })
    }

    /// Downloads a file. `headers` says for each address on the way which headers it gets.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn get(
        &self,
        address: &str,
        max_bytes: u64,
        headers: impl Fn(&Url) -> HeaderMap,
    ) -> Result<Bytes, FetchError> {
        let mut url: Url = address.parse().map_err(|_| FetchError::BadAddress("it is not a URL"))?;
        for _ in 0..=REDIRECTS_MAX {
            let client = self.client_for(&url)?;
            let sent = client.get(url.clone()).headers(headers(&url)).send().await;
            let status = sent.as_ref().map_or(0, |response| response.status().as_u16());
            let counted = [self.provider.into(), "download".into(), status.to_string().into()];
            metrics::PROVIDER_REQUESTS.of(counted).increment(1);
            let response = sent.map_err(|error| failed(&url, error))?;
            match response.status() {
                StatusCode::OK => return read(&url, response, max_bytes).await,
                status if !is_redirect(status) => {
                    let host = allowed::host(&url).to_owned();
                    return Err(FetchError::Status { host, status: status.as_u16() });
                }
                _ => {}
            }
            url = target(&url, &response)?;
        }
        Err(FetchError::BadAddress("it redirects too often"))
    }

    /// The client that may open this address.
    fn client_for(&self, url: &Url) -> Result<&reqwest::Client, FetchError> {
        let host = allowed::host(url);
        let forbidden = |why| Err(FetchError::Forbidden { host: host.to_owned(), why });
        if !matches!(url.scheme(), "https" | "http") || host.is_empty() {
            return Err(FetchError::BadAddress("it is not an https URL"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return forbidden("with a user name or password in it");
        }
        if self.allowed.holds(url) {
            return Ok(&self.trusting);
        }
        // Decimal, octal and shortened forms of addresses became their usual form when the URL was read.
        let literal: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
        if let Some(why) = literal.and_then(address::not_public) {
            return forbidden(why);
        }
        if url.scheme() == "http" {
            return forbidden("by plain http");
        }
        Ok(&self.checking)
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where a redirect leads.
fn target(from: &Url, response: &Response) -> Result<Url, FetchError> {
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let target = location.and_then(|location| from.join(location).ok());
    let target = target.ok_or(FetchError::BadAddress("it redirects nowhere"))?;
    if from.scheme() == "https" && target.scheme() != "https" {
        let host = allowed::host(&target).to_owned();
        return Err(FetchError::Forbidden { host, why: "redirected from https to something less" });
    }
    Ok(target)
}

async fn read(url: &Url, mut response: Response, max_bytes: u64) -> Result<Bytes, FetchError> {
    if response.content_length().is_some_and(|length| length > max_bytes) {
        return Err(FetchError::TooLarge(max_bytes));
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(url, error))? {
        if (body.len() + chunk.len()) as u64 > max_bytes {
            return Err(FetchError::TooLarge(max_bytes));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn failed(url: &Url, error: reqwest::Error) -> FetchError {
    let host = allowed::host(url).to_owned();
    let error = error.without_url();
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(current) = cause {
        if let Some(Private(why)) = current.downcast_ref() {
            return FetchError::Forbidden { host, why };
        }
        cause = current.source();
    }
    FetchError::Lost { host, source: error }
}

/// A name that has no public address.
#[derive(Debug, thiserror::Error)]
#[error("the name resolves to {0}")]
struct Private(&'static str);

/// Resolves names to their public addresses.
struct Checked(Arc<dyn Lookup>);

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let lookup = Arc::clone(&self.0);
        Box::pin(async move {
            let found = lookup.addresses(name.as_str()).await?;
            let public: Vec<SocketAddr> = found
                .iter()
                .filter(|address| address::not_public(**address).is_none())
                .map(|address| SocketAddr::new(*address, 0))
                .collect();
            match found.iter().find_map(|address| address::not_public(*address)) {
                Some(why) if public.is_empty() => Err(Private(why).into()),
                _ => Ok(Box::new(public.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests;
