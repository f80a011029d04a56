//! A provider's breakers: for each model and kind of failure one, so that a quota of one model keeps no other out, and a
//! success does not end a quota.
//!
//! Every router holds them and hears what attempts say as they end. What opens or closes is written to bucket `BREAKERS`
//! ([`schemas::breaker`]), from which the others take it.

use std::collections::BTreeMap;

use schemas::breaker::{BreakerKind, BreakerRecord};
use schemas::{AttemptFacts, Backend, JobId, PolicyConfig, SCHEMA_VERSION};

use crate::breaker::{Breaker, kind_of};

/// Which of a provider's breakers: the kind, and the model; none for all models.
type Place = (BreakerKind, Option<String>);

/// An attempt that succeeded.
#[derive(Debug, Clone, Copy)]
pub struct Success<'a> {
    /// At which backend.
    pub backend: &'a Backend,
    /// With which of its models.
    pub model: &'a str,
    /// When it began, Unix milliseconds.
    pub begun_ms: i64,
}

impl<'a> Success<'a> {
    /// As an attempt's facts say.
    #[must_use]
    pub fn of(facts: &'a AttemptFacts) -> Self {
        let begun_ms = facts.started_at_ms.unwrap_or(facts.assigned_at_ms);
        Self { backend: &facts.backend, model: &facts.model, begun_ms }
    }
}

/// A provider's breakers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Breakers {
    all: BTreeMap<Place, Breaker>,
}

impl Breakers {
    /// Takes note of a failed attempt of a job; the record to be written if a breaker opened, or opened for longer. `by`
    /// is left empty.
    pub fn on_failure(
        &mut self,
        job: JobId,
        facts: &AttemptFacts,
        policy: &PolicyConfig,
        now_ms: i64,
    ) -> Option<BreakerRecord> {
        let failure = facts.failure.as_ref()?;
        let kind = kind_of(failure.code)?;
        // Key and billing are the provider's, whatever was asked of it.
        let model = (kind != BreakerKind::Stopped).then(|| facts.model.clone());
        let breaker = self.all.entry((kind, model.clone())).or_default();
        let before_ms = breaker.open_until_ms;
        breaker.on_failure(job, failure, policy, now_ms);
        (breaker.open_until_ms != before_ms).then(|| BreakerRecord {
            schema_version: SCHEMA_VERSION,
            time_ms: now_ms,
            backend: facts.backend.clone(),
            kind,
            model,
            consecutive_failures: breaker.consecutive_failures,
            open_until_ms: breaker.open_until_ms,
            reason: breaker.reason.clone(),
            by: String::new(),
            why: None,
        })
    }

    /// Takes note of an attempt that succeeded: what had opened before it began is closed, and counts begin anew. The
    /// records to be written, of those that were open once.
    pub fn on_success(&mut self, success: &Success<'_>, now_ms: i64) -> Vec<BreakerRecord> {
        let mut closed = Vec::new();
        self.all.retain(|(kind, model), breaker| {
            let speaks = model.as_ref().is_none_or(|model| model == success.model);
            let is_later = breaker.opened_at_ms.is_none_or(|opened_ms| opened_ms <= success.begun_ms);
            if !(speaks && is_later) {
                return true;
            }
            if breaker.open_until_ms.is_some() {
                let (backend, model) = (success.backend.clone(), model.clone());
                closed.push(BreakerRecord::closed(backend, *kind, model, String::new(), now_ms));
            }
            false
        });
        closed
    }

    /// Takes over what another router, or a person, wrote.
    pub fn take(&mut self, record: &BreakerRecord) {
        let place = (record.kind, record.model.clone());
        match record.open_until_ms {
            None => {
                self.all.remove(&place);
            }
            Some(_) => self.all.entry(place).or_default().take(record),
        }
    }

    /// Of those that keep a model out now, or any model where none is named, the one that does so for longest.
    #[must_use]
    pub fn open(&self, model: Option<&str>, now_ms: i64) -> Option<&Breaker> {
        let speaks = |of: &Option<String>| {
            of.is_none() || of.as_deref().zip(model).is_some_and(|(of, model)| of == model)
        };
        let open = self.all.iter().filter(|((_, of), breaker)| speaks(of) && breaker.is_open(now_ms));
        open.map(|(_, breaker)| breaker).max_by_key(|breaker| breaker.open_until_ms)
    }

    /// A breaker of the model was open and its time is over: the next attempt tries whether it works again.
    #[must_use]
    pub fn is_half_open(&self, model: &str, now_ms: i64) -> bool {
        let speaks = |of: &Option<String>| of.as_deref().is_none_or(|of| of == model);
        self.all.iter().any(|((_, of), breaker)| speaks(of) && breaker.is_half_open(now_ms))
    }

    /// Those that were opened and not closed since, by kind and model.
    pub fn opened(&self) -> impl Iterator<Item = (BreakerKind, Option<&str>, &Breaker)> {
        let opened = self.all.iter().filter(|(_, breaker)| breaker.open_until_ms.is_some());
        opened.map(|((kind, model), breaker)| (*kind, model.as_deref(), breaker))
    }

    /// It failed since it last succeeded.
    #[must_use]
    pub fn is_troubled(&self) -> bool {
        !self.all.is_empty()
    }
}
