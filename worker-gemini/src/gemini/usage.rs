//! The bill in our units. Usage comes only from what the API counted, never from list prices; where it
//! counted nothing, the usage is empty and the caller must not take that for free.

use schemas::{Kind, Unit, Usage};

use crate::gemini::wire::{Interaction, ModalityTokens, Status, UsageMetadata};

/// Known, and nothing: the request never left, or the API says that it does not bill such an end.
#[must_use]
pub fn nothing() -> Vec<Usage> {
    vec![Usage { unit: Unit::InputToken, quantity: 0 }]
}

/// The tokens of a `generateContent` call.
///
/// An answer without a picture is billed only for what the model put out; the prompt of a refusal is
/// counted and not billed. Without a breakdown, an answer with a picture is counted as picture tokens: the
/// dearer reading.
#[must_use]
pub fn of_generate(usage: Option<&UsageMetadata>, has_image: bool) -> Vec<Usage> {
    let Some(usage) = usage else { return if has_image { Vec::new() } else { nothing() } };
    if !has_image && usage.candidates_token_count == 0 && usage.thoughts_token_count == 0 {
        return nothing();
    }
    let details = &usage.candidates_tokens_details;
    let image = match details.is_empty() && has_image {
        true => usage.candidates_token_count,
        false => sum(details, "image"),
    };
    let text = usage.thoughts_token_count.saturating_add(usage.candidates_token_count.saturating_sub(image));
    listed(&[
        (Unit::InputToken, usage.prompt_token_count),
        (Unit::TextToken, text),
        (Unit::ImageToken, image),
    ])
}

/// The tokens of an ended interaction that was to make `kind`, read as above. Of a cancelled one the API
/// does not say whether it is billed: only a counted usage is believed.
#[must_use]
pub fn of_interaction(interaction: &Interaction, kind: Kind, has_media: bool) -> Vec<Usage> {
    let billed_unseen = has_media || interaction.status == Status::Cancelled;
    let Some(usage) = &interaction.usage else {
        return if billed_unseen { Vec::new() } else { nothing() };
    };
    let all = usage.total_output_tokens;
    if !billed_unseen && all == 0 && usage.total_thought_tokens == 0 {
        return nothing();
    }
    let details = &usage.output_tokens_by_modality;
    let (image, video) = match (details.is_empty() && has_media, kind) {
        (true, Kind::Video) => (0, all),
        (true, _) => (all, 0),
        (false, _) => (sum(details, "image"), sum(details, "video")),
    };
    let text = usage.total_thought_tokens.saturating_add(all.saturating_sub(image.saturating_add(video)));
    listed(&[
        (Unit::InputToken, usage.total_input_tokens),
        (Unit::TextToken, text),
        (Unit::ImageToken, image),
        (Unit::VideoToken, video),
    ])
}

fn sum(details: &[ModalityTokens], modality: &str) -> u64 {
    let same = details.iter().filter(|detail| detail.modality.eq_ignore_ascii_case(modality));
    same.fold(0, |sum, detail| sum.saturating_add(detail.tokens))
}

/// Input always, so that a counted nothing differs from a missing bill; the others where there are any.
fn listed(units: &[(Unit, u64)]) -> Vec<Usage> {
    let kept = units.iter().filter(|(unit, quantity)| *unit == Unit::InputToken || *quantity > 0);
    kept.map(|&(unit, quantity)| Usage { unit, quantity }).collect()
}
