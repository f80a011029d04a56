//! Fetching a made file. The API redirects to another host; HTTP clients drop only standard credentials on
//! the way and would hand our key header on, so it is decided for each address on the way whether it gets the
//! key. Where addresses may lead is [`runtime::fetch`]'s to say.

use bytes::Bytes;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName};
use runtime::fetch::FetchError;

use crate::gemini::client::Client;
use crate::gemini::errors::CallError;

/// The header that carries the key.
const KEY: HeaderName = HeaderName::from_static("x-goog-api-key");
/// Hosts that issued the key, with all below them.
const KEY_HOSTS: [&str; 2] = ["googleapis.com", "google.com"];

impl Client {
    /// Downloads a file.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn download(&self, uri: &str, max_bytes: u64) -> Result<Bytes, CallError> {
        let key = |url: &Url| -> HeaderMap {
            may_have_key(url, &self.base).then(|| (KEY, self.key.clone())).into_iter().collect()
        };
        self.files.get(uri, max_bytes, key).await.map_err(|error| match error {
            FetchError::TooLarge(max_bytes) => CallError::TooLarge(max_bytes),
            FetchError::Status { status, .. } => {
                CallError::Refused { status, retry_after_ms: None, body: error.to_string() }
            }
            FetchError::Forbidden { .. } | FetchError::BadAddress(_) => {
                CallError::Unreadable(error.to_string())
            }
            FetchError::Lost { .. } => CallError::Lost(error.to_string()),
        })
    }
}

/// Whether a host may see the key: the configured one (scheme, host and port), or Google's over TLS.
#[must_use]
pub fn may_have_key(url: &Url, base: &Url) -> bool {
    if url.origin() == base.origin() {
        return true;
    }
    let host = url.host_str().unwrap_or_default();
    let googles =
        |domain: &str| host == domain || host.strip_suffix(domain).is_some_and(|h| h.ends_with('.'));
    url.scheme() == "https" && KEY_HOSTS.iter().any(|domain| googles(domain))
}

/// The file's id in a download address: `…/files/abc:download?alt=media` is `abc`.
#[must_use]
pub fn file_id(uri: &str) -> Option<String> {
    let url: Url = uri.parse().ok()?;
    let (_, rest) = url.path().split_once("/files/")?;
    let id = rest.split([':', '/']).next().unwrap_or_default();
    (!id.is_empty()).then(|| id.to_owned())
}
