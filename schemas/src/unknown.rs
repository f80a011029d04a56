//! Fields that a message has and this version does not know. They are kept as they came and written again where they
//! were, so that a process of a newer version finds them; what follows from them is decided at intake
//! (`policy::admit::check_unknown`), and nowhere else.
//!
//! A message without such fields pays nothing for this: names are looked at as they pass, and no value is read twice.

mod catch;
mod value;

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::Job;

pub(crate) use catch::catch;

/// The fields of one part of a message that this version does not know, by name.
///
/// MessagePack says more than JSON: a binary value is kept as the list of its bytes, a number that is not finite as
/// null, the name of a field that is no text as JSON would write it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct UnknownFields(BTreeMap<String, Value>);

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

/// Reads and writes a type whose field `unknown` has its unknown fields. What serde derives with
/// `#[serde(remote = "Self")]` are functions of the type itself, which read and write what is known.
macro_rules! keeps_unknown_fields {
    ($($name:ident),*) => { $(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                struct Known<'a>(&'a $name);
                impl serde::Serialize for Known<'_> {
                    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                        $name::serialize(self.0, serializer)
                    }
                }
                if self.unknown.is_empty() {
                    return Known(self).serialize(serializer);
                }
                self.unknown.serialize_after(Known(self), serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let (read, unknown) = $crate::unknown::catch(deserializer, |known| $name::deserialize(known))?;
                Ok(Self { unknown, ..read })
            }
        }
    )* };
}

pub(crate) use keeps_unknown_fields;

/// Fields that a job's warnings name.
const WARNINGS_MAX: usize = 16;

/// Characters of a field's name in a warning.
const NAME_MAX_CHARS: usize = 60;

impl Job {
    /// Every part that keeps unknown fields, with what the names of its fields begin with.
    fn parts(&self) -> impl Iterator<Item = (String, &UnknownFields)> {
        let inputs = self.body.inputs.iter().enumerate();
        let inputs = inputs.flat_map(|(nth, input)| {
            [
                (format!("body.inputs[{nth}]."), &input.unknown),
                (format!("body.inputs[{nth}].artifact."), &input.artifact.unknown),
            ]
        });
        let parts = [
            ("", &self.unknown),
            ("body.", &self.body.unknown),
            ("constraints.", &self.constraints.unknown),
            ("preferences.", &self.preferences.unknown),
        ];
        parts.into_iter().map(|(prefix, unknown)| (prefix.to_owned(), unknown)).chain(inputs)
    }

    /// This version knows every field of it.
    #[must_use]
    pub fn is_known(&self) -> bool {
        let parts = [&self.unknown, &self.body.unknown, &self.constraints.unknown, &self.preferences.unknown];
        parts
            .into_iter()
            .chain(self.body.inputs.iter().flat_map(|input| [&input.unknown, &input.artifact.unknown]))
            .all(UnknownFields::is_empty)
    }

    /// Its fields that this version does not know, with their values: `body.inputs[0].mask`.
    #[must_use]
    pub fn unknown_fields(&self) -> Vec<(String, &Value)> {
        if self.is_known() {
            return Vec::new();
        }
        let named = self.parts().flat_map(|(prefix, unknown)| {
            unknown.iter().map(move |(name, value)| (format!("{prefix}{}", shortened(name)), value))
        });
        named.collect()
    }

    /// What its events say about them: one warning for each field, so many at most, and then how many more there are.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let unknown = self.unknown_fields();
        let mut warnings: Vec<String> =
            unknown.iter().take(WARNINGS_MAX).map(|(field, _)| warning(field)).collect();
        if unknown.len() > WARNINGS_MAX {
            warnings.push(format!("and {} more unknown fields", unknown.len() - WARNINGS_MAX));
        }
        warnings
    }
}

fn warning(field: &str) -> String {
    format!("field {field} is not known and has no effect")
}

/// A field's name, cut with a mark, and without what a terminal would not show.
fn shortened(name: &str) -> String {
    let mut chars = name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    let mut short: String = chars.by_ref().take(NAME_MAX_CHARS).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}
