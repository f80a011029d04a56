//! Reads a [`Fact`] by its kind, which every writer of ours puts first: then each field goes where it belongs as it
//! comes. What serde derives for a tag inside its map keeps all fields of the message until it has found the tag,
//! which was two fifths of what reading an event cost a ledger.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, IntoDeserializer, MapAccess, Unexpected,
    VariantAccess, Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_json::Value;

use super::{Fact, JobFacts};
use crate::{
    Artifact, AttemptFacts, Backend, Capability, Class, Decision, Failure, JobId, JobState, Manifest,
    MicroUsd, WorkerId,
};

/// The name of the field that says which fact it is.
const KIND: &str = "kind";

/// The fields of each kind, as in [`Fact`]: the compiler compares their names and types. What serde is told of them
/// counts here for reading, there for writing and for the JSON Schema.
#[derive(Deserialize)]
#[serde(remote = "Fact", rename_all = "snake_case")]
enum Fields {
    Assigned {
        facts: JobFacts,
        backend: Backend,
        class: Class,
        #[serde(default)]
        capability: Option<Capability>,
        model: String,
        reserved_micro_usd: MicroUsd,
        decision: Decision,
    },
    Running {
        facts: JobFacts,
        backend: Backend,
        worker: WorkerId,
        started_at_ms: i64,
    },
    Retrying {
        facts: JobFacts,
        ended_attempt: AttemptFacts,
        disposition: String,
        next_at_ms: i64,
    },
    Ended {
        facts: JobFacts,
        state: JobState,
        #[serde(default)]
        artifacts: Vec<Artifact>,
        #[serde(default)]
        manifest: Option<Manifest>,
        #[serde(default)]
        failure: Option<Failure>,
        #[serde(default)]
        attempts: Vec<AttemptFacts>,
    },
    Charged {
        facts: JobFacts,
        ended_attempt: AttemptFacts,
    },
    Refused {
        failure: Failure,
    },
    Duplicate {
        of: JobId,
    },
    #[serde(other)]
    Unknown,
}

impl<'de> Deserialize<'de> for Fact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FactVisitor)
    }
}

struct FactVisitor;

impl<'de> Visitor<'de> for FactVisitor {
    type Value = Fact;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a fact with its `kind`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fact, A::Error> {
        let mut before = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == KIND {
                let kind: String = map.next_value()?;
                let rest = Rest { before: before.into_iter(), value: None, map };
                return Fields::deserialize(Tagged { kind, rest });
            }
            before.push((name, map.next_value()?));
        }
        Err(A::Error::missing_field(KIND))
    }
}

/// The fields that are not the kind: those that came before it (as only others than we would write it), then those
/// that follow.
struct Rest<A> {
    before: std::vec::IntoIter<(String, Value)>,
    value: Option<Value>,
    map: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Rest<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Some((name, value)) = self.before.next() else { return self.map.next_key_seed(seed) };
        self.value = Some(value);
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        match self.value.take() {
            Some(value) => seed.deserialize(value).map_err(A::Error::custom),
            None => self.map.next_value_seed(seed),
        }
    }
}

/// A map that is one kind of a fact, in the form in which serde reads enums.
struct Tagged<A> {
    kind: String,
    rest: Rest<A>,
}

impl<'de, A: MapAccess<'de>> Deserializer<'de> for Tagged<A> {
    type Error = A::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, A: MapAccess<'de>> EnumAccess<'de> for Tagged<A> {
    type Error = A::Error;
    type Variant = Rest<A>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Rest<A>), A::Error> {
        let kind: StrDeserializer<'_, A::Error> = self.kind.as_str().into_deserializer();
        Ok((seed.deserialize(kind)?, self.rest))
    }
}

impl<'de, A: MapAccess<'de>> VariantAccess<'de> for Rest<A> {
    type Error = A::Error;

    fn unit_variant(mut self) -> Result<(), A::Error> {
        while self.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        visitor.visit_map(self)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, A::Error> {
        seed.deserialize(MapAccessDeserializer::new(self))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value, A::Error> {
        Err(A::Error::invalid_type(Unexpected::TupleVariant, &"a fact with its fields"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Encoding, samples};

    /// The kind goes last.
    fn turned(value: Value) -> String {
        let Value::Object(fields) = value else { unreachable!("a fact is a map") };
        let (kind, others): (Vec<_>, Vec<_>) = fields.into_iter().partition(|(name, _)| name == KIND);
        let fields = others.into_iter().chain(kind).map(|(name, value)| format!("{name:?}:{value}"));
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    }

    #[test]
    fn facts_are_read_wherever_the_kind_stands() {
        for event in samples::events() {
            assert_eq!(Fact::kind_named(event.fact.kind()), event.fact.kind());
            let turned = turned(serde_json::to_value(&event.fact).expect("JSON"));
            assert_eq!(serde_json::from_str::<Fact>(&turned).expect(&turned), event.fact);
            for encoding in [Encoding::Json, Encoding::MessagePack] {
                let bytes = encoding.encode(&event.fact);
                assert_eq!(encoding.decode::<Fact>(&bytes).expect("our own"), event.fact);
            }
        }
    }

    #[test]
    fn an_unknown_kind_is_passed_over_and_none_is_an_error() {
        for unknown in
            [r#"{"kind":"dreamt","facts":7,"of":[{}]}"#, r#"{"facts":7,"of":[{}],"kind":"dreamt"}"#]
        {
            assert_eq!(serde_json::from_str::<Fact>(unknown).expect(unknown), Fact::Unknown);
        }
        for (wrong, words) in [
            (r#"{"facts":7}"#, "missing field `kind`"),
            (r#"{"kind":"duplicate"}"#, "missing field `of`"),
            (r#"{"kind":7}"#, "invalid type: integer `7`, expected a string"),
            ("[]", "invalid type: sequence, expected a fact with its `kind`"),
        ] {
            let error = serde_json::from_str::<Fact>(wrong).expect_err(wrong).to_string();
            assert!(error.contains(words), "{wrong}: {error}");
        }
    }
}
