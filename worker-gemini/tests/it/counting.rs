//! The bill, as documented, in our units.

use schemas::{Kind, Unit, Usage};
use serde_json::{Value, json};
use worker_gemini::gemini::usage;
use worker_gemini::gemini::wire::{GenerateReply, Interaction};

fn counted(units: &[(Unit, u64)]) -> Vec<Usage> {
    units.iter().map(|&(unit, quantity)| Usage { unit, quantity }).collect()
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
        (Some(full), true, counted(&[(InputToken, 12), (TextToken, 90), (ImageToken, 1120)])),
        (Some(with_words), true, counted(&[(InputToken, 12), (TextToken, 9), (ImageToken, 1120)])),
        (Some(bare), true, counted(&[(InputToken, 12), (ImageToken, 1120)])),
        (None, true, vec![]),
        (None, false, usage::nothing()),
        (Some(json!({"promptTokenCount": 12})), false, usage::nothing()),
        (Some(thought), false, counted(&[(InputToken, 12), (TextToken, 90)])),
    ];
    for (metadata, has_image, expected) in cases {
        let reply: GenerateReply =
            serde_json::from_value(json!({"usageMetadata": metadata})).expect("a reply");
        assert_eq!(usage::of_generate(reply.usage_metadata.as_ref(), has_image), expected, "{metadata:?}");
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
    assert_eq!(
        of("completed", full, Kind::Video, true),
        counted(&[(InputToken, 30), (TextToken, 5), (VideoToken, 34752)])
    );
    assert_eq!(
        of("completed", bare.clone(), Kind::Video, true),
        counted(&[(InputToken, 30), (VideoToken, 1120)])
    );
    assert_eq!(
        of("completed", bare.clone(), Kind::Image, true),
        counted(&[(InputToken, 30), (ImageToken, 1120)])
    );
    assert_eq!(of("completed", bare, Kind::Image, false), counted(&[(InputToken, 30), (TextToken, 1120)]));
    assert_eq!(of("completed", Value::Null, Kind::Video, true), vec![]);
    assert_eq!(of("completed", empty.clone(), Kind::Video, false), usage::nothing());
    assert_eq!(of("failed", Value::Null, Kind::Video, false), usage::nothing());
    // What a cancel costs is not documented.
    assert_eq!(of("cancelled", Value::Null, Kind::Video, false), vec![]);
    assert_eq!(of("cancelled", empty, Kind::Video, false), counted(&[(InputToken, 30)]));
}
