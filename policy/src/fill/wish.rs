//! What may be wanted of a workflow, and the values.

use std::collections::BTreeMap;
use std::fmt;

use schemas::{Body, catalog};
use serde_json::Value;

/// What a client may want of a workflow without naming a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wish {
    /// What the picture shows.
    Prompt,
    /// What it does not show.
    NegativePrompt,
    /// Where its noise begins.
    Seed,
    /// Sampling steps.
    Steps,
    /// Pixels.
    Width,
    /// Pixels.
    Height,
    /// Length of a video.
    Duration,
}

impl Wish {
    /// Every wish, in the order in which they are reported.
    pub const ALL: [Self; 7] = [
        Self::Prompt,
        Self::NegativePrompt,
        Self::Seed,
        Self::Steps,
        Self::Width,
        Self::Height,
        Self::Duration,
    ];

    /// The field of a job's body that holds it.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::NegativePrompt => "negative_prompt",
            Self::Seed => "seed",
            Self::Steps => "steps",
            Self::Width => "width",
            Self::Height => "height",
            Self::Duration => "duration_ms",
        }
    }

    /// The placeholder that marks its input, as in the catalog's templates.
    #[must_use]
    pub const fn placeholder(self) -> &'static str {
        match self {
            Self::Prompt => "{{prompt}}",
            Self::NegativePrompt => "{{negative_prompt}}",
            Self::Seed => "{{seed}}",
            Self::Steps => "{{steps}}",
            Self::Width => "{{width}}",
            Self::Height => "{{height}}",
            Self::Duration => "{{frames}}",
        }
    }
}

/// What is wanted, as the values that the inputs get.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wishes(pub(super) BTreeMap<Wish, Value>);

impl Wishes {
    /// The wishes that a job's body holds.
    #[must_use]
    pub fn of(body: &Body) -> Self {
        let frames = body.duration_ms.map(catalog::frames);
        let all = [
            (Wish::Prompt, body.prompt.clone().map(Value::from)),
            (Wish::NegativePrompt, body.negative_prompt.clone().map(Value::from)),
            (Wish::Seed, body.seed.map(Value::from)),
            (Wish::Steps, body.steps.map(Value::from)),
            (Wish::Width, body.width.map(Value::from)),
            (Wish::Height, body.height.map(Value::from)),
            (Wish::Duration, frames.map(Value::from)),
        ];
        Self(all.into_iter().filter_map(|(wish, value)| Some((wish, value?))).collect())
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.field())
    }
}
