//! What keeps a provider out: one document for each provider, kind of failure and model, bucket `BREAKERS`.
//!
//! Routers write one when a breaker opens or closes, each on the revision that it saw, so that of several that heard the
//! same failure one writes. Routers and workers read all of them when they start and watch them afterwards. A person who
//! closes one says who and why. A server of our own has no entry here: its worker holds its breaker and tells it in its
//! offer ([`crate::ServerBreaker`]).

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Backend, SCHEMA_VERSION};

/// What keeps it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BreakerKind {
    /// It failed too often, or does not answer.
    Failing,
    /// A quota is used up.
    Quota,
    /// Its key or its billing is refused: for all its models, and until a person acts.
    Stopped,
    /// A kind of a newer version.
    #[serde(other)]
    Unknown,
}

impl BreakerKind {
    /// All that this version knows.
    pub const ALL: [Self; 3] = [Self::Failing, Self::Quota, Self::Stopped];

    /// Its token in keys and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Quota => "quota",
            Self::Stopped => "stopped",
            Self::Unknown => "unknown",
        }
    }
}

/// A breaker's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BreakerRecord {
    /// Version of this message's schema.
    pub schema_version: u16,
    /// When it changed, Unix milliseconds.
    pub time_ms: i64,
    /// Whose provider.
    pub backend: Backend,
    /// What keeps it out.
    pub kind: BreakerKind,
    /// Which of its models; all of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Failures since it last succeeded, each job counted once.
    #[serde(default)]
    pub consecutive_failures: u32,
    /// Until when it is out, Unix milliseconds; absent when it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_until_ms: Option<i64>,
    /// What opened it: the failure's code and words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who changed it: a router's name, or a person's.
    pub by: String,
    /// Why a person closed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl BreakerRecord {
    /// A breaker that is closed.
    #[must_use]
    pub const fn closed(
        backend: Backend,
        kind: BreakerKind,
        model: Option<String>,
        by: String,
        time_ms: i64,
    ) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            time_ms,
            backend,
            kind,
            model,
            consecutive_failures: 0,
            open_until_ms: None,
            reason: None,
            by,
            why: None,
        }
    }

    /// Its key in the bucket.
    #[must_use]
    pub fn key(&self) -> String {
        let mut key = format!("{}.{}", self.backend, self.kind.as_str());
        if let Some(model) = &self.model {
            key.push('.');
            for byte in model.bytes() {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => key.push(char::from(byte)),
                    // Nothing else is certain to be allowed in a key.
                    _ => {
                        let _ = write!(key, "={byte:02x}");
                    }
                }
            }
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_models_apart_and_hold_what_keys_may() {
        let key = |kind, model: Option<&str>| {
            let backend = Backend::new("painter").unwrap();
            BreakerRecord::closed(backend, kind, model.map(str::to_owned), "router-1".to_owned(), 0).key()
        };
        assert_eq!(key(BreakerKind::Stopped, None), "painter.stopped");
        assert_eq!(key(BreakerKind::Quota, Some("flash-2.5")), "painter.quota.flash-2=2e5");
        let odd = ["a.b", "a=2eb", "a b", "a/b", "ä", "*", ">"];
        let keys: std::collections::BTreeSet<String> =
            odd.iter().map(|model| key(BreakerKind::Failing, Some(model))).collect();
        assert_eq!(keys.len(), odd.len());
        assert!(
            keys.iter()
                .all(|key| key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_=.".contains(&byte)))
        );
    }
}
