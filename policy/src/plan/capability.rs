//! What a backend's workers can do for a job: who is fresh, well, and has what it needs.

use std::collections::BTreeSet;

use schemas::{Class, FilterReason, Health, Offer, Rejection, Service};

use super::PlanInput;
use crate::fleet::BackendView;

/// The workers that could take the job now, added up.
#[derive(Default)]
pub(super) struct Capacity {
    pub(super) slots: u32,
    /// Slots of all its healthy workers, whatever they can do.
    pub(super) slots_well: u32,
    /// Mean of what they learned about the class, milliseconds.
    pub(super) learned_ms: Option<u64>,
    pub(super) simulated: bool,
    pub(super) rejections: Vec<Rejection>,
    /// Models and nodes that the closest worker lacks.
    pub(super) missing: Vec<String>,
}

/// Adds up the workers of a backend that could take the job.
pub(super) fn capacity(
    input: &PlanInput<'_>,
    view: Option<&BackendView>,
    service: Option<&Service>,
) -> Capacity {
    let max_age_ms = i64::try_from(input.policy.offer_max_age_ms).unwrap_or(i64::MAX);
    let is_fresh = |offer: &&Offer| input.now_ms.saturating_sub(offer.time_ms) < max_age_ms;
    let fresh: Vec<&Offer> = view.map_or(&[][..], |view| &view.offers).iter().filter(is_fresh).collect();
    let well: Vec<&Offer> = fresh.iter().copied().filter(|offer| is_well(offer, input.now_ms)).collect();
    let making: Vec<&Offer> = well.iter().copied().filter(|offer| makes(offer, input)).collect();
    let able: Vec<&Offer> =
        making.iter().copied().filter(|offer| lacks(offer, input, service).is_empty()).collect();

    let mut capacity = sum(if able.is_empty() { &making } else { &able }, input);
    capacity.slots_well = slots(&well);
    capacity.simulated = fresh.iter().any(|offer| offer.simulated);
    if fresh.is_empty() {
        capacity.reject(FilterReason::NoWorker, "no worker of it is there");
    } else if well.is_empty() {
        capacity.reject(FilterReason::Unhealthy, unwell_words(&fresh));
    } else if able.is_empty() {
        let unwell = fresh.iter().any(|offer| {
            !is_well(offer, input.now_ms) && makes(offer, input) && lacks(offer, input, service).is_empty()
        });
        if unwell {
            capacity.reject(FilterReason::Unhealthy, "the worker that could run it is not well");
        } else if making.is_empty() {
            let class = &input.admitted.class;
            capacity
                .reject(FilterReason::CapabilityMissing, format!("none of its workers makes class {class}"));
        } else {
            let closest = making.iter().map(|offer| lacks(offer, input, service)).min_by_key(Vec::len);
            capacity.missing = closest.unwrap_or_default();
            let words = format!("none of its workers has {}", capacity.missing.join(", "));
            capacity.reject(FilterReason::CapabilityMissing, words);
        }
    }
    capacity
}

impl Capacity {
    fn reject(&mut self, reason: FilterReason, detail: impl Into<String>) {
        self.rejections.push(Rejection { reason, detail: detail.into() });
    }
}

fn is_well(offer: &Offer, now_ms: i64) -> bool {
    offer.health == Health::Healthy
        && offer.slots > 0
        && offer.unavailable_until_ms.is_none_or(|until_ms| until_ms <= now_ms)
}

fn makes(offer: &Offer, input: &PlanInput<'_>) -> bool {
    offer.classes.iter().any(|class| class.class == input.admitted.class)
}

fn unwell_words(fresh: &[&Offer]) -> String {
    let reason = fresh.iter().find_map(|offer| offer.health_reason.clone());
    let first = format!("none of its {} workers is well", fresh.len());
    reason.map_or(first.clone(), |reason| format!("{first}: {reason}"))
}

/// What a worker lacks for the job, as far as it says what it has.
///
/// A service that runs workflows needs nodes, files and memory; one that only takes prompts needs its
/// provider's model.
fn lacks(offer: &Offer, input: &PlanInput<'_>, service: Option<&Service>) -> Vec<String> {
    let Some(service) = service else { return Vec::new() };
    let absent = |needed: &BTreeSet<String>, present: &Option<BTreeSet<String>>| -> Vec<String> {
        present.as_ref().map_or_else(Vec::new, |present| needed.difference(present).cloned().collect())
    };
    if !service.workflows {
        return absent(&BTreeSet::from([service.model.clone()]), &offer.models);
    }
    let needs = &input.admitted.requirements;
    let mut missing = absent(&needs.models, &offer.models);
    missing.extend(absent(&needs.nodes, &offer.nodes));
    let vram_bytes = input.catalog.class(&input.admitted.class).map_or(0, |spec| spec.vram_bytes);
    if let Some(most) = offer.gpus.iter().map(|gpu| gpu.vram_total_bytes).max()
        && most < vram_bytes
    {
        missing.push(format!("{vram_bytes} bytes of GPU memory (the largest has {most})"));
    }
    missing
}

fn sum(offers: &[&Offer], input: &PlanInput<'_>) -> Capacity {
    let learned_ms = learned_ms(offers.iter().copied(), &input.admitted.class);
    Capacity { slots: slots(offers), learned_ms, ..Capacity::default() }
}

fn slots(offers: &[&Offer]) -> u32 {
    offers.iter().map(|offer| offer.slots).fold(0, u32::saturating_add)
}

/// Mean of what workers learned about a class, milliseconds.
pub(super) fn learned_ms<'a>(offers: impl IntoIterator<Item = &'a Offer>, class: &Class) -> Option<u64> {
    let classes = offers.into_iter().flat_map(|offer| &offer.classes).filter(|offer| offer.class == *class);
    let (count, total) = classes
        .filter_map(|offer| offer.learned_ms)
        .fold((0u128, 0u128), |(count, total), ms| (count + 1, total + u128::from(ms)));
    (count > 0).then(|| u64::try_from(total / count.max(1)).unwrap_or(u64::MAX))
}
