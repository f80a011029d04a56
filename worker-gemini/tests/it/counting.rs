//! The bill, as documented and otherwise, in our units.

use proptest::prelude::*;
use schemas::{Kind, Unit, Usage};
use serde_json::{Map, Value, json};
use worker_gemini::gemini::usage;
use worker_gemini::gemini::wire::{GenerateReply, Interaction};

use crate::world::{cost, picture, video};

fn counted(units: &[(Unit, u64)]) -> Vec<Usage> {
    units.iter().map(|&(unit, quantity)| Usage { unit, quantity }).collect()
}

fn of_generate(metadata: &Value, has_image: bool) -> Vec<Usage> {
    let reply: GenerateReply = serde_json::from_value(json!({"usageMetadata": metadata})).expect("a reply");
    usage::of_tokens(reply.tokens.as_ref(), Kind::Image, has_image)
}

#[test]
fn generate_content() {
    use Unit::{ImageToken, InputToken, TextToken};
    let full = json!({"promptTokenCount": 12, "candidatesTokenCount": 1120, "thoughtsTokenCount": 90,
        "totalTokenCount": 1222, "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}]});
    let with_words = json!({"promptTokenCount": 12, "candidatesTokenCount": 1129,
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}, {"modality": "TEXT", "tokenCount": 9}]});
    let bare = json!({"promptTokenCount": 12, "candidatesTokenCount": 1120});
    let thought = json!({"promptTokenCount": 12, "thoughtsTokenCount": 90});
    let cases = [
        (full, true, counted(&[(InputToken, 12), (TextToken, 90), (ImageToken, 1120)])),
        (with_words, true, counted(&[(InputToken, 12), (TextToken, 9), (ImageToken, 1120)])),
        (bare, true, counted(&[(InputToken, 12), (ImageToken, 1120)])),
        (Value::Null, true, vec![]),
        (Value::Null, false, vec![]),
        (json!({"promptTokenCount": 12}), false, counted(&[(InputToken, 12)])),
        (json!({"promptTokenCount": 0}), false, usage::nothing()),
        (thought.clone(), false, counted(&[(InputToken, 12), (TextToken, 90)])),
        // A picture is there and none was counted: not known, rather than cheap.
        (thought, true, vec![]),
    ];
    for (metadata, has_image, expected) in cases {
        assert_eq!(of_generate(&metadata, has_image), expected, "{metadata}");
    }
}

/// Totals against their parts, odd numbers and spellings. Of each: input, text and picture tokens; none where
/// it is not known.
#[test]
fn odd_bills() {
    let image = |tokens: Value| json!([{"modality": "IMAGE", "tokenCount": tokens}]);
    let cases: Vec<(Value, Option<[u64; 3]>)> = vec![
        // Totals below their parts.
        (
            json!({"promptTokenCount": 12, "candidatesTokenCount": 0, "totalTokenCount": 12,
            "candidatesTokensDetails": image(json!(1120))}),
            Some([12, 0, 1120]),
        ),
        (
            json!({"candidatesTokenCount": 9, "candidatesTokensDetails": image(json!(1120))}),
            Some([0, 0, 1120]),
        ),
        (
            json!({"promptTokenCount": 3, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 12},
            {"modality": "IMAGE", "tokenCount": 1120}], "candidatesTokenCount": 1120}),
            Some([1132, 0, 1120]),
        ),
        // Totals above their parts: the rest is the dearest.
        (json!({"promptTokenCount": 12, "totalTokenCount": 1222}), Some([12, 0, 1210])),
        (json!({"totalTokenCount": 1222}), Some([0, 0, 1222])),
        (
            json!({"promptTokenCount": 12, "candidatesTokenCount": 1120, "thoughtsTokenCount": 90,
            "totalTokenCount": 1322}),
            Some([12, 90, 1220]),
        ),
        (
            json!({"candidatesTokenCount": 1129, "candidatesTokensDetails": image(json!(1120))}),
            Some([0, 0, 1129]),
        ),
        // Modalities of which we know nothing are the dearest.
        (
            json!({"candidatesTokenCount": 1120, "candidatesTokensDetails": [
            {"modality": "DOCUMENT", "tokenCount": 20}, {"modality": "HOLOGRAM", "tokenCount": 100},
            {"tokenCount": 1000}]}),
            Some([0, 0, 1120]),
        ),
        // Numbers in every form.
        (
            json!({"promptTokenCount": "12", "candidatesTokenCount": 1120.0, "thoughtsTokenCount": 89.5}),
            Some([12, 90, 1120]),
        ),
        (
            json!({"promptTokenCount": " 12 ", "candidatesTokenCount": "1120.0", "thoughtsTokenCount": null,
            "candidatesTokensDetails": null}),
            Some([12, 0, 1120]),
        ),
        (
            json!({"prompt_token_count": 12, "candidates_token_count": 1120, "thoughts_token_count": 5,
            "candidates_tokens_details": {"modality": "image", "token_count": 1120}}),
            Some([12, 5, 1120]),
        ),
        (
            json!({"candidatesTokensDetails": [{"modality": "TEXT"}, {"modality": "IMAGE", "tokens": 1120}, null]}),
            Some([0, 0, 1120]),
        ),
        (
            json!({"promptTokenCount": 12, "toolUsePromptTokenCount": 30, "candidatesTokenCount": 1120}),
            Some([42, 0, 1120]),
        ),
        // Figures that cannot be read: the whole total, where there is one, covers them.
        (
            json!({"promptTokenCount": 12, "candidatesTokenCount": "many", "totalTokenCount": 1132}),
            Some([12, 0, 1120]),
        ),
        (json!({"promptTokenCount": 12, "candidatesTokenCount": "many"}), None),
        (json!({"candidatesTokenCount": 1120, "thoughtsTokenCount": -3}), None),
        (json!({"candidatesTokenCount": 1120, "thoughtsTokenCount": []}), None),
        (json!({"candidatesTokenCount": 1120, "totalTokenCount": true}), None),
        (json!({"candidatesTokenCount": 1120, "candidatesTokensDetails": ["IMAGE"]}), None),
        (json!({"promptTokenCount": null}), None),
        (json!({}), None),
        (json!([]), None),
        (json!("free"), None),
    ];
    for (metadata, expected) in cases {
        let read = of_generate(&metadata, true);
        let of = |unit| read.iter().find(|part| part.unit == unit).map_or(0, |part| part.quantity);
        let read = (!read.is_empty()).then(|| [Unit::InputToken, Unit::TextToken, Unit::ImageToken].map(of));
        assert_eq!(read, expected, "{metadata}");
    }
}

#[test]
fn interactions() {
    use Unit::{ImageToken, InputToken, TextToken, VideoToken};
    let of = |status: &str, usage: Value, kind, has_media| {
        let reply: Interaction =
            serde_json::from_value(json!({"id": "v1", "status": status, "usage": usage}))
                .expect("an interaction");
        usage::of_interaction(&reply, kind, has_media)
    };
    let full = json!({"total_input_tokens": 30, "total_output_tokens": 34752, "total_thought_tokens": 5,
        "total_tokens": 34787, "output_tokens_by_modality": [{"modality": "video", "tokens": 34752}]});
    let bare = json!({"total_input_tokens": 30, "total_output_tokens": 1120});
    let empty = json!({"total_input_tokens": 30, "total_output_tokens": 0});
    let with_sound = json!({"total_output_tokens": "5900", "total_tokens": null, "outputTokensByModality": [
        {"modality": "video", "tokens": 5792}, {"modality": "audio", "tokens": 100}, {"modality": "text", "tokens": 8}]});
    assert_eq!(
        of("completed", full, Kind::Video, true),
        counted(&[(InputToken, 30), (TextToken, 5), (VideoToken, 34752)])
    );
    assert_eq!(
        of("completed", with_sound, Kind::Video, true),
        counted(&[(InputToken, 0), (TextToken, 8), (VideoToken, 5892)])
    );
    assert_eq!(
        of("completed", bare.clone(), Kind::Image, true),
        counted(&[(InputToken, 30), (ImageToken, 1120)])
    );
    assert_eq!(of("completed", bare, Kind::Video, false), counted(&[(InputToken, 30), (VideoToken, 1120)]));
    assert_eq!(of("completed", empty.clone(), Kind::Video, true), vec![]);
    assert_eq!(of("completed", empty.clone(), Kind::Video, false), counted(&[(InputToken, 30)]));
    for unsaid in ["completed", "incomplete", "requires_action", "cancelled"] {
        assert_eq!(of(unsaid, Value::Null, Kind::Video, false), vec![], "{unsaid}");
    }
    assert_eq!(of("failed", Value::Null, Kind::Video, false), usage::nothing());
    assert_eq!(of("failed", empty.clone(), Kind::Video, false), counted(&[(InputToken, 30)]));
    assert_eq!(of("cancelled", empty, Kind::Video, false), counted(&[(InputToken, 30)]));
}

/// The figures of a bill, by their names; absent ones are not said.
#[derive(Debug, Clone)]
struct Figures {
    counts: [Option<u32>; 5],
    details: Vec<(&'static str, u32)>,
}

const NAMES: [&str; 5] = [
    "promptTokenCount",
    "toolUsePromptTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "totalTokenCount",
];

impl Figures {
    fn any() -> impl Strategy<Value = Self> {
        let modality = prop::sample::select(vec!["TEXT", "IMAGE", "VIDEO", "AUDIO", "DOCUMENT", "", "NEW"]);
        let counts = prop::array::uniform5(prop::option::of(0_u32..100_000));
        let details = prop::collection::vec((modality, 0_u32..50_000), 0..4);
        (counts, details).prop_map(|(counts, details)| Self { counts, details })
    }

    fn written(&self, as_text: bool) -> Value {
        let number = |tokens: u32| if as_text { json!(tokens.to_string()) } else { json!(f64::from(tokens)) };
        let counts = NAMES
            .iter()
            .zip(self.counts)
            .map(|(name, tokens)| ((*name).to_owned(), tokens.map_or(Value::Null, number)));
        let mut written: Map<String, Value> = counts.collect();
        let details = self.details.iter();
        let details: Vec<Value> = details
            .map(|(modality, tokens)| json!({"modality": modality, "tokenCount": number(*tokens)}))
            .collect();
        written.insert("candidatesTokensDetails".to_owned(), json!(details));
        Value::Object(written)
    }

    fn largest(&self) -> u32 {
        let details: u32 = self.details.iter().map(|(_, tokens)| tokens).sum();
        self.counts.into_iter().flatten().max().unwrap_or_default().max(details)
    }
}

proptest! {
    /// Whatever was counted has a price, never below what any one figure says at the cheapest price; and more
    /// of anything, with nothing else changed that contains it, is never cheaper.
    #[test]
    fn counted_tokens_are_never_free_and_more_is_never_cheaper(
        figures in Figures::any(), as_text: bool, which in 0_usize..5, more in 1_u32..1_000,
    ) {
        let assignment = picture();
        let price = |figures: &Figures| cost(&assignment, &of_generate(&figures.written(as_text), false));
        let before = price(&figures);
        prop_assert_eq!(before > 0, figures.largest() > 0, "{:?}", figures);
        // The cheapest unit is input, at half a micro-dollar.
        prop_assert!(before * 2 >= i64::from(figures.largest()), "{:?} for {}", figures, before);
        let mut dearer = figures.clone();
        dearer.counts[which] = Some(figures.counts[which].unwrap_or_default() + more);
        if NAMES[which] != "totalTokenCount" {
            // The total has it too, or says nothing.
            dearer.counts[4] = figures.counts[4].map(|total| total + more);
        }
        prop_assert!(price(&dearer) >= before, "{:?} is cheaper than {:?}", dearer, figures);
    }

    /// A picture that is there never costs nothing: its tokens are booked, or the whole reservation is.
    #[test]
    fn a_picture_is_counted_or_unknown(figures in Figures::any(), as_text: bool) {
        let usage = of_generate(&figures.written(as_text), true);
        let media = usage.iter().any(|part| part.unit == Unit::ImageToken && part.quantity > 0);
        prop_assert!(usage.is_empty() || media, "{:?}: {:?}", figures, usage);
    }
}

#[test]
fn every_unit_that_is_booked_has_a_price() {
    for (assignment, kind) in [(picture(), Kind::Image), (video(), Kind::Video)] {
        let odd = json!({"usageMetadata": {"promptTokenCount": 1, "thoughtsTokenCount": 1, "candidatesTokensDetails":
            [{"modality": "IMAGE", "tokenCount": 1}, {"modality": "VIDEO", "tokenCount": 1}, {"modality": "X", "tokenCount": 1}]}});
        let reply: GenerateReply = serde_json::from_value(odd).expect("a reply");
        assert!(cost(&assignment, &usage::of_tokens(reply.tokens.as_ref(), kind, true)) > 0, "{kind:?}");
    }
}
