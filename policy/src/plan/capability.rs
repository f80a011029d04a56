//! What a backend's workers can do for a job: who is fresh, well, and has what it needs.

use std::collections::BTreeSet;

use schemas::text::cut_owned;
use schemas::workflow::Requirements;
use schemas::{AttemptFacts, Backend, Capability, Class, FailureCode, FilterReason, Health, Offer, Service};

use super::PlanInput;
use super::rejections::Rejections;
use crate::dispose::code_of;
use crate::fleet::{BackendView, Known};

/// How much is said of what is missing: a workflow may name hundreds of files.
const WORDS_MAX_BYTES: usize = 500;

/// The workers that could take the job now, added up.
#[derive(Default)]
pub(super) struct Capacity {
    pub(super) slots: u32,
    /// Slots of all its healthy workers, whatever they can do.
    pub(super) slots_well: u32,
    /// Mean of what they learned about the class, milliseconds.
    pub(super) learned_ms: Option<u64>,
    pub(super) simulated: bool,
    /// Models and nodes that the closest worker lacks.
    pub(super) missing: Vec<String>,
    /// The same for each group of workers that take work from the same queues.
    pub(super) groups: Groups,
}

/// Groups of workers. A backend has few; beyond those a list is set aside.
#[derive(Default)]
pub(super) struct Groups {
    few: [Option<Group>; 4],
    more: Vec<Group>,
}

impl Groups {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.few.iter().flatten().chain(&self.more)
    }

    /// Only those of a capability.
    pub(super) fn retain(&mut self, capability: Option<Capability>) {
        for group in &mut self.few {
            *group = group.take().filter(|group| group.capability == capability);
        }
        self.more.retain(|group| group.capability == capability);
    }

    /// The group of a capability, which begins without slots.
    fn of(&mut self, capability: Option<Capability>) -> &mut Group {
        let Self { few, more } = self;
        let new = || Group { capability, slots_well: 0, able: Tally::default() };
        let is_it = |group: &Group| group.capability == capability;
        if let Some(at) = few.iter().position(|group| group.as_ref().is_none_or(is_it)) {
            return few[at].get_or_insert_with(new);
        }
        let at = more.iter().position(is_it).unwrap_or_else(|| {
            more.push(new());
            more.len() - 1
        });
        &mut more[at]
    }
}

/// Workers of a backend that take work from the same queues.
pub(super) struct Group {
    pub(super) capability: Option<Capability>,
    /// Slots of all that are healthy.
    pub(super) slots_well: u32,
    /// Those that could take the job now.
    able: Tally,
}

impl Group {
    /// Some could take the job now.
    pub(super) const fn is_able(&self) -> bool {
        self.able.workers > 0
    }

    /// Slots of these.
    pub(super) const fn slots(&self) -> u32 {
        self.able.slots
    }

    /// Mean of what these learned about the class, milliseconds.
    pub(super) fn learned_ms(&self) -> Option<u64> {
        self.able.learned_ms()
    }
}

/// Adds up the workers of a backend that could take the job, in one pass over their offers.
pub(super) fn capacity(
    input: &PlanInput<'_>,
    view: Option<&BackendView>,
    service: Option<&Service>,
    rejections: &mut Rejections,
) -> Capacity {
    let needs = Needs::of(input, service);
    let (mut fresh, mut making, mut able) = (0, Tally::default(), Tally::default());
    let mut capacity = Capacity::default();
    // Of those that are not well, or fell silent, one that could run it; of those that make the class, the closest.
    let (mut unwell_able, mut silent_able, mut closest) = (false, false, None);
    let mut kinds = Kinds::default();
    let left_out = left_out(input, view);
    for offer in view.map_or(&[][..], |view| &view.offers) {
        if !is_fresh(offer, input) {
            silent_able = silent_able || kinds.fit(offer, &needs, &input.admitted.class).is_able();
            continue;
        }
        fresh += 1;
        capacity.simulated |= offer.simulated;
        let fit = kinds.fit(offer, &needs, &input.admitted.class);
        if !is_well(offer, input.now_ms) {
            unwell_able = unwell_able || fit.is_able() || offer.classes.is_empty();
            continue;
        }
        let Fit { made, lacking } = fit;
        capacity.slots_well = capacity.slots_well.saturating_add(offer.slots);
        let group = capacity.groups.of(offer.capability);
        group.slots_well = group.slots_well.saturating_add(offer.slots);
        let Some(made) = made.filter(|_| !left_out.contains(&offer.capability)) else { continue };
        let learned_ms = offer.classes[made].learned_ms;
        making.add(offer, learned_ms);
        match lacking {
            0 => {
                group.able.add(offer, learned_ms);
                able.add(offer, learned_ms);
            }
            lacking if closest.is_none_or(|(least, _)| lacking < least) => closest = Some((lacking, offer)),
            _ => {}
        }
    }
    let counted = if able.workers > 0 { &able } else { &making };
    (capacity.slots, capacity.learned_ms) = (counted.slots, counted.learned_ms());
    if able.workers > 0 {
        return capacity;
    }
    if fresh == 0 {
        rejections.add(FilterReason::NoWorker, "no worker of it is there");
    } else if capacity.slots_well == 0 {
        rejections.add(FilterReason::Unhealthy, unwell_words(input, view, fresh));
    } else if unwell_able {
        rejections.add(FilterReason::Unhealthy, "the worker that could run it is not well");
    } else if silent_able {
        rejections.add(FilterReason::NoWorker, "the worker that could run it is silent");
    } else if let Some((_, closest)) = closest {
        capacity.missing = needs.missing(closest);
        let words = format!("none of its workers has {}", capacity.missing.join(", "));
        rejections.add(FilterReason::CapabilityMissing, cut_owned(words, WORDS_MAX_BYTES));
    } else {
        let class = &input.admitted.class;
        rejections.add(FilterReason::CapabilityMissing, format!("none of its workers makes class {class}"));
    }
    capacity
}

/// Models and nodes that a backend's closest worker lacks.
pub(super) fn missing(input: &PlanInput<'_>, backend: &Backend) -> Vec<String> {
    let service = input.catalog.service(backend, &input.admitted.class);
    capacity(input, input.fleet.view(backend), service, &mut Rejections::default()).missing
}

/// Workers that a job does not go to again, though others of their backend may have it: what such a worker's server said
/// it has, it had not, and the others that take work from the same queues say the same.
fn left_out(input: &PlanInput<'_>, view: Option<&BackendView>) -> Vec<Option<Capability>> {
    let offers = view.map_or(&[][..], |view| &view.offers);
    let offer_of = |facts: &AttemptFacts| {
        let worker = facts.worker.as_ref()?;
        offers.iter().find(|offer| offer.worker == *worker)
    };
    let lacked = input.history.iter().filter(|facts| code_of(facts) == Some(FailureCode::CapabilityMissing));
    lacked.filter_map(offer_of).map(|offer| offer.capability).filter(Option::is_some).collect()
}

/// Whether a backend has workers beside those that are left out because of what their server lacked.
pub(super) fn has_others(input: &PlanInput<'_>, backend: &Backend) -> bool {
    let view = input.fleet.view(backend);
    let left_out = left_out(input, view);
    let offers = view.map_or(&[][..], |view| &view.offers);
    !left_out.is_empty() && offers.iter().any(|offer| !left_out.contains(&offer.capability))
}

/// The groups of a backend's workers that could take the job, well or not, there or silent. One whose provider does not
/// answer may make anything.
pub(super) fn fitting(input: &PlanInput<'_>, backend: &Backend) -> BTreeSet<Option<Capability>> {
    let needs = Needs::of(input, input.catalog.service(backend, &input.admitted.class));
    let view = input.fleet.view(backend);
    let (left_out, mut kinds) = (left_out(input, view), Kinds::default());
    let mut fitting = BTreeSet::new();
    for offer in view.map_or(&[][..], |view| &view.offers) {
        if fitting.contains(&offer.capability) || left_out.contains(&offer.capability) {
            continue;
        }
        if kinds.fit(offer, &needs, &input.admitted.class).is_able() || offer.classes.is_empty() {
            fitting.insert(offer.capability);
        }
    }
    fitting
}

/// How a kind of worker fits the job.
#[derive(Clone, Copy)]
struct Fit {
    /// Which of its classes is the job's.
    made: Option<usize>,
    lacking: usize,
}

impl Fit {
    /// It makes the class and lacks nothing.
    const fn is_able(self) -> bool {
        self.made.is_some() && self.lacking == 0
    }
}

/// The kinds that were met. A fleet has few; what is beyond these is looked at worker by worker.
#[derive(Default)]
struct Kinds {
    met: [Option<(u64, Fit)>; 4],
}

impl Kinds {
    fn fit(&mut self, offer: &Known, needs: &Needs<'_>, class: &Class) -> Fit {
        let kind = offer.kind();
        for met in &mut self.met {
            match met {
                Some((known, fit)) if *known == kind => return *fit,
                Some(_) => {}
                None => {
                    let fit = fit(offer, needs, class);
                    *met = Some((kind, fit));
                    return fit;
                }
            }
        }
        fit(offer, needs, class)
    }
}

fn fit(offer: &Known, needs: &Needs<'_>, class: &Class) -> Fit {
    let made = offer.classes.iter().position(|made| made.class == *class);
    Fit { made, lacking: if made.is_some() { needs.lacking(offer) } else { 0 } }
}

/// Some workers, added up.
#[derive(Default)]
struct Tally {
    workers: usize,
    slots: u32,
    learned: u32,
    learned_total_ms: u128,
}

impl Tally {
    fn add(&mut self, offer: &Offer, learned_ms: Option<u64>) {
        self.workers += 1;
        self.slots = self.slots.saturating_add(offer.slots);
        if let Some(learned_ms) = learned_ms {
            self.learned += 1;
            self.learned_total_ms += u128::from(learned_ms);
        }
    }

    /// The mean.
    fn learned_ms(&self) -> Option<u64> {
        let mean = self.learned_total_ms.checked_div(u128::from(self.learned))?;
        Some(u64::try_from(mean).unwrap_or(u64::MAX))
    }
}

fn is_fresh(offer: &Known, input: &PlanInput<'_>) -> bool {
    offer.is_fresh(input.policy.offer_max_age_ms, input.now_ms)
}

fn is_well(offer: &Offer, now_ms: i64) -> bool {
    offer.health == Health::Healthy
        && offer.slots > 0
        && offer.unavailable_until_ms.is_none_or(|until_ms| until_ms <= now_ms)
}

fn unwell_words(input: &PlanInput<'_>, view: Option<&BackendView>, fresh: usize) -> String {
    let mut offers = view.iter().flat_map(|view| &view.offers).filter(|offer| is_fresh(offer, input));
    let reason = offers.find_map(|offer| offer.health_reason.as_ref());
    let first = format!("none of its {fresh} workers is well");
    reason.map_or(first.clone(), |reason| format!("{first}: {reason}"))
}

/// What a job asks of a worker.
///
/// A service that runs workflows needs nodes, files and memory; one that only takes prompts needs its
/// provider's model.
enum Needs<'a> {
    Nothing,
    Model(&'a String),
    Server { requirements: &'a Requirements, vram_bytes: u64 },
}

impl<'a> Needs<'a> {
    fn of(input: &PlanInput<'a>, service: Option<&'a Service>) -> Self {
        match service {
            None => Self::Nothing,
            Some(service) if !service.workflows => Self::Model(&service.model),
            Some(_) => {
                let class = input.catalog.class(&input.admitted.class);
                let vram_bytes = class.map_or(0, |spec| spec.vram_bytes);
                Self::Server { requirements: &input.admitted.requirements, vram_bytes }
            }
        }
    }

    /// How much a worker lacks, as far as it says what it has.
    fn lacking(&self, offer: &Known) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Model(model) => {
                usize::from(offer.models.as_ref().is_some_and(|models| !models.contains(*model)))
            }
            Self::Server { requirements, vram_bytes } => {
                absent(requirements, offer)
                    + usize::from(memory_bytes(offer).is_some_and(|most| most < *vram_bytes))
            }
        }
    }

    /// The same in words.
    fn missing(&self, offer: &Offer) -> Vec<String> {
        let absent = |needed: &BTreeSet<String>, present: &Option<BTreeSet<String>>| -> Vec<String> {
            present.as_ref().map_or_else(Vec::new, |present| needed.difference(present).cloned().collect())
        };
        match self {
            Self::Nothing => Vec::new(),
            Self::Model(model) => vec![String::clone(model)],
            Self::Server { requirements, vram_bytes } => {
                let mut missing = absent(&requirements.models, &offer.models);
                missing
                    .extend(requirements.absent_candidates(offer).map(|candidate| candidate.value.clone()));
                missing.extend(absent(&requirements.nodes, &offer.nodes));
                if let Some(most) = memory_bytes(offer).filter(|most| most < vram_bytes) {
                    missing.push(format!("{vram_bytes} bytes of GPU memory (the largest has {most})"));
                }
                missing
            }
        }
    }
}

/// How many files and nodes a worker lacks, as far as it says what it has.
fn absent(requirements: &Requirements, offer: &Known) -> usize {
    if requirements.met.by(offer.kind()) {
        return 0;
    }
    let absent = |needed: &BTreeSet<String>, present: &Option<BTreeSet<String>>| {
        present.as_ref().map_or(0, |present| needed.difference(present).count())
    };
    let absent = absent(&requirements.models, &offer.models)
        + requirements.absent_candidates(offer).count()
        + absent(&requirements.nodes, &offer.nodes);
    if absent == 0 {
        requirements.met.remember(offer.kind());
    }
    absent
}

/// The memory of the worker's largest GPU.
fn memory_bytes(offer: &Offer) -> Option<u64> {
    offer.gpus.iter().map(|gpu| gpu.vram_total_bytes).max()
}

/// Mean of what workers learned about a class, milliseconds.
pub(crate) fn learned_ms<'a>(offers: impl IntoIterator<Item = &'a Offer>, class: &Class) -> Option<u64> {
    let classes = offers.into_iter().flat_map(|offer| &offer.classes).filter(|offer| offer.class == *class);
    let (count, total) = classes
        .filter_map(|offer| offer.learned_ms)
        .fold((0u128, 0u128), |(count, total), ms| (count + 1, total + u128::from(ms)));
    (count > 0).then(|| u64::try_from(total / count.max(1)).unwrap_or(u64::MAX))
}
