//! Stands between a map and the code that serde derives for a struct, and keeps what that code would pass over.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::Value;

use super::fields::UnknownFields;
use super::value::AnyValue;

/// Reads a struct by what serde derived for it, and the fields that this passed over.
pub(crate) fn catch<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    read: impl FnOnce(Catch<'_, D>) -> Result<T, D::Error>,
) -> Result<(T, UnknownFields), D::Error> {
    let mut unknown = BTreeMap::new();
    let read = read(Catch { inner: deserializer, unknown: &mut unknown })?;
    Ok((read, UnknownFields(unknown)))
}

/// The deserializer of a struct.
pub(crate) struct Catch<'a, D> {
    inner: D,
    unknown: &'a mut BTreeMap<String, Value>,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Catch<'_, D> {
    type Error = D::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_struct(name, fields, CatchVisitor { inner: visitor, unknown: self.unknown })
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_any(visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct CatchVisitor<'a, V> {
    inner: V,
    unknown: &'a mut BTreeMap<String, Value>,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for CatchVisitor<'_, V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(formatter)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(CatchMap { inner: map, name: Cow::Borrowed(""), unknown: self.unknown })
    }

    // By position, as some MessagePack libraries write structs: there are no names that could be unknown.
    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(seq)
    }
}

struct CatchMap<'a, 'de, A> {
    inner: A,
    /// The field whose value is next.
    name: Cow<'de, str>,
    unknown: &'a mut BTreeMap<String, Value>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for CatchMap<'_, 'de, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        self.inner.next_key_seed(Name { inner: seed, name: &mut self.name })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        let Self { inner, name, unknown } = self;
        inner.next_value_seed(FieldValue { inner: seed, name, unknown })
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

/// A field's name on its way, noted as it passes: as seed, as deserializer, as visitor.
struct Name<'a, 'de, T> {
    inner: T,
    name: &'a mut Cow<'de, str>,
}

impl<'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for Name<'_, 'de, K> {
    type Value = K::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<K::Value, D::Error> {
        self.inner.deserialize(Name { inner: deserializer, name: self.name })
    }
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Name<'_, 'de, D> {
    type Error = D::Error;

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_identifier(Name { inner: visitor, name: self.name })
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_any(Name { inner: visitor, name: self.name })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum ignored_any
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Name<'_, 'de, V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(formatter)
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<V::Value, E> {
        *self.name = Cow::Borrowed(text);
        self.inner.visit_borrowed_str(text)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<V::Value, E> {
        *self.name = Cow::Owned(text.to_owned());
        self.inner.visit_str(text)
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<V::Value, E> {
        *self.name = Cow::Owned(String::from_utf8_lossy(bytes).into_owned());
        self.inner.visit_bytes(bytes)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<V::Value, E> {
        *self.name = Cow::Owned(number.to_string());
        self.inner.visit_u64(number)
    }
}

/// A field's value on its way, as seed and as deserializer; kept where the struct has no field for it.
struct FieldValue<'a, 'de, T> {
    inner: T,
    name: &'a mut Cow<'de, str>,
    unknown: &'a mut BTreeMap<String, Value>,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for FieldValue<'_, 'de, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(FieldValue { inner: deserializer, name: self.name, unknown: self.unknown })
    }
}

macro_rules! forward {
    ($($method:ident($($argument:ident: $type:ty),*))*) => { $(
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method($($argument,)* visitor)
        }
    )* };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for FieldValue<'_, 'de, D> {
    type Error = D::Error;

    /// What derived code asks for where it has no field.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let value = AnyValue.deserialize(self.inner)?;
        self.unknown.insert(std::mem::take(self.name).into_owned(), value);
        visitor.visit_unit()
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }

    forward! {
        deserialize_any() deserialize_bool() deserialize_i8() deserialize_i16() deserialize_i32()
        deserialize_i64() deserialize_i128() deserialize_u8() deserialize_u16() deserialize_u32()
        deserialize_u64() deserialize_u128() deserialize_f32() deserialize_f64() deserialize_char()
        deserialize_str() deserialize_string() deserialize_bytes() deserialize_byte_buf() deserialize_option()
        deserialize_unit() deserialize_seq() deserialize_map() deserialize_identifier()
        deserialize_unit_struct(name: &'static str) deserialize_newtype_struct(name: &'static str)
        deserialize_tuple(len: usize) deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }
}
