//! One worker process: slots, speed, the checkpoint that it has loaded, what it learned, what its provider bills.

use std::collections::BTreeMap;

use policy::cost;
use protocol::worker::machine;
use schemas::{Class, FailureCode, Health, Job, MicroUsd, Offer, RunningAttempt, Unit, Usage};

use super::binding::Binding;
use crate::fleet::ServerSpec;
use crate::job::{SimJob, offer};
use crate::setting::Setting;

/// A worker process.
#[derive(Debug)]
pub struct Server {
    /// What it is.
    pub spec: ServerSpec,
    /// Its backend, by its place in document `policy`.
    pub backend: usize,
    /// When its offer last changed, as a count of changes.
    pub version: u64,
    pub(crate) is_serverless: bool,
    pub(crate) running: Vec<Running>,
    /// Since when it has been idle, or nearly so.
    pub(crate) idle_since_ms: i64,
    /// Outages that it is in.
    pub(crate) outages: u32,
    learned: BTreeMap<Class, u64>,
    loaded: Option<String>,
    well: Offer,
}

/// How an attempt will end if it is not stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Succeeds,
    Fails,
    TimesOut,
    Expires,
}

/// An attempt in a slot.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) binding: Binding,
    pub(crate) started_at_ms: i64,
    pub(crate) exec_at_ms: i64,
    pub(crate) token: u64,
    pub(crate) fate: Fate,
    /// Which of the provider's workers.
    pub(crate) worker: Option<usize>,
}

impl Server {
    pub(crate) fn new(spec: &ServerSpec, backend: usize, setting: &Setting) -> Self {
        let mut services = setting.config.catalog.services.iter();
        let is_serverless = services.any(|service| {
            service.backend == spec.backend && service.family == policy::billing::LIMITED_FAMILY
        });
        Self {
            well: offer(spec, setting, crate::setting::START_MS),
            spec: spec.clone(),
            backend,
            version: 1,
            is_serverless,
            running: Vec::new(),
            idle_since_ms: 0,
            outages: 0,
            learned: BTreeMap::new(),
            loaded: None,
        }
    }

    /// Whether it works.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.outages == 0
    }

    /// The jobs that it runs, and since when.
    pub fn begun(&self) -> impl Iterator<Item = (usize, i64)> {
        self.running.iter().map(|running| (running.binding.job, running.started_at_ms))
    }

    /// How many attempts it runs.
    #[must_use]
    pub const fn running(&self) -> usize {
        self.running.len()
    }

    /// What it learned of a class, milliseconds.
    #[must_use]
    pub fn learned_ms(&self, class: &Class) -> Option<u64> {
        self.learned.get(class).copied()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.is_up() && self.running.len() < self.spec.slots as usize
    }

    /// Whether it makes a class.
    #[must_use]
    pub fn makes(&self, class: &Class) -> bool {
        self.spec.classes.as_ref().is_none_or(|classes| classes.contains(class))
    }

    /// When an attempt can begin that is pulled now.
    pub(crate) fn ready_ms(&mut self, job: &Job, now_ms: i64) -> i64 {
        let model = job.body.model.as_ref();
        let load_ms =
            if self.spec.load_ms > 0 && self.loaded.as_ref() != model { self.spec.load_ms } else { 0 };
        if self.spec.load_ms > 0 {
            self.loaded = model.cloned();
        }
        now_ms.saturating_add_unsigned(load_ms + self.spec.gap_ms)
    }

    pub(crate) fn take(&mut self, token: u64) -> Option<Running> {
        let at = self.running.iter().position(|running| running.token == token)?;
        Some(self.running.remove(at))
    }

    /// What an attempt used, and what that costs. A provider of pictures bills what it has begun, unless it failed.
    pub(crate) fn bill(
        &self,
        class: &Class,
        exec_ms: u64,
        code: Option<FailureCode>,
        now_ms: i64,
        setting: &Setting,
    ) -> (Vec<Usage>, MicroUsd) {
        let Some(service) = setting.service(&self.spec.backend, class) else { return Default::default() };
        let usage = if self.is_serverless {
            vec![Usage { unit: Unit::ExecutionMs, quantity: exec_ms }]
        } else if matches!(code, None | Some(FailureCode::Expired | FailureCode::Timeout)) {
            service.expected_usage.clone()
        } else {
            Vec::new()
        };
        let prices = &setting.config.prices;
        let cost = cost::price_of(&usage, &self.spec.backend, &service.model, prices, now_ms);
        (usage, cost.unwrap_or_default())
    }

    /// Learns a duration by the worker's own rule; whether its offer says something else now.
    pub(crate) fn learn(&mut self, class: &Class, run_ms: u64) -> bool {
        let before = self.learned.get(class).copied();
        let learned = machine::learn(before, run_ms);
        if before == Some(learned) {
            return false;
        }
        self.learned.insert(class.clone(), learned);
        true
    }

    /// What it says of itself now.
    #[must_use]
    pub fn offer(&self, jobs: &[SimJob], now_ms: i64) -> Offer {
        let mut offer = self.well.clone();
        offer.time_ms = now_ms;
        for class in &mut offer.classes {
            class.learned_ms = self.learned_ms(&class.class);
        }
        offer.free_slots = offer.slots.saturating_sub(u32::try_from(self.running.len()).unwrap_or(u32::MAX));
        offer.running.extend(self.running.iter().map(|running| RunningAttempt {
            job: jobs[running.binding.job].job.id,
            attempt: running.binding.attempt,
            class: jobs[running.binding.job].admitted.class.clone(),
            running_ms: (now_ms - running.started_at_ms).unsigned_abs(),
        }));
        if !self.is_up() {
            offer.health = Health::Down;
            offer.health_reason = Some("an outage of the simulation".to_owned());
        }
        offer
    }
}
