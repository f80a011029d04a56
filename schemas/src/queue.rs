//! In which queue of a backend work waits: the third token of `argosy.work.<backend>.<queue>.<job>`.
//!
//! Workers of a backend that are alike share a queue for each class. Servers differ: one has a node or a model that
//! another lacks. Where a server lists what it has, its [`Capability`] sets its worker apart, and workers with the same one
//! share queues of their own. So work comes only to a server that can do it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Class;
use crate::ids::IdError;

/// Stands between class and capability; no name has it.
const BETWEEN: char = '+';

/// The namespace of capabilities: the same has the same capability in every process.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f0f_2d1e_54a7_4b51_9c0b_6a3d_35d0_11c7);

/// What a server has, as a number: 8 hexadecimal digits. Servers with the same nodes, models and memory have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Capability(u32);

impl Capability {
    /// The capability of a server with these nodes, models, choices of files, and bytes of memory in its largest GPU.
    #[must_use]
    pub fn of(
        nodes: &BTreeSet<String>,
        models: Option<&BTreeSet<String>>,
        file_choices: Option<&BTreeMap<String, BTreeSet<String>>>,
        vram_bytes: Option<u64>,
    ) -> Self {
        let bytes = rmp_serde::to_vec(&(nodes, models, file_choices, vram_bytes)).unwrap_or_default();
        let [a, b, c, d, ..] = *Uuid::new_v5(&NAMESPACE, &bytes).as_bytes();
        Self(u32::from_be_bytes([a, b, c, d]))
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl FromStr for Capability {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let bad = || IdError::NotCapability(text.to_owned());
        if text.len() != 8 || !text.bytes().all(is_digit) {
            return Err(bad());
        }
        u32::from_str_radix(text, 16).map(Self).map_err(|_| bad())
    }
}

impl From<Capability> for String {
    fn from(capability: Capability) -> Self {
        capability.to_string()
    }
}

impl TryFrom<String> for Capability {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

/// A queue of a backend: `<class>`, which all workers of the class read, or `<class>+<capability>`, which those read that
/// have this capability.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Queue {
    /// What is made.
    pub class: Class,
    /// Which servers can make it; none where all servers are alike.
    pub capability: Option<Capability>,
}

impl Queue {
    /// The queue that all workers of a class read.
    #[must_use]
    pub const fn of_class(class: Class) -> Self {
        Self { class, capability: None }
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.capability {
            None => self.class.fmt(f),
            Some(capability) => write!(f, "{}{BETWEEN}{capability}", self.class),
        }
    }
}

impl FromStr for Queue {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Ok(match text.split_once(BETWEEN) {
            None => Self::of_class(text.parse()?),
            Some((class, capability)) => {
                Self { class: class.parse()?, capability: Some(capability.parse()?) }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_queue_is_read_as_it_is_written() {
        for text in ["image-large", "image-large+0123abcd", "a_b+ffffffff"] {
            assert_eq!(text.parse::<Queue>().expect(text).to_string(), text);
        }
        for text in
            ["", "+0123abcd", "image+", "image+0123ABCD", "image+0123abc", "image+0123abcd+1", "Image"]
        {
            assert!(text.parse::<Queue>().is_err(), "{text}");
        }
    }

    #[test]
    fn servers_that_have_the_same_have_one_capability() {
        let nodes = names(&["KSampler", "SaveImage"]);
        let models = names(&["sdxl.safetensors"]);
        let choices = BTreeMap::from([("Loader".to_owned(), names(&["name"]))]);
        let of = Capability::of;
        let first = of(&nodes, Some(&models), Some(&choices), Some(24));
        assert_eq!(first, of(&nodes.clone(), Some(&models.clone()), Some(&choices), Some(24)));
        // It is written into subjects that outlive a process.
        assert_eq!(first.to_string(), "5ad05fb9");
        let others = [
            of(&names(&["KSampler"]), Some(&models), Some(&choices), Some(24)),
            of(&nodes, None, Some(&choices), Some(24)),
            of(&nodes, Some(&names(&["flux.safetensors"])), Some(&choices), Some(24)),
            of(&nodes, Some(&models), None, Some(24)),
            of(&nodes, Some(&models), Some(&choices), Some(12)),
            of(&nodes, Some(&models), Some(&choices), None),
        ];
        let different: BTreeSet<_> = others.into_iter().chain([first]).collect();
        assert_eq!(different.len(), 7);
    }
}
