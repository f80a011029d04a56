//! A decision on its way through processes that only pass it on.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::Decision;
use crate::Encoding;
use crate::codec::{self, DecodeError};

/// A decision as it was written. In JSON it is the [`Decision`] itself; in MessagePack it is a binary value that holds
/// the decision as a MessagePack document of its own, so that a worker, which passes it on with the attempt's facts,
/// neither reads nor writes it.
#[derive(Clone)]
pub struct CarriedDecision(Arc<Carried>);

struct Carried {
    packed: Box<[u8]>,
    read: OnceLock<Result<Decision, DecodeError>>,
}

impl CarriedDecision {
    /// Writes a decision.
    #[must_use]
    pub fn new(decision: &Decision) -> Self {
        Self::packed(codec::encode(decision))
    }

    fn packed(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(Arc::new(Carried { packed: bytes.into(), read: OnceLock::new() }))
    }

    /// The decision, read once.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] when whoever wrote it did not write a decision.
    pub fn read(&self) -> Result<&Decision, &DecodeError> {
        self.0.read.get_or_init(|| Encoding::MessagePack.decode(&self.0.packed)).as_ref()
    }
}

impl PartialEq for CarriedDecision {
    fn eq(&self, other: &Self) -> bool {
        self.0.packed == other.0.packed
    }
}

impl fmt::Debug for CarriedDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(f)
    }
}

impl Serialize for CarriedDecision {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return serializer.serialize_bytes(&self.0.packed);
        }
        // Shown to somebody: what cannot be read is not there.
        self.read().ok().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for CarriedDecision {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = CarriedDecision;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a decision, or its MessagePack bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<CarriedDecision, E> {
                Ok(CarriedDecision::packed(bytes))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<CarriedDecision, A::Error> {
                Decision::deserialize(MapAccessDeserializer::new(map)).map(|read| CarriedDecision::new(&read))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for CarriedDecision {
    fn schema_name() -> Cow<'static, str> {
        Decision::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Decision::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn it_is_an_object_in_json_and_bytes_in_message_pack_and_either_is_read() {
        let carried = CarriedDecision::new(&samples::decision());
        let json = Encoding::Json.encode(&carried);
        assert_eq!(json, Encoding::Json.encode(&samples::decision()));
        let packed = Encoding::MessagePack.encode(&carried);
        assert_eq!(packed[0] & 0xfc, 0xc4, "a binary value");
        for (encoding, bytes) in [
            (Encoding::Json, json),
            (Encoding::MessagePack, packed),
            (Encoding::MessagePack, Encoding::MessagePack.encode(&samples::decision())),
        ] {
            let read: CarriedDecision = encoding.decode(&bytes).expect("reads");
            assert_eq!(read, carried);
            assert_eq!(read.read(), Ok(&samples::decision()));
        }
    }

    #[test]
    fn what_is_no_decision_is_told_when_it_is_read_and_not_shown() {
        let carried: CarriedDecision =
            Encoding::MessagePack.decode(&[0xc4, 2, 0x91, 0xc0]).expect("passed on as it is");
        assert!(carried.read().is_err());
        assert_eq!(serde_json::to_string(&carried).expect("plain data"), "null");
    }
}
