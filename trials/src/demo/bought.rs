//! What each dollar bought, and what the jobs would have cost at one backend: read from the decisions that the jobs'
//! events tell.

use std::collections::BTreeMap;

use schemas::{Backend, Candidate, Decision, Event, Fact, FilterReason, Job, JobId, MicroUsd};
use serde::{Deserialize, Serialize};

use super::saving::Saving;

/// Why money was spent on an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The job names the backend, as a constraint or as a wish.
    AskedFor,
    /// Our own GPUs cannot make it.
    OnlyThere,
    /// Our own GPUs were away, or had failed it.
    OwnAway,
    /// Our own GPUs would have missed its deadline.
    Deadline,
    /// Waiting for our own GPUs would have been worth less than its price.
    WaitCostsMore,
}

impl Why {
    /// In words, as a person reads it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::AskedFor => "the job asked for that backend",
            Self::OnlyThere => "our own GPUs cannot make it",
            Self::OwnAway => "our own GPUs were away or had failed it",
            Self::Deadline => "our own GPUs would have missed its deadline",
            Self::WaitCostsMore => "a longer wait for our own GPUs would have cost more",
        }
    }

    /// Why the money for an attempt was spent, by how the backends that cost nothing were looked at.
    fn of(job: &Job, decision: &Decision, backend: &Backend) -> Self {
        let is_named = job.preferences.backend.as_ref() == Some(backend)
            || job.constraints.backends.as_ref().is_some_and(|all| all.contains(backend));
        if is_named {
            return Self::AskedFor;
        }
        let free = decision.candidates.iter().filter(|candidate| candidate.reserve_micro_usd.0 == 0);
        free.map(Self::of_free).max().unwrap_or(Self::OnlyThere)
    }

    /// What kept the job from a backend that costs nothing; the later in the list, the nearer it was.
    fn of_free(candidate: &Candidate) -> Self {
        let reasons = || candidate.rejections.iter().map(|rejection| rejection.reason);
        if reasons().any(cannot) {
            Self::OnlyThere
        } else if reasons().any(|reason| reason == FilterReason::DeadlineUnreachable) {
            Self::Deadline
        } else if reasons().any(|reason| reason.is_passing() || reason == FilterReason::Exhausted) {
            Self::OwnAway
        } else {
            Self::WaitCostsMore
        }
    }
}

/// The job cannot be made there, or nobody wants it to be.
const fn cannot(reason: FilterReason) -> bool {
    matches!(
        reason,
        FilterReason::Unsupported
            | FilterReason::CapabilityMissing
            | FilterReason::NotAllowedByJob
            | FilterReason::NotAllowedByTenant
            | FilterReason::NoConsent
            | FilterReason::OverCeiling
    )
}

/// Attempts that cost money for one reason at one backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bought {
    /// Why.
    pub why: Why,
    /// Where.
    pub backend: String,
    /// Attempts.
    pub attempts: u64,
    /// What they cost.
    pub cost_micro_usd: i64,
}

/// What a job's events told of its decisions and its money.
#[derive(Debug, Clone, Default, PartialEq)]
struct Told {
    decisions: BTreeMap<u32, Decision>,
    charges: BTreeMap<u32, (Backend, MicroUsd)>,
}

/// The decisions and the money of many jobs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Books {
    jobs: BTreeMap<JobId, Told>,
}

impl Books {
    /// Takes note of an event.
    pub fn note(&mut self, event: &Event) {
        let told = self.jobs.entry(event.job).or_default();
        match &event.fact {
            Fact::Assigned { decision, .. } => {
                told.decisions.insert(event.attempt, decision.clone());
            }
            Fact::Ended { attempts, .. } => attempts.iter().for_each(|facts| told.attempt(facts)),
            Fact::Retrying { ended_attempt, .. } | Fact::Charged { ended_attempt, .. } => {
                told.attempt(ended_attempt);
            }
            Fact::Running { .. } | Fact::Refused { .. } | Fact::Duplicate { .. } | Fact::Unknown => {}
        }
    }

    /// Every dollar with its reason, the dearest first.
    #[must_use]
    pub fn bought(&self, jobs: &[Job]) -> Vec<Bought> {
        let mut rows: BTreeMap<(Why, String), (u64, i64)> = BTreeMap::new();
        for (job, told) in jobs.iter().filter_map(|job| Some((job, self.jobs.get(&job.id)?))) {
            for (attempt, (backend, cost)) in told.charges.iter().filter(|(_, (_, cost))| cost.0 != 0) {
                let decision = told.decisions.get(attempt);
                let why = decision.map_or(Why::OnlyThere, |decision| Why::of(job, decision, backend));
                let row = rows.entry((why, backend.to_string())).or_default();
                *row = (row.0 + 1, row.1 + cost.0);
            }
        }
        let row =
            |((why, backend), (attempts, cost_micro_usd))| Bought { why, backend, attempts, cost_micro_usd };
        let mut bought: Vec<Bought> = rows.into_iter().map(row).collect();
        bought.sort_by_key(|row| std::cmp::Reverse(row.cost_micro_usd));
        bought
    }

    /// What the jobs that may use a backend cost, and what they would have cost there, by that backend.
    #[must_use]
    pub fn where_allowed(&self) -> BTreeMap<String, Saving> {
        let mut all: BTreeMap<String, Saving> = BTreeMap::new();
        for told in self.jobs.values() {
            let Some(decision) = told.decisions.values().next() else { continue };
            let actual: i64 = told.charges.values().map(|(_, cost)| cost.0).sum();
            for candidate in decision.candidates.iter() {
                let saving = all.entry(candidate.backend.to_string()).or_insert(Saving::NONE);
                if candidate.rejections.iter().any(|rejection| cannot(rejection.reason)) {
                    saving.jobs_not_comparable += 1;
                    continue;
                }
                saving.jobs += 1;
                saving.actual_micro_usd += actual;
                saving.baseline_micro_usd += candidate.expected_micro_usd.0;
                saving.saving_micro_usd = saving.baseline_micro_usd - saving.actual_micro_usd;
            }
        }
        all
    }
}

impl Told {
    fn attempt(&mut self, facts: &schemas::AttemptFacts) {
        self.charges.insert(facts.attempt, (facts.backend.clone(), facts.charge.amount_micro_usd));
        if let Some(Ok(decision)) = facts.decision.as_ref().map(schemas::CarriedDecision::read) {
            self.decisions.entry(facts.attempt).or_insert_with(|| decision.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::{AttemptFacts, Charge, Rejection, samples};

    use super::*;

    fn candidate(backend: &str, micro_usd: i64, reasons: &[FilterReason]) -> Candidate {
        let rejection = |reason: &FilterReason| Rejection { reason: *reason, detail: "in a test".into() };
        Candidate {
            backend: backend.parse().unwrap(),
            rejections: reasons.iter().map(rejection).collect(),
            expected_micro_usd: MicroUsd(micro_usd),
            reserve_micro_usd: MicroUsd(2 * micro_usd),
            ..samples::decision().candidates[0].clone()
        }
    }

    /// An attempt's end at the cloud, and how our own GPUs were looked at before it.
    fn ended(job: JobId, cost: i64, own: &[FilterReason], cloud: &[FilterReason]) -> Event {
        let decision = Decision {
            candidates: vec![candidate("cloud", 7_000, cloud), candidate("local", 0, own)],
            ..samples::decision()
        };
        let facts = AttemptFacts {
            attempt: 1,
            backend: "cloud".parse().unwrap(),
            charge: Charge::posted(MicroUsd(cost)),
            decision: Some(schemas::CarriedDecision::new(&decision)),
            ..samples::attempt_facts()
        };
        let end =
            samples::events().into_iter().find(|event| matches!(event.fact, Fact::Ended { .. })).unwrap();
        let mut end = Event { job, ..end };
        if let Fact::Ended { attempts, .. } = &mut end.fact {
            *attempts = vec![facts];
        }
        end
    }

    #[test]
    fn each_dollar_has_its_reason_and_only_jobs_that_may_are_compared() {
        let job = |number: i64| Job { id: JobId::from_parts(number, [0; 10]), ..samples::job() };
        let plain = |number| {
            let mut job = job(number);
            (job.constraints.backends, job.preferences.backend) = (None, None);
            job
        };
        let mut asks = plain(5);
        asks.preferences.backend = Some("cloud".parse().unwrap());
        let jobs = [plain(1), plain(2), plain(3), plain(4), asks];
        let own = [
            &[][..],
            &[FilterReason::NoWorker],
            &[FilterReason::DeadlineUnreachable, FilterReason::BacklogFull],
            &[FilterReason::CapabilityMissing, FilterReason::Unhealthy],
            &[],
        ];
        let mut books = Books::default();
        for (job, own) in jobs.iter().zip(own) {
            books.note(&ended(job.id, 6_000 + i64::from(job.id.0.as_bytes()[5]), own, &[]));
        }
        // One that may not be paid for, and was made for nothing.
        books.note(&ended(JobId::from_parts(6, [0; 10]), 0, &[], &[FilterReason::NoConsent]));
        let bought = books.bought(&jobs);
        let why: Vec<Why> = bought.iter().map(|row| row.why).collect();
        assert_eq!(why, [Why::AskedFor, Why::OnlyThere, Why::Deadline, Why::OwnAway, Why::WaitCostsMore]);
        assert_eq!(bought.iter().map(|row| row.cost_micro_usd).sum::<i64>(), 5 * 6_000 + 15);
        let cloud = &books.where_allowed()["cloud"];
        assert_eq!((cloud.jobs, cloud.jobs_not_comparable), (5, 1));
        assert_eq!((cloud.actual_micro_usd, cloud.baseline_micro_usd), (30_015, 35_000));
        assert_eq!(cloud.saving_micro_usd, 4_985);
    }

    #[test]
    fn what_is_charged_later_replaces_what_was_said_before() {
        let job = samples::job();
        let mut books = Books::default();
        books.note(&ended(job.id, 100, &[], &[]));
        let charged =
            samples::events().into_iter().find(|event| matches!(event.fact, Fact::Charged { .. })).unwrap();
        let mut charged = Event { job: job.id, ..charged };
        if let Fact::Charged { ended_attempt, .. } = &mut charged.fact {
            (ended_attempt.attempt, ended_attempt.charge) = (1, Charge::posted(MicroUsd(250)));
        }
        books.note(&charged);
        let bought = books.bought(&[job]);
        assert_eq!(bought.iter().map(|row| row.cost_micro_usd).sum::<i64>(), 250);
    }
}
