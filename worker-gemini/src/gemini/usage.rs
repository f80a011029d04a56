//! The bill in our units. Usage comes only from what the API counted, never from list prices; where it
//! counted nothing, the usage is empty and the caller must not take that for free.
//!
//! Totals and their parts may disagree, and either may be missing. What was counted anywhere is booked, at
//! the dearest reading that the figures allow:
//! - the larger of a total and the sum of its parts;
//! - what a total has above its parts is media, the dearest that the service puts out;
//! - only what is called text is text, every other modality is media.

use schemas::{Kind, Unit, Usage};

use crate::gemini::lenient::Count;
use crate::gemini::wire::{Interaction, ModalityTokens, Status, Tokens};

/// Known, and nothing: the request never left, or the API says that it does not bill such an end.
#[must_use]
pub fn nothing() -> Vec<Usage> {
    vec![Usage { unit: Unit::InputToken, quantity: 0 }]
}

/// The tokens of a call that was to make `kind`. Empty where the figures do not say what it cost: none is
/// there, one cannot be read, or a file is there and nothing of its kind was counted.
#[must_use]
pub fn of_tokens(tokens: Option<&Tokens>, kind: Kind, has_media: bool) -> Vec<Usage> {
    let Some(tokens) = tokens.filter(|tokens| is_readable(tokens)) else { return Vec::new() };
    let input_parts = sum(&tokens.input_details, |_| true);
    let input = tokens.input.or_zero().max(input_parts).saturating_add(tokens.tool_input.or_zero());
    let text = sum(&tokens.output_details, is_text);
    let media = sum(&tokens.output_details, |modality| !is_text(modality));
    let output = tokens.output.or_zero().max(text.saturating_add(media));
    let thoughts = tokens.thoughts.or_zero();
    let parts = input.saturating_add(output).saturating_add(thoughts);
    let above = tokens.total.or_zero().saturating_sub(parts);
    let media = output.saturating_sub(text).saturating_add(above);
    if has_media && media == 0 {
        return Vec::new();
    }
    let unit = if kind == Kind::Video { Unit::VideoToken } else { Unit::ImageToken };
    listed(&[(Unit::InputToken, input), (Unit::TextToken, text.saturating_add(thoughts)), (unit, media)])
}

/// The tokens of an ended interaction. A failed one is not billed, by the documentation; of a cancelled one
/// it does not say. What was counted is booked all the same.
#[must_use]
pub fn of_interaction(interaction: &Interaction, kind: Kind, has_media: bool) -> Vec<Usage> {
    let usage = of_tokens(interaction.tokens.as_ref(), kind, has_media);
    let is_free = interaction.status == Status::Failed && !has_media && interaction.tokens.is_none();
    if is_free { nothing() } else { usage }
}

/// Whether the provider put anything out, and so charges for it.
#[must_use]
pub fn is_charged(usage: &[Usage]) -> bool {
    usage.iter().any(|part| part.unit != Unit::InputToken && part.quantity > 0)
}

/// Whether the figures say what the call cost. A figure that cannot be read is covered by the whole total.
fn is_readable(tokens: &Tokens) -> bool {
    let details = tokens.input_details.iter().chain(&tokens.output_details).map(|detail| detail.tokens);
    let parts = [tokens.input, tokens.tool_input, tokens.output, tokens.thoughts];
    let mut all = parts.into_iter().chain(details);
    match tokens.total {
        Count::Known(_) => true,
        Count::Unreadable => false,
        Count::Absent => {
            !all.clone().any(|count| count == Count::Unreadable) && all.any(|count| count != Count::Absent)
        }
    }
}

fn is_text(modality: &str) -> bool {
    modality.eq_ignore_ascii_case("text")
}

fn sum(details: &[ModalityTokens], of: impl Fn(&str) -> bool) -> u64 {
    let same = details.iter().filter(|detail| of(&detail.modality));
    same.fold(0, |sum, detail| sum.saturating_add(detail.tokens.or_zero()))
}

/// Input always, so that a counted nothing differs from a missing bill; the others where there are any.
fn listed(units: &[(Unit, u64)]) -> Vec<Usage> {
    let kept = units.iter().filter(|(unit, quantity)| *unit == Unit::InputToken || *quantity > 0);
    kept.map(|&(unit, quantity)| Usage { unit, quantity }).collect()
}
