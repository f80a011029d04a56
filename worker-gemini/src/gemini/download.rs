//! Fetching a made file. The API redirects to another host; HTTP clients drop only standard credentials on
//! the way and would hand our key header on, so redirects are followed here, one by one, and the key goes
//! only where it belongs.

use bytes::Bytes;
use reqwest::header::LOCATION;
use reqwest::{Method, Url};

use crate::gemini::client::{self, Client};
use crate::gemini::errors::CallError;

/// Redirects followed.
const REDIRECTS_MAX: usize = 5;
/// Hosts that issued the key, with all below them.
const KEY_HOSTS: [&str; 2] = ["googleapis.com", "google.com"];

impl Client {
    /// Downloads a file.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn download(&self, uri: &str, max_bytes: u64) -> Result<Bytes, CallError> {
        let mut url: Url = uri.parse().map_err(|_| CallError::Unreadable("not a URL".to_owned()))?;
        for _ in 0..=REDIRECTS_MAX {
            let mut request = self.files.request(Method::GET, url.clone());
            if may_have_key(&url, &self.base) {
                request = request.header("x-goog-api-key", self.key.clone());
            }
            let response = client::sent(request, "download").await?;
            if !response.status().is_redirection() {
                return client::read(client::success(response).await?, max_bytes).await;
            }
            let target = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let target = target.and_then(|target| url.join(target).ok());
            let target =
                target.filter(|target| target.scheme() == "https" || target.scheme() == url.scheme());
            url = target.ok_or_else(|| CallError::Unreadable("a redirect to nowhere safe".to_owned()))?;
        }
        Err(CallError::Unreadable(format!("more than {REDIRECTS_MAX} redirects")))
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
