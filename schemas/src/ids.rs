//! Typed names. A tenant is never mistaken for a backend, and nothing that could break a subject
//! (a dot, a star, a blank) gets past decoding.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::{Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// The longest token (tenant, backend, class, worker) in bytes.
pub const TOKEN_MAX_BYTES: usize = 64;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a canonical UUID.
    #[error("`{0}` is not a UUID: use a lower-case hyphenated UUIDv7, for example the output of `uuid7()`")]
    NotUuid(String),
    /// Not a subject token.
    #[error("`{0}` is not a valid name: use 1 to {TOKEN_MAX_BYTES} of the characters a-z, 0-9, `-` and `_`")]
    NotToken(String),
    /// Not `<job>.<attempt>`.
    #[error("`{0}` is not an attempt id: it is written <job>.<attempt number>")]
    NotAttempt(String),
    /// Not the number of what a server has.
    #[error("`{0}` is not a capability: it is written with 8 of the characters 0-9 and a-f")]
    NotCapability(String),
}

/// A job's id, chosen by the client: a UUID, version 7 by convention (it sorts by time).
///
/// Always a lower-case hyphenated string on the wire, in both encodings.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
#[schemars(transparent)]
pub struct JobId(pub Uuid);

impl JobId {
    /// A new id that sorts by the given time.
    ///
    /// `entropy` supplies the random part, so that callers stay deterministic where they must.
    #[must_use]
    pub fn from_parts(time_ms: i64, entropy: [u8; 10]) -> Self {
        let millis = u64::try_from(time_ms).unwrap_or_default();
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &entropy).into_uuid())
    }

    /// When it was made, by the clock of whoever made it, Unix milliseconds; none of an id that is no UUIDv7.
    #[must_use]
    pub fn time_ms(self) -> Option<i64> {
        let (seconds, nanoseconds) = self.0.get_timestamp().filter(|_| self.is_v7())?.to_unix();
        i64::try_from(seconds * 1_000 + u64::from(nanoseconds) / 1_000_000).ok()
    }

    fn is_v7(self) -> bool {
        self.0.get_version() == Some(uuid::Version::SortRand)
    }

    /// A new id for now, with the system's randomness.
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl Default for JobId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for JobId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let uuid = Uuid::try_parse(text).map_err(|_| IdError::NotUuid(text.to_owned()))?;
        // One spelling only: the id is part of subjects and message ids.
        let spelled = uuid.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text;
        if spelled { Ok(Self(uuid)) } else { Err(IdError::NotUuid(text.to_owned())) }
    }
}

impl Serialize for JobId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }
}

impl<'de> Deserialize<'de> for JobId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Name(Self::from_str))
    }
}

/// Reads a name from a text where it lies.
struct Name<T>(fn(&str) -> Result<T, IdError>);

impl<T> Visitor<'_> for Name<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).map_err(E::custom)
    }

    // As texts are read everywhere else: old MessagePack libraries write bytes.
    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<T, E> {
        let text = std::str::from_utf8(bytes);
        text.map_err(|_| E::invalid_value(Unexpected::Bytes(bytes), &self))
            .and_then(|text| self.visit_str(text))
    }
}

/// One try of one job: `<job>.<attempt>`, attempts counting from 1. Also the key in the `ATTEMPTS` bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// The job.
    pub job: JobId,
    /// The attempt's number, from 1.
    pub attempt: u32,
}

impl AttemptId {
    /// A UUID derived from the attempt: the same attempt always gives the same one.
    ///
    /// It is what ComfyUI knows the work by (`prompt_id`), so a restarted worker can find it again.
    #[must_use]
    pub fn derived_uuid(&self) -> Uuid {
        Uuid::new_v5(&self.job.0, self.attempt.to_string().as_bytes())
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.job, self.attempt)
    }
}

impl FromStr for AttemptId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bad = || IdError::NotAttempt(text.to_owned());
        let (job, attempt) = text.split_once('.').ok_or_else(bad)?;
        Ok(Self { job: job.parse()?, attempt: attempt.parse().map_err(|_| bad())? })
    }
}

fn is_token(text: &str) -> bool {
    (1..=TOKEN_MAX_BYTES).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

macro_rules! token {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Checks and takes a name.
            ///
            /// # Errors
            /// [`IdError::NotToken`] unless it is 1 to 64 of `a-z`, `0-9`, `-`, `_`.
            pub fn new(text: &str) -> Result<Self, IdError> {
                if is_token(text) { Ok(Self(text.into())) } else { Err(IdError::NotToken(text.to_owned())) }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Name(Self::new))
            }
        }
    };
}

token!(
    /// Who the job is for and who pays.
    Tenant
);
token!(
    /// Where jobs run: `local`, `cloud`, `gemini`, or another that is configured.
    Backend
);
token!(
    /// What a job needs of a backend: a row of the catalog.
    Class
);
token!(
    /// One worker process.
    WorkerId
);
