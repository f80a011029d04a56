//! Fields that a message has and this version does not know. They are kept as they came and written again where they
//! were, so that a process of a newer version finds them; what follows from them is decided at intake
//! (`policy::admit::check_unknown`), and nowhere else.
//!
//! A message without such fields pays nothing for this: names are looked at as they pass, and no value is read twice.

mod catch;
mod fields;
mod of_job;
mod value;

pub(crate) use catch::catch;
pub use fields::UnknownFields;

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
