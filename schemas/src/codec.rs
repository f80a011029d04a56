//! Bytes to messages and back.
//!
//! MessagePack maps (named fields, so their order is not part of the contract) are the default; JSON
//! is accepted wherever MessagePack is. Without a header the first byte decides: a JSON object starts
//! with `{` (0x7b) after blanks, which as MessagePack would be the number 123 and never a message.

mod unhinted;

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;

use unhinted::Unhinted;

use crate::text::cut_owned;

/// How deep a message may nest. `serde_json` has the same limit; that of `rmp_serde`, 1024, needs more stack
/// than a thread that serves requests has.
pub const DEPTH_MAX: usize = 128;

/// How much of a field's path an error names.
const FIELD_MAX_BYTES: usize = 200;
/// How much an error says.
const WORDS_MAX_BYTES: usize = 500;

/// What most messages have room in: a buffer that grows as it is written is copied each time.
const USUAL_BYTES: usize = 1_536;

/// The header that names the encoding.
pub const CONTENT_TYPE: &str = "Content-Type";

/// How a message's bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// `application/msgpack`: maps with named fields.
    #[default]
    MessagePack,
    /// `application/json`.
    Json,
}

/// Why bytes are not the message they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The header names an encoding we do not read.
    #[error("Content-Type `{0}` is not supported: use application/msgpack or application/json")]
    ContentType(String),
    /// The bytes do not fit the message.
    #[error("field `{field}`: {message}")]
    Malformed {
        /// Path of the offending field, `.` for the message as a whole.
        field: String,
        /// What is wrong with it.
        message: String,
    },
}

impl Encoding {
    /// The `Content-Type` to send.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::MessagePack => "application/msgpack",
            Self::Json => "application/json",
        }
    }

    /// The encoding of a received message.
    ///
    /// # Errors
    /// [`DecodeError::ContentType`] when the header names something else.
    pub fn detect(content_type: Option<&str>, bytes: &[u8]) -> Result<Self, DecodeError> {
        let Some(header) = content_type else {
            let first = bytes.iter().find(|b| !b.is_ascii_whitespace());
            return Ok(if first == Some(&b'{') { Self::Json } else { Self::MessagePack });
        };
        match header.split(';').next().unwrap_or_default().trim() {
            "application/json" => Ok(Self::Json),
            "application/msgpack" | "application/x-msgpack" | "application/vnd.msgpack" => {
                Ok(Self::MessagePack)
            }
            other => Err(DecodeError::ContentType(other.to_owned())),
        }
    }

    /// Writes a message.
    ///
    /// # Panics
    /// Never for this crate's messages: their maps have string keys and their numbers are finite by type.
    #[must_use]
    pub fn encode<T: Serialize>(self, message: &T) -> Vec<u8> {
        match self {
            Self::MessagePack => {
                let mut bytes = Vec::with_capacity(USUAL_BYTES);
                let mut serializer = rmp_serde::Serializer::new(&mut bytes).with_struct_map();
                message.serialize(&mut serializer).expect("messages are plain data");
                bytes
            }
            Self::Json => serde_json::to_vec(message).expect("messages are plain data"),
        }
    }

    /// Reads a message; the error names the field.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] with the path of the first field that does not fit.
    pub fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, DecodeError> {
        match self {
            Self::MessagePack => {
                // Only what cannot be read is read twice: what can does not pay for keeping track of the path.
                T::deserialize(Unhinted(&mut message_pack(bytes))).or_else(|_| {
                    serde_path_to_error::deserialize(Unhinted(&mut message_pack(bytes))).map_err(malformed)
                })
            }
            Self::Json => {
                let mut deserializer = serde_json::Deserializer::from_slice(bytes);
                let message = serde_path_to_error::deserialize(&mut deserializer).map_err(malformed)?;
                deserializer.end().map_err(|error| DecodeError::Malformed {
                    field: ".".to_owned(),
                    message: error.to_string(),
                })?;
                Ok(message)
            }
        }
    }
}

/// A `Content-Type` to keep, which nearly always is the one that we send.
#[must_use]
pub fn content_type(header: &str) -> Cow<'static, str> {
    match Encoding::MessagePack.content_type() {
        ours if ours == header => Cow::Borrowed(ours),
        _ => Cow::Owned(header.to_owned()),
    }
}

/// Encodes as MessagePack, what our own processes speak.
#[must_use]
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    Encoding::MessagePack.encode(message)
}

/// Decodes by header, or by the first byte when there is none.
///
/// # Errors
/// As [`Encoding::detect`] and [`Encoding::decode`].
pub fn decode<T: DeserializeOwned>(content_type: Option<&str>, bytes: &[u8]) -> Result<T, DecodeError> {
    Encoding::detect(content_type, bytes)?.decode(bytes)
}

fn message_pack(bytes: &[u8]) -> rmp_serde::Deserializer<rmp_serde::decode::ReadRefReader<'_, [u8]>> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    deserializer.set_max_depth(DEPTH_MAX);
    deserializer
}

fn malformed<E: std::fmt::Display>(error: serde_path_to_error::Error<E>) -> DecodeError {
    // Both may hold a client's text: the name of a label, a value in the wrong place.
    let field = cut_owned(error.path().to_string(), FIELD_MAX_BYTES);
    DecodeError::Malformed { field, message: cut_owned(error.into_inner().to_string(), WORDS_MAX_BYTES) }
}
