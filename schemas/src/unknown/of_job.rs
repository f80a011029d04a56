//! The unknown fields of a whole job, and what its events say about them.

use serde_json::Value;

use crate::{Job, UnknownFields};

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
