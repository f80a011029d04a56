//! Answers that are successes to HTTP and unlike the documented one. All but the provider's own failures are
//! billed, for what was counted while they were made.

use serde_json::{Value, json};

use super::Gemini;
use super::models::Tokens;
use crate::chance;

/// Of `generateContent`.
const GENERATED: [&str; 8] = [
    "three_images",
    "words_only",
    "no_image",
    "finish_other",
    "draft_only",
    "null_fields",
    "totals_disagree",
    "details_missing",
];
/// Of interactions.
const INTERACTIONS: [&str; 7] = [
    "three_images",
    "words_only",
    "completed_without_content",
    "interaction_incomplete",
    "null_fields",
    "totals_disagree",
    "details_missing",
];
/// Draws one of them by seed and occasion.
const ANY: &str = "odd_answer";

/// What is said instead of a picture or a film.
pub(super) const WORDS: &str = "I can describe a lighthouse to you, but I will not draw one.";
const WORDS_TOKENS: u64 = 16;

impl Gemini {
    /// The odd end of a call of `generateContent`, if it has one: one that is armed, or one by chance.
    pub(super) fn odd_generated(&self, occasion: u64, answer: &Answer<'_>) -> Option<&'static str> {
        self.odd(&GENERATED, occasion, answer)
    }

    /// The odd end of an interaction, if it has one: one that is armed, or one by chance.
    pub(super) fn odd_interaction(&self, occasion: u64, answer: &Answer<'_>) -> Option<&'static str> {
        self.odd(&INTERACTIONS, occasion, answer)
    }

    fn odd(&self, names: &[&'static str], occasion: u64, answer: &Answer<'_>) -> Option<&'static str> {
        if let Some(name) = names.iter().find(|name| self.admin.take(name).is_some()) {
            return Some(name);
        }
        let one_of = |draw: u64| names.get((draw % names.len() as u64) as usize).copied();
        if self.admin.take(ANY).is_some() {
            return one_of(chance::hash(self.config.seed, &[b"odd", &occasion.to_be_bytes()]));
        }
        // By the id and not by the occasion: occasions begin anew when the simulator does.
        let draw = |what: &[u8]| chance::hash(self.config.seed, &[what, answer.id.as_bytes()]);
        let is_odd = draw(b"is odd") % 100 < u64::from(self.config.odd_answers_percent);
        is_odd.then(|| one_of(draw(b"odd")).filter(|odd| answer.keeps_to_cap(odd))).flatten()
    }
}

/// An answer that is not odd yet.
pub(super) struct Answer<'a> {
    /// The provider's id of it.
    pub(super) id: &'a str,
    /// What it counts when it is not odd.
    pub(super) usual: Tokens,
    /// The most tokens of pictures or films, words and thoughts together.
    pub(super) output_max: u64,
}

impl Answer<'_> {
    fn keeps_to_cap(&self, odd: &str) -> bool {
        let counted = tokens(Some(odd), self.usual);
        counted.media + counted.text + counted.thoughts <= self.output_max
    }
}

/// How many pictures or films there are.
pub(super) fn copies(odd: Option<&str>) -> u64 {
    match odd {
        Some("three_images") => 3,
        Some(
            "words_only"
            | "no_image"
            | "finish_other"
            | "completed_without_content"
            | "interaction_incomplete",
        ) => 0,
        _ => 1,
    }
}

/// What is counted, and billed, when an answer ends so.
pub(super) fn tokens(odd: Option<&str>, usual: Tokens) -> Tokens {
    let media = usual.media * copies(odd);
    let (text, thoughts) = match odd {
        Some("words_only") => (WORDS_TOKENS, usual.thoughts),
        Some("interaction_incomplete") => (WORDS_TOKENS, 0),
        // What is `null` in the answer was not there.
        Some("completed_without_content" | "null_fields") => (0, 0),
        _ => (usual.text, usual.thoughts),
    };
    Tokens { text, thoughts, media, ..usual }
}

/// `usageMetadata` of `generateContent`.
pub(super) fn generated_usage(odd: Option<&str>, tokens: Tokens) -> Value {
    let mut details: Vec<Value> = Vec::new();
    for (modality, count) in [("IMAGE", tokens.media), ("TEXT", tokens.text)] {
        if count > 0 {
            details.push(json!({"modality": modality, "tokenCount": count}));
        }
    }
    let mut usage = json!({
        "promptTokenCount": tokens.input, "candidatesTokenCount": tokens.media + tokens.text,
        "thoughtsTokenCount": tokens.thoughts, "totalTokenCount": tokens.total(),
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens.input}],
        "candidatesTokensDetails": details,
    });
    match odd {
        Some("null_fields") => {
            for name in ["thoughtsTokenCount", "promptTokensDetails", "candidatesTokensDetails"] {
                usage[name] = Value::Null;
            }
        }
        Some("totals_disagree") => {
            usage["candidatesTokenCount"] = json!(0);
            usage["totalTokenCount"] = json!(tokens.input);
        }
        Some("details_missing") => {
            usage["candidatesTokensDetails"] = Value::Null;
            usage["candidatesTokenCount"] = json!((tokens.media + tokens.text).to_string());
            usage["promptTokenCount"] = json!(tokens.input as f64);
        }
        _ => {}
    }
    usage
}

/// `usage` of an interaction.
pub(super) fn interaction_usage(odd: Option<&str>, tokens: Tokens, modality: &str) -> Value {
    let mut details: Vec<Value> = Vec::new();
    for (modality, count) in [(modality, tokens.media), ("text", tokens.text)] {
        if count > 0 {
            details.push(json!({"modality": modality, "tokens": count}));
        }
    }
    let mut usage = json!({"total_input_tokens": tokens.input, "total_output_tokens": tokens.media + tokens.text,
        "total_thought_tokens": tokens.thoughts, "total_tokens": tokens.total(),
        "output_tokens_by_modality": details});
    match odd {
        Some("null_fields") => {
            (usage["total_thought_tokens"], usage["output_tokens_by_modality"]) = (Value::Null, Value::Null);
        }
        Some("totals_disagree") => {
            (usage["total_output_tokens"], usage["total_tokens"]) = (json!(0), json!(tokens.input));
        }
        Some("details_missing") => {
            usage["output_tokens_by_modality"] = json!([]);
            usage["total_output_tokens"] = json!((tokens.media + tokens.text).to_string());
        }
        _ => {}
    }
    usage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_pictures_keep_to_a_cap_only_where_there_is_room_for_them() {
        let usual = Tokens { input: 10, text: 0, thoughts: 70, media: 1120 };
        let keeps = |odd: &str, output_max| Answer { id: "a", usual, output_max }.keeps_to_cap(odd);
        assert!(keeps("words_only", 1190) && keeps("totals_disagree", 1190));
        assert!(!keeps("three_images", 3429) && keeps("three_images", 3430));
    }

    #[test]
    fn what_is_null_or_nothing_is_not_billed_and_copies_are() {
        let usual = Tokens { input: 10, text: 0, thoughts: 70, media: 1120 };
        assert_eq!(tokens(None, usual), usual);
        assert_eq!(tokens(Some("three_images"), usual).media, 3360);
        assert_eq!(tokens(Some("null_fields"), usual), Tokens { thoughts: 0, ..usual });
        assert_eq!(tokens(Some("no_image"), usual), Tokens { media: 0, ..usual });
        let usage = generated_usage(Some("totals_disagree"), usual);
        assert_eq!((&usage["candidatesTokenCount"], &usage["totalTokenCount"]), (&json!(0), &json!(10)));
    }
}
