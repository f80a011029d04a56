//! The unknown fields of one part of a message.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::Value;

/// The fields of one part of a message that this version does not know, by name.
///
/// MessagePack says more than JSON: a binary value is kept as the list of its bytes, a number that is not finite as
/// null, the name of a field that is no text as JSON would write it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct UnknownFields(pub(super) BTreeMap<String, Value>);

impl UnknownFields {
    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Puts one there.
    pub fn insert(&mut self, name: impl Into<String>, value: Value) {
        self.0.insert(name.into(), value);
    }

    /// Writes a message with its unknown fields after its own.
    pub(crate) fn serialize_after<S: Serializer>(
        &self,
        known: impl Serialize,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Both<'a, K> {
            #[serde(flatten)]
            known: K,
            #[serde(flatten)]
            unknown: &'a BTreeMap<String, Value>,
        }
        Both { known, unknown: &self.0 }.serialize(serializer)
    }
}
