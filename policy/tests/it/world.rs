//! What the cases start from: shipped configuration, a plain job, workers that are well.

use std::collections::BTreeMap;

use policy::admit::{Admitted, admit};
use policy::defaults;
use policy::fleet::Fleet;
use policy::plan::{Choice, Plan, PlanInput, plan};
use schemas::*;
use serde_json::{Value, json};

/// Now, in all cases.
pub(crate) const NOW_MS: i64 = samples::TIME_MS;

/// A name from a table.
pub(crate) fn name<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is not a valid name"))
}

/// A closed value from its token in a table.
pub(crate) fn token<T: serde::de::DeserializeOwned>(text: &str) -> T {
    serde_json::from_value(Value::from(text)).unwrap_or_else(|_| panic!("`{text}` is not known"))
}

/// A prompt for the default model that asks for nothing special.
pub(crate) fn plain_job() -> Value {
    json!({
        "schema_version": 1,
        "id": samples::job_id().to_string(),
        "time_ms": NOW_MS,
        "tenant": "studio-a",
        "body": {"kind": "image", "prompt": "a lighthouse at dusk"},
    })
}

/// A worker that is well, has everything, and is idle.
pub(crate) fn offer(worker: &str, backend: &str, slots: u32) -> Offer {
    let classes = ["image-small", "image-large", "image-xl", "video"];
    let classes = classes.iter().map(|class| ClassOffer { class: name(class), learned_ms: None }).collect();
    Offer {
        worker: name(worker),
        backend: name(backend),
        time_ms: NOW_MS,
        classes,
        slots,
        free_slots: slots,
        models: None,
        nodes: None,
        file_choices: None,
        capability: None,
        gpus: Vec::new(),
        simulated: false,
        breaker: None,
        ..samples::offer()
    }
}

/// An attempt that failed.
pub(crate) fn failed(attempt: u32, backend: &str, code: FailureCode, cost_micro_usd: i64) -> AttemptFacts {
    AttemptFacts {
        attempt,
        backend: name(backend),
        finished_at_ms: NOW_MS,
        charge: if cost_micro_usd > 0 { Charge::posted(MicroUsd(cost_micro_usd)) } else { Charge::VOIDED },
        failure: Some(Failure::new(code, format!("{} in a test", code.as_str()))),
        ..samples::attempt_facts()
    }
}

/// All that a plan depends on, owned.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) job: Job,
    pub(crate) history: Vec<AttemptFacts>,
    pub(crate) fleet: Fleet,
    pub(crate) catalog: Catalog,
    pub(crate) prices: PriceList,
    pub(crate) policy: PolicyConfig,
    pub(crate) tenant: TenantConfig,
    pub(crate) listing: Listing,
    pub(crate) ledger_available: bool,
    pub(crate) unreadable: Option<String>,
    pub(crate) refused: Vec<(Backend, String)>,
    pub(crate) now_ms: i64,
}

impl World {
    /// A plain job that may cost money, and nobody there.
    pub(crate) fn empty() -> Self {
        let mut job: Job = serde_json::from_value(plain_job()).expect("a job");
        job.constraints.allow_paid = Some(true);
        Self {
            job,
            history: Vec::new(),
            fleet: Fleet::default(),
            catalog: defaults::catalog(),
            prices: defaults::prices(),
            policy: defaults::policy(),
            tenant: TenantConfig { allow_paid: PaidConsent::WhenAsked, ..TenantConfig::default() },
            listing: Listing::Own,
            ledger_available: true,
            unreadable: None,
            refused: Vec::new(),
            now_ms: NOW_MS,
        }
    }

    /// The same with idle workers everywhere: one slot on local, two elsewhere.
    pub(crate) fn idle() -> Self {
        let mut world = Self::empty();
        for (backend, slots) in [("local", 1), ("cloud", 2), ("gemini", 2)] {
            world.fleet.upsert_offer(offer(&format!("{backend}-1"), backend, slots), NOW_MS);
        }
        world
    }

    pub(crate) fn admitted(&self) -> Admitted {
        admit(&self.job, &self.catalog, &self.policy, 0, NOW_MS).expect("the case's job is valid")
    }

    pub(crate) fn plan(&self) -> Plan {
        self.plan_as(&self.admitted())
    }

    pub(crate) fn plan_as(&self, admitted: &Admitted) -> Plan {
        self.plan_by(admitted, Choice::Weighted)
    }

    pub(crate) fn plan_by(&self, admitted: &Admitted, choice: Choice<'_>) -> Plan {
        plan(&self.input(admitted, choice))
    }

    pub(crate) fn input<'a>(&'a self, admitted: &'a Admitted, choice: Choice<'a>) -> PlanInput<'a> {
        let attempt = u32::try_from(self.history.len()).expect("few attempts") + 1;
        PlanInput {
            job: &self.job,
            admitted,
            attempt,
            counted_attempts: attempt - 1,
            history: &self.history,
            fleet: &self.fleet,
            catalog: &self.catalog,
            prices: &self.prices,
            policy: &self.policy,
            tenant: TenantPolicy { listing: self.listing, config: &self.tenant },
            ledger_available: self.ledger_available,
            unreadable: self.unreadable.as_deref(),
            refused: &self.refused,
            choice,
            now_ms: self.now_ms,
        }
    }
}

/// `a=1 b=2` as a map.
pub(crate) fn pairs(text: &str) -> BTreeMap<&str, &str> {
    text.split_whitespace().map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect()
}

impl std::fmt::Debug for World {
    /// What differs between worlds; the shipped documents are left out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World")
            .field("constraints", &self.job.constraints)
            .field("tenant", &(self.listing, &self.tenant))
            .field("preferences", &self.job.preferences)
            .field("history", &self.history)
            .field("fleet", &self.fleet)
            .field("profiles", &self.policy.profiles)
            .field("ledger_available", &self.ledger_available)
            .finish_non_exhaustive()
    }
}
