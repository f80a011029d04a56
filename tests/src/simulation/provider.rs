//! Simulated providers with invoices of their own: what they bill is computed here from what they did, by
//! arithmetic that shares nothing with the fleet's price list.

use std::collections::HashMap;

use schemas::{Failure, FailureCode, Unit, Usage};

use super::chance::Chance;
use super::setting::{CLOUD, GEMINI, LOCAL};

/// How a provider misbehaves for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Starts succeed, and half of their answers are lost.
    Lost,
    /// Too many requests.
    Busy,
    /// The quota is used up.
    Quota,
    /// Work is taken and never ends.
    Hang,
    /// Nothing answers.
    Down,
    /// Work fails after it has cost something.
    Fail,
}

/// One piece of work at a provider.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) started_ms: i64,
    /// When it ends by itself.
    pub(crate) done_ms: i64,
    failure: Option<FailureCode>,
    tokens: [u64; 3],
    /// The provider lost it, or was restarted under it.
    pub(crate) gone: bool,
    pub(crate) cancelled: bool,
}

/// What a call that starts work brings.
#[derive(Debug, Clone)]
pub(crate) enum Start {
    /// Work was taken on, and the answer says so.
    Accepted(usize),
    /// No answer came; the work may have been taken on.
    Lost,
    /// An answer that says no, or nobody there.
    Refused(Failure),
}

/// What a look at a piece of work brings.
#[derive(Debug, Clone)]
pub(crate) enum Look {
    Running,
    /// The provider does not answer.
    Silent,
    /// It does not know the work any more.
    Gone,
    Ended {
        usage: Vec<Usage>,
        failure: Option<FailureCode>,
    },
}

#[derive(Debug)]
pub(crate) struct Provider {
    backend: usize,
    pub(crate) runs: Vec<Run>,
    of_attempt: HashMap<(u32, u32), Vec<usize>>,
    pub(crate) down_until_ms: i64,
    troubles: Vec<(Trouble, i64)>,
    /// The money it will not work beyond, milliseconds of execution.
    limit_ms: i64,
}

impl Provider {
    pub(crate) fn new(backend: usize) -> Self {
        Self {
            backend,
            runs: Vec::new(),
            of_attempt: HashMap::new(),
            down_until_ms: 0,
            troubles: Vec::new(),
            limit_ms: 30_000,
        }
    }

    pub(crate) fn trouble(&mut self, trouble: Trouble, until_ms: i64) {
        if trouble == Trouble::Down {
            self.down_until_ms = self.down_until_ms.max(until_ms);
        }
        self.troubles.push((trouble, until_ms));
    }

    pub(crate) fn has(&self, trouble: Trouble, now_ms: i64) -> bool {
        self.troubles.iter().any(|(kind, until_ms)| *kind == trouble && now_ms < *until_ms)
    }

    /// How often work was taken on for an attempt.
    pub(crate) fn starts(&self, attempt: (u32, u32)) -> usize {
        self.of_attempt.get(&attempt).map_or(0, Vec::len)
    }

    /// The last work on an attempt, whatever became of it.
    pub(crate) fn taken_on(&self, attempt: (u32, u32)) -> Option<usize> {
        self.of_attempt.get(&attempt)?.last().copied()
    }

    /// Work on an attempt that is there, for providers that know it by a name of ours.
    pub(crate) fn find(&self, attempt: (u32, u32)) -> Option<usize> {
        let last = self.of_attempt.get(&attempt)?.last().copied()?;
        (!self.runs[last].gone && !self.runs[last].cancelled).then_some(last)
    }

    /// Starts work on an attempt. Chance is the attempt's own, so that other jobs do not change it.
    pub(crate) fn start(&mut self, seed: u64, attempt: (u32, u32), now_ms: i64) -> Start {
        let key = [u64::from(attempt.0), u64::from(attempt.1), self.starts(attempt) as u64 + 10];
        let mut chance = Chance::keyed(seed ^ self.backend as u64, key);
        let refused = |code| Start::Refused(Failure::new(code, "the provider said no"));
        if now_ms < self.down_until_ms {
            return refused(if self.backend == LOCAL {
                FailureCode::BackendDown
            } else {
                FailureCode::Transient
            });
        }
        let paid = self.backend != LOCAL;
        if paid && (self.has(Trouble::Busy, now_ms) && chance.per_mille(700) || chance.per_mille(5)) {
            let wait_ms = chance.below(4_000) + 500;
            let failure = Failure::new(FailureCode::RateLimited, "too many requests");
            return Start::Refused(failure.with_retry_after_ms(Some(wait_ms)));
        }
        if paid && self.has(Trouble::Quota, now_ms) && chance.per_mille(500) {
            let wait_ms = chance.below(30_000) + 5_000;
            let failure = Failure::new(FailureCode::QuotaExhausted, "the quota is used up");
            return Start::Refused(failure.with_retry_after_ms(Some(wait_ms)));
        }
        match chance.below(1_000) {
            0..=3 => return refused(FailureCode::ContentRefused),
            4..=9 => return refused(FailureCode::Transient),
            10..=12 if !paid => return refused(FailureCode::OutOfMemory),
            _ => {}
        }
        let lost = chance.per_mille(if self.has(Trouble::Lost, now_ms) { 500 } else { 4 });
        if lost && chance.per_mille(300) {
            return Start::Lost;
        }
        let run = self.take_on(attempt, now_ms, &mut chance);
        if lost && paid { Start::Lost } else { Start::Accepted(run) }
    }

    fn take_on(&mut self, attempt: (u32, u32), now_ms: i64, chance: &mut Chance) -> usize {
        let hangs = chance.per_mille(if self.has(Trouble::Hang, now_ms) { 300 } else { 3 });
        let fails = chance.per_mille(if self.has(Trouble::Fail, now_ms) { 400 } else { 15 });
        let takes_ms = chance.between(300, 4_000);
        let (done_ms, failure) = match (hangs, fails) {
            (true, _) if self.backend == CLOUD => (now_ms + self.limit_ms, Some(FailureCode::Timeout)),
            (true, _) => (now_ms + 3_600_000, Some(FailureCode::Timeout)),
            (_, true) => (now_ms + takes_ms, Some(FailureCode::Transient)),
            _ => (now_ms + takes_ms, None),
        };
        let tokens = [50 + chance.below(150), 100 + chance.below(400), 1_120];
        let run = Run { started_ms: now_ms, done_ms, failure, tokens, gone: false, cancelled: false };
        self.runs.push(run);
        self.of_attempt.entry(attempt).or_default().push(self.runs.len() - 1);
        self.runs.len() - 1
    }

    /// Looks at a piece of work.
    pub(crate) fn look(&self, run: usize, now_ms: i64) -> Look {
        let Some(found) = self.runs.get(run) else { return Look::Gone };
        if now_ms < self.down_until_ms {
            return Look::Silent;
        }
        if found.gone && self.backend == LOCAL {
            return Look::Gone;
        }
        if now_ms < found.done_ms {
            return Look::Running;
        }
        let failure = if found.cancelled { Some(FailureCode::Cancelled) } else { found.failure };
        Look::Ended { usage: self.usage(found), failure }
    }

    /// Stops a piece of work that can be stopped.
    pub(crate) fn cancel(&mut self, run: usize, now_ms: i64) {
        if now_ms < self.down_until_ms || self.backend == GEMINI {
            return;
        }
        if let Some(found) = self.runs.get_mut(run)
            && now_ms < found.done_ms
        {
            found.cancelled = true;
            found.done_ms = now_ms;
        }
    }

    /// Restarts: our own server forgets everything, the others break off what runs.
    pub(crate) fn restart(&mut self, now_ms: i64) {
        for run in &mut self.runs {
            let running = now_ms < run.done_ms;
            if self.backend == LOCAL || running {
                run.gone = true;
            }
            if running {
                run.done_ms = now_ms;
                run.failure = Some(FailureCode::Transient);
            }
        }
    }

    /// What it counts for a piece of work that ended.
    fn usage(&self, run: &Run) -> Vec<Usage> {
        let of = |unit, quantity| Usage { unit, quantity };
        match self.backend {
            CLOUD => vec![of(Unit::ExecutionMs, (run.done_ms - run.started_ms).unsigned_abs())],
            GEMINI => {
                let pictures = if run.failure.is_some() { 0 } else { run.tokens[2] };
                vec![
                    of(Unit::InputToken, run.tokens[0]),
                    of(Unit::TextToken, run.tokens[1]),
                    of(Unit::ImageToken, pictures),
                ]
            }
            _ => Vec::new(),
        }
    }

    /// Its invoice: a line for each piece of work, micro-dollars, rounded up.
    pub(crate) fn invoice(&self) -> impl Iterator<Item = (usize, i64)> {
        let lines = self.runs.iter().enumerate().filter(|_| self.backend != LOCAL);
        lines.map(|(number, run)| (number, self.bill(run)))
    }

    fn bill(&self, run: &Run) -> i64 {
        let thousandths = if self.backend == CLOUD {
            // $0.00019 for each second that was begun.
            (run.done_ms - run.started_ms + 999) / 1_000 * 1_000 * 190
        } else {
            // $0.50, $3 and $60 for a million tokens.
            let [input, text, image] = run.tokens.map(u64::cast_signed);
            input * 500 + text * 3_000 + if run.failure.is_some() { 0 } else { image * 60_000 }
        };
        (thousandths + 999) / 1_000
    }
}
