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
    /// The odd end that is armed for a call of `generateContent`, if any.
    pub(super) fn odd_generated(&self, occasion: u64) -> Option<&'static str> {
        self.odd(&GENERATED, occasion)
    }

    /// The odd end that is armed for an interaction, if any.
    pub(super) fn odd_interaction(&self, occasion: u64) -> Option<&'static str> {
        self.odd(&INTERACTIONS, occasion)
    }

    fn odd(&self, names: &[&'static str], occasion: u64) -> Option<&'static str> {
        if let Some(name) = names.iter().find(|name| self.admin.take(name).is_some()) {
            return Some(name);
        }
        self.admin.take(ANY)?;
        let draw = chance::hash(self.config.seed, &[b"odd", &occasion.to_be_bytes()]);
        names.get((draw % names.len() as u64) as usize).copied()
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
