//! Events as a fleet would tell them: one job of tenant `studio-a`, told step by step.

use schemas::reserve::Reservation;
use schemas::{
    AttemptFacts, Backend, CarriedDecision, Charge, Decision, Event, Fact, Failure, FailureCode, JobFacts,
    JobId, JobState, MicroUsd, PaidConsent, Tenant, TenantsConfig, samples,
};

pub(crate) const T: i64 = samples::TIME_MS;

/// The shipped tenants, but that paid backends may be used by jobs that ask for them.
pub(crate) fn who_may_spend() -> TenantsConfig {
    let mut tenants = policy::defaults::tenants();
    tenants.default.allow_paid = PaidConsent::WhenAsked;
    tenants
}

/// A job to tell of. Times are milliseconds after [`T`].
#[derive(Debug, Clone)]
pub(crate) struct Story {
    pub(crate) job: JobId,
    pub(crate) tenant: Tenant,
}

pub(crate) fn backend(name: &str) -> Backend {
    name.parse().expect("a name")
}

impl Story {
    pub(crate) fn new(number: u8) -> Self {
        let job = JobId::from_parts(T + i64::from(number), [number; 10]);
        Self { job, tenant: "studio-a".parse().expect("a name") }
    }

    pub(crate) fn facts(&self) -> JobFacts {
        JobFacts {
            deadline_ms: Some(i64::MAX),
            ..JobFacts::of(&samples::job(), samples::decision().class.into(), T)
        }
    }

    fn event(&self, after_ms: i64, attempt: u32, fact: Fact) -> Event {
        Event::new(T + after_ms, self.tenant.clone(), self.job, attempt, fact)
    }

    fn decision(attempt: u32, at: &str) -> Decision {
        let mut decision = samples::decision();
        decision.attempt = attempt;
        decision.choice = Some(backend(at));
        let mut cloud = decision.candidates[0].clone();
        cloud.backend = backend("cloud");
        cloud.expected_micro_usd = MicroUsd(6_000);
        decision.candidates.push(cloud);
        decision
    }

    /// An attempt that no `assigned` event told of.
    pub(crate) fn untold(facts: AttemptFacts) -> AttemptFacts {
        let decision = CarriedDecision::new(&Self::decision(facts.attempt, facts.backend.as_str()));
        AttemptFacts { decision: Some(decision), ..facts }
    }

    /// Placed; `reserved` of zero is a free backend.
    pub(crate) fn assigned(&self, after_ms: i64, attempt: u32, at: &str, reserved: i64) -> Event {
        let decision = Self::decision(attempt, at);
        let fact = Fact::Assigned {
            facts: self.facts(),
            backend: backend(at),
            class: decision.class.clone(),
            capability: None,
            model: "sdxl".to_owned(),
            reserved_micro_usd: MicroUsd(reserved),
            decision,
        };
        self.event(after_ms, attempt, fact)
    }

    pub(crate) fn running(&self, after_ms: i64, attempt: u32, at: &str) -> Event {
        let worker = format!("{at}-1").parse().expect("a name");
        let started_at_ms = T + after_ms;
        let fact = Fact::Running { facts: self.facts(), backend: backend(at), worker, started_at_ms };
        self.event(after_ms, attempt, fact)
    }

    /// An attempt that ended `after_ms`, started ten before.
    pub(crate) fn attempt(&self, after_ms: i64, attempt: u32, at: &str, charge: Charge) -> AttemptFacts {
        AttemptFacts {
            attempt,
            backend: backend(at),
            worker: Some(format!("{at}-1").parse().expect("a name")),
            started_at_ms: Some(T + after_ms - 10),
            finished_at_ms: T + after_ms,
            provider_id: Some(format!("{}-{attempt}", self.job)),
            charge,
            failure: None,
            ..samples::attempt_facts()
        }
    }

    pub(crate) fn failed(&self, after_ms: i64, attempt: u32, at: &str, charge: Charge) -> AttemptFacts {
        let failure = Some(Failure::new(FailureCode::Transient, "it broke"));
        AttemptFacts { failure, ..self.attempt(after_ms, attempt, at, charge) }
    }

    pub(crate) fn retrying(&self, after_ms: i64, ended_attempt: AttemptFacts, disposition: &str) -> Event {
        let attempt = ended_attempt.attempt;
        let fact = Fact::Retrying {
            facts: self.facts(),
            ended_attempt,
            disposition: disposition.to_owned(),
            next_at_ms: T + after_ms + 1_000,
        };
        self.event(after_ms, attempt, fact)
    }

    pub(crate) fn ended(&self, after_ms: i64, state: JobState, attempts: Vec<AttemptFacts>) -> Event {
        let attempt = attempts.last().map_or(0, |facts| facts.attempt);
        let completed = state == JobState::Completed;
        let fact = Fact::Ended {
            facts: self.facts(),
            state,
            artifacts: if completed { vec![samples::artifact()] } else { Vec::new() },
            manifest: None,
            failure: (!completed).then(|| Failure::new(FailureCode::Cancelled, "somebody cancelled it")),
            attempts,
        };
        self.event(after_ms, attempt, fact)
    }

    pub(crate) fn charged(&self, after_ms: i64, ended_attempt: AttemptFacts) -> Event {
        let attempt = ended_attempt.attempt;
        self.event(after_ms, attempt, Fact::Charged { facts: self.facts(), ended_attempt })
    }

    pub(crate) fn reservation(&self, after_ms: i64, attempt: u32, amount: i64) -> Reservation {
        Reservation {
            job: self.job,
            attempt,
            tenant: self.tenant.clone(),
            backend: backend("cloud"),
            amount_micro_usd: MicroUsd(amount),
            max_cost_micro_usd: None,
            time_ms: T + after_ms,
        }
    }

    /// A life with a bit of everything: a paid failure, a failure whose money is not known at first, a
    /// free success, and news about money after the end.
    pub(crate) fn eventful(&self) -> Vec<Event> {
        let first = self.failed(100, 1, "cloud", Charge::posted(MicroUsd(5_700)));
        let open = Charge { state: schemas::ChargeState::Pending, ..Charge::posted(MicroUsd(9_000)) };
        let second = self.failed(200, 2, "gemini", open);
        let maybe = self.failed(200, 2, "gemini", Charge::possibly_paid(MicroUsd(9_000)));
        let third = self.attempt(300, 3, "local", Charge::VOIDED);
        vec![
            self.assigned(10, 1, "cloud", 22_800),
            self.running(90, 1, "cloud"),
            self.retrying(105, first.clone(), "failover"),
            self.assigned(110, 2, "gemini", 9_000),
            self.retrying(205, second, "reconcile"),
            self.assigned(210, 3, "local", 0),
            self.running(290, 3, "local"),
            self.ended(305, JobState::Completed, vec![first, maybe, third]),
            self.charged(400, self.failed(200, 2, "gemini", Charge::posted(MicroUsd(7_220)))),
        ]
    }
}
