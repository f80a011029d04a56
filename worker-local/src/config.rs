//! The worker's own section of the configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use runtime::config::Secret;
use schemas::Backend;
use serde::Deserialize;

/// How to reach a ComfyUI server, and how patient to be with it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ComfyConfig {
    /// The server, for example `http://127.0.0.1:8188`.
    pub url: String,
    /// The backend that this worker serves.
    pub backend: Backend,
    /// Longest time between two looks at a running job, milliseconds.
    pub poll_ms: u64,
    /// Shortest time between two looks, while the job is young, milliseconds.
    pub poll_min_ms: u64,
    /// A job that shows no sign of life for so long is stuck, milliseconds. A large model can take
    /// minutes to load in silence.
    pub stall_ms: u64,
    /// Limit for small calls, and for silence in the middle of a transfer, milliseconds.
    pub request_timeout_ms: u64,
    /// How long a job may be in neither queue nor history before it counts as lost, milliseconds.
    pub history_grace_ms: u64,
    /// How long to wait for an interrupted job to leave the GPU, milliseconds.
    pub cancel_wait_ms: u64,
    /// How long the list of nodes and models is believed, milliseconds.
    pub refresh_ms: u64,
    /// Use the websocket for progress. Without it runs are as correct, and silent.
    pub websocket: bool,
    /// What a proxy before the server asks for: sent with every call as `Authorization: Bearer …`.
    pub token: Secret,
    /// Other headers that are sent with every call, by name.
    pub headers: BTreeMap<String, Secret>,
    /// The driver's number of the GPU that the server uses; the server's own word when absent.
    pub gpu_index: Option<u32>,
}

impl Default for ComfyConfig {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8188".to_owned(),
            backend: Backend::new("local").unwrap_or_else(|_| unreachable!("a valid name")),
            poll_ms: 1_000,
            poll_min_ms: 100,
            stall_ms: 300_000,
            request_timeout_ms: 15_000,
            history_grace_ms: 3_000,
            cancel_wait_ms: 10_000,
            refresh_ms: 300_000,
            websocket: true,
            token: Secret::default(),
            headers: BTreeMap::new(),
            gpu_index: None,
        }
    }
}

/// What is wrong with the section.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not an address.
    #[error("url `{0}` is not an http:// or https:// address, for example http://127.0.0.1:8188")]
    Url(String),
    /// A time of zero.
    #[error("{0} must be at least 1 millisecond")]
    Zero(&'static str),
    /// Not a header.
    #[error(
        "headers: `{0}` is no name of an HTTP header, or its value has characters that no header may have"
    )]
    Header(String),
    /// A value of `token` that no header may have.
    #[error("token has characters that no HTTP header may have")]
    Token,
    /// One header by two keys.
    #[error("headers names `authorization` and token is set: give one of them")]
    TwoTokens,
    /// Shortest above longest.
    #[error("poll_min_ms ({min}) is above poll_ms ({max})")]
    Polls {
        /// `poll_min_ms`.
        min: u64,
        /// `poll_ms`.
        max: u64,
    },
}

impl ComfyConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`ConfigError`] naming the field.
    pub fn check(&self) -> Result<(), ConfigError> {
        let url = reqwest::Url::parse(&self.url).ok();
        if !url.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            return Err(ConfigError::Url(self.url.clone()));
        }
        let times = [
            ("poll_ms", self.poll_ms),
            ("poll_min_ms", self.poll_min_ms),
            ("stall_ms", self.stall_ms),
            ("request_timeout_ms", self.request_timeout_ms),
        ];
        if let Some((name, _)) = times.iter().find(|(_, value)| *value == 0) {
            return Err(ConfigError::Zero(name));
        }
        if self.poll_min_ms > self.poll_ms {
            return Err(ConfigError::Polls { min: self.poll_min_ms, max: self.poll_ms });
        }
        self.header_map().map(drop)
    }

    /// What is sent with every call.
    ///
    /// # Errors
    /// [`ConfigError`] naming the field.
    pub fn header_map(&self) -> Result<HeaderMap, ConfigError> {
        let mut map = HeaderMap::new();
        let secret = |value: &str| {
            let mut value = HeaderValue::from_str(value).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        for (name, value) in &self.headers {
            let wrong = || ConfigError::Header(name.clone());
            let header: HeaderName = name.parse().map_err(|_| wrong())?;
            map.insert(header, secret(value.expose()).ok_or_else(wrong)?);
        }
        if !self.token.is_empty() {
            let bearer = secret(&format!("Bearer {}", self.token.expose())).ok_or(ConfigError::Token)?;
            if map.insert(AUTHORIZATION, bearer).is_some() {
                return Err(ConfigError::TwoTokens);
            }
        }
        Ok(map)
    }

    /// When to look next at a job that has been watched for so long: often while it is young, so that a
    /// short job ends promptly, and rarely later, so that a long one costs the server nothing.
    #[must_use]
    pub fn poll_after(&self, age: Duration) -> Duration {
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis((age_ms / 5).clamp(self.poll_min_ms, self.poll_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_sections_are_named() {
        let good = ComfyConfig::default();
        assert_eq!(good.check(), Ok(()));
        for url in ["", "127.0.0.1:8188", "ftp://x", "ws://x"] {
            let config = ComfyConfig { url: url.to_owned(), ..good.clone() };
            assert_eq!(config.check(), Err(ConfigError::Url(url.to_owned())));
        }
        let config = ComfyConfig { stall_ms: 0, ..good.clone() };
        assert_eq!(config.check(), Err(ConfigError::Zero("stall_ms")));
        let config = ComfyConfig { poll_min_ms: 2_000, ..good };
        assert_eq!(config.check(), Err(ConfigError::Polls { min: 2_000, max: 1_000 }));
        assert!(serde_json::from_str::<ComfyConfig>(r#"{"pol_ms":1}"#).is_err(), "unknown keys are refused");
    }

    #[test]
    fn headers_are_checked_and_never_printed() {
        let of = |text: &str| serde_json::from_str::<ComfyConfig>(text).expect("a section");
        let good = of(r#"{"token": "s3cret", "headers": {"CF-Access-Client-Id": "planted"}}"#);
        let map = good.header_map().expect("headers");
        assert_eq!(map.get("authorization").expect("a token"), "Bearer s3cret");
        assert_eq!(map.get("cf-access-client-id").expect("a header"), "planted");
        let printed = format!("{good:?} {map:?}");
        assert!(!printed.contains("s3cret") && !printed.contains("planted"), "{printed}");
        let wrong = |text: &str| of(text).check().expect_err("wrong");
        assert_eq!(wrong(r#"{"headers": {"a b": "c"}}"#), ConfigError::Header("a b".to_owned()));
        assert_eq!(wrong(r#"{"headers": {"X-Key": "a\nb"}}"#), ConfigError::Header("X-Key".to_owned()));
        assert_eq!(wrong(r#"{"token": "a\nb"}"#), ConfigError::Token);
        assert_eq!(wrong(r#"{"token": "a", "headers": {"Authorization": "b"}}"#), ConfigError::TwoTokens);
    }

    #[test]
    fn young_jobs_are_looked_at_often() {
        let config = ComfyConfig::default();
        let after = |ms| config.poll_after(Duration::from_millis(ms)).as_millis();
        assert_eq!([after(0), after(500), after(2_000), after(60_000)], [100, 100, 400, 1_000]);
    }
}
