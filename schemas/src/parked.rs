//! The operator's inbox: what ended `failed`, or could not be read.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::topology::MESSAGE_MAX_BYTES;
use crate::{AttemptFacts, Failure};

/// Up to so many bytes are kept as base64, which every version reads.
const BASE64_MAX_BYTES: usize = 600 * 1024;
/// What of a message that holds the original is left for the rest of it.
const REST_BYTES: usize = 128 * 1024;
/// The most bytes that are kept as they are. No job is as long (`limits.job_max_bytes`), so what is cut is none.
const BYTES_MAX: usize = MESSAGE_MAX_BYTES as usize - REST_BYTES;
/// What is kept of an original where the inbox fills up, bytes.
pub const BRIEF_BYTES_MAX: usize = 8 * 1024;

/// Something put aside with its reason. Published to `argosy.parked.<tenant>.<code>.<job>`; what cannot
/// be read has `unknown` for the names it does not tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Parked {
    /// Version of this message's schema.
    pub schema_version: u16,
    /// When, Unix milliseconds.
    pub time_ms: i64,
    /// Why.
    pub failure: Failure,
    /// Where the message was first published, for redriving it.
    pub subject: String,
    /// Its `Content-Type` header, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Its original bytes as base64, so that they survive both encodings; empty where `payload` has them.
    pub payload_base64: String,
    /// Its original bytes as they are, where base64 would make them longer than a message may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<RawBytes>,
    /// How long the original was, where it did not fit and is kept cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_from_bytes: Option<u64>,
    /// The attempts that were made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<AttemptFacts>,
}

/// Why the original bytes cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoOriginal {
    /// They are no base64.
    #[error("the original bytes are damaged: {0}")]
    Damaged(String),
    /// They were longer than a message may be, and only their beginning was kept.
    #[error("the original had {0} bytes, more than can be kept: only its beginning was")]
    Cut(u64),
}

impl Parked {
    /// Puts a message aside: whatever its length, what holds it can be published.
    #[must_use]
    pub fn new(
        time_ms: i64,
        failure: Failure,
        (subject, content_type, payload): (&str, Option<&str>, &[u8]),
        attempts: Vec<AttemptFacts>,
    ) -> Self {
        let as_base64 = payload.len() <= BASE64_MAX_BYTES;
        let kept = &payload[..payload.len().min(BYTES_MAX)];
        Self {
            schema_version: crate::SCHEMA_VERSION,
            time_ms,
            failure,
            subject: subject.to_owned(),
            content_type: content_type.map(|header| crate::text::cut(header, 1_000).into_owned()),
            payload_base64: if as_base64 { STANDARD.encode(payload) } else { String::new() },
            payload: (!as_base64).then(|| RawBytes(kept.to_vec())),
            cut_from_bytes: (kept.len() < payload.len()).then_some(payload.len() as u64),
            attempts,
        }
    }

    /// The same with no more than the beginning of its original: what an inbox that fills up still takes. An original
    /// that is short stays whole.
    #[must_use]
    pub fn brief(self) -> Self {
        let length = self.payload.as_ref().map_or(self.payload_base64.len() / 4 * 3, |raw| raw.0.len());
        if length <= BRIEF_BYTES_MAX {
            return self;
        }
        let Ok(mut kept) = self.kept() else { return self };
        let from_bytes = self.cut_from_bytes.unwrap_or(kept.len() as u64);
        kept.truncate(BRIEF_BYTES_MAX);
        let payload_base64 = STANDARD.encode(kept);
        Self { payload_base64, payload: None, cut_from_bytes: Some(from_bytes), ..self }
    }

    /// The bytes that are kept: the original ones, or their beginning.
    ///
    /// # Errors
    /// They are damaged.
    pub fn kept(&self) -> Result<Vec<u8>, NoOriginal> {
        match &self.payload {
            Some(RawBytes(bytes)) => Ok(bytes.clone()),
            None => {
                STANDARD.decode(&self.payload_base64).map_err(|error| NoOriginal::Damaged(error.to_string()))
            }
        }
    }

    /// The original bytes.
    ///
    /// # Errors
    /// They are damaged, or were cut.
    pub fn original(&self) -> Result<Vec<u8>, NoOriginal> {
        match self.cut_from_bytes {
            Some(bytes) => Err(NoOriginal::Cut(bytes)),
            None => self.kept(),
        }
    }
}

/// Bytes that MessagePack writes as they are, and JSON as a list of numbers.
#[derive(Clone, PartialEq, Eq, JsonSchema)]
pub struct RawBytes(pub Vec<u8>);

impl fmt::Debug for RawBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

impl Serialize for RawBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for RawBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BytesVisitor;

        impl<'de> Visitor<'de> for BytesVisitor {
            type Value = RawBytes;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<RawBytes, E> {
                Ok(RawBytes(bytes.to_vec()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RawBytes, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(RawBytes(bytes))
            }
        }

        deserializer.deserialize_bytes(BytesVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Encoding, FailureCode};

    fn parked(payload: &[u8]) -> Parked {
        let failure = Failure::new(FailureCode::InvalidJob, "no job");
        Parked::new(1, failure, ("argosy.jobs.standard.a", None, payload), Vec::new())
    }

    #[test]
    fn what_is_put_aside_fits_into_a_message_and_comes_back_whole() {
        for bytes in [0, 1, BASE64_MAX_BYTES, BASE64_MAX_BYTES + 1, 900_000, BYTES_MAX] {
            let payload: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
            let written = Encoding::MessagePack.encode(&parked(&payload));
            assert!(written.len() <= MESSAGE_MAX_BYTES as usize, "{bytes}: {}", written.len());
            let read: Parked = Encoding::MessagePack.decode(&written).expect("our own");
            assert_eq!(read.original().as_deref(), Ok(payload.as_slice()), "{bytes}");
            assert_eq!(read.payload_base64.is_empty(), bytes == 0 || bytes > BASE64_MAX_BYTES);
        }
        let as_json = Encoding::Json.encode(&parked(&vec![200; BASE64_MAX_BYTES + 1]));
        let read: Parked = Encoding::Json.decode(&as_json).expect("our own");
        assert_eq!(read.original().map(|bytes| bytes.len()), Ok(BASE64_MAX_BYTES + 1));
    }

    #[test]
    fn what_is_brief_keeps_a_short_original_and_the_beginning_of_a_long_one() {
        for bytes in [0, BRIEF_BYTES_MAX - 7] {
            let whole = parked(&vec![9; bytes]);
            assert_eq!(whole.clone().brief(), whole, "{bytes}");
        }
        for bytes in [2 * BRIEF_BYTES_MAX, BASE64_MAX_BYTES + 1, MESSAGE_MAX_BYTES as usize] {
            let brief = parked(&vec![9; bytes]).brief();
            assert!(Encoding::MessagePack.encode(&brief).len() < 2 * BRIEF_BYTES_MAX, "{bytes}");
            assert_eq!(brief.original(), Err(NoOriginal::Cut(bytes as u64)));
            assert_eq!(brief.kept().map(|kept| kept.len()), Ok(BRIEF_BYTES_MAX), "{bytes}");
        }
    }

    #[test]
    fn what_is_longer_than_a_message_is_cut_and_says_so() {
        let parked = parked(&vec![7; MESSAGE_MAX_BYTES as usize]);
        assert!(Encoding::MessagePack.encode(&parked).len() <= MESSAGE_MAX_BYTES as usize);
        assert_eq!(parked.kept().map(|bytes| bytes.len()), Ok(BYTES_MAX));
        assert_eq!(parked.original(), Err(NoOriginal::Cut(1_048_576)));
    }
}
