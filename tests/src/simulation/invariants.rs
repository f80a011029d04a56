//! The promises, looked at after every step where that is cheap, and in full when all is at rest.

mod announced;
mod budgets;
mod cancelled;
mod kept;
pub(crate) mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use policy::dispose::RATE_LIMITED_MAX;
use policy::invariants::{AuditAttempt, AuditInput, AuditJob, InvoiceLine, audit};
use schemas::state::TRANSITIONS;
use schemas::{Assignment, Charge, Event, Fact, FailureCode, JobState, MicroUsd, PaidConsent, Tenant};

use super::broker::{Entry, Message, Named, Payload, WORK};
use super::mutation::Mutation;
use super::setting::{BEGIN_MS, CLOUD, GEMINI, IN_HAND, LOCAL, SLOTS};
use super::world::World;

/// Which promise is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Promise {
    /// A job ends once.
    EndsOnce,
    /// Everything comes to rest, and every accepted job has ended.
    Rest,
    /// A paid attempt is started once.
    PaidOnce,
    /// Nothing is spent without consent and reservation.
    Consent,
    /// The ledger is the invoice.
    Books,
    /// Budgets hold at every moment.
    Budget,
    /// Queues are bounded.
    Bound,
    /// Attempts are bounded and placed once, and interruptions cost none.
    Attempts,
    /// States follow each other as the wire says.
    Transition,
    /// What was cancelled in its queue never reaches a provider.
    Cancelled,
    /// Of jobs with one idempotency key, one is placed.
    Key,
    /// The answer to a request to cancel is true.
    Answer,
    /// What is refused, put aside or a repeat is announced, and of each attempt is told why it went where it went.
    Announced,
    /// Nothing waits where it need not.
    Waiting,
    /// What a provider named or delivered is kept.
    Kept,
    /// What a worker is done with has left its hands, and what it is not done with stays in them.
    LetGo,
    /// A job may use the results of its tenant's jobs, and no other's.
    Inputs,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// When, milliseconds from the beginning.
    pub at_ms: i64,
    /// Which.
    pub promise: Promise,
    /// What was seen.
    pub words: String,
}

#[derive(Debug, Clone)]
struct Life {
    accepted: bool,
    ends: u32,
    /// When it ended.
    ended_ms: Option<i64>,
    /// Attempt and step within it: later news of earlier steps is no transition.
    reached: (u32, u8),
    state: JobState,
    purged_ms: Option<i64>,
    /// When a request to cancel it was answered with an effect.
    cancelled_ms: Option<i64>,
    /// How often a client's publish of it was stored: more than once where a restarted broker had forgotten the first.
    published: u32,
    /// When its first assignment was stored, and which attempts were.
    placed_ms: Option<i64>,
    placed: Vec<u32>,
    /// When its first attempt was started at a provider.
    started_ms: Option<i64>,
    /// The event of its first attempt, where that went without, and when its assignment was stored.
    alone: Option<(i64, Box<Event>)>,
}

/// What the invariants remember.
#[derive(Debug)]
pub(crate) struct Watch {
    lives: Vec<Life>,
    /// All events of each job that were ever stored: also those that have left their stream to make room.
    events: Vec<Vec<Rc<Event>>>,
    /// Which job was placed with a key.
    keys: BTreeMap<(Tenant, String), u32>,
    /// Paid attempts that were delivered once, to a worker that knew that they are cancelled.
    unbegun: BTreeSet<(u32, u32)>,
    /// Messages of which something is so that should not stay so: since when, and when it was seen last.
    seen: BTreeMap<u64, (i64, i64)>,
    pub(crate) breach: Option<Breach>,
}

impl Watch {
    pub(crate) fn new(jobs: usize) -> Self {
        let state = JobState::Submitted;
        let life = Life {
            accepted: false,
            ends: 0,
            ended_ms: None,
            reached: (0, 0),
            state,
            purged_ms: None,
            cancelled_ms: None,
            published: 0,
            placed_ms: None,
            placed: Vec::new(),
            started_ms: None,
            alone: None,
        };
        Self {
            lives: vec![life; jobs],
            events: vec![Vec::new(); jobs],
            keys: BTreeMap::new(),
            unbegun: BTreeSet::new(),
            seen: BTreeMap::new(),
            breach: None,
        }
    }

    pub(crate) fn accepted(&mut self, job: u32) {
        self.lives[job as usize].accepted = true;
    }

    /// An attempt was delivered: to a process that knows that it is cancelled before anything of it has begun, or not.
    pub(crate) fn handed_out(&mut self, attempt: (u32, u32), is_unbegun: bool) {
        if is_unbegun {
            self.unbegun.insert(attempt);
        } else {
            self.unbegun.remove(&attempt);
        }
    }

    /// Attempts are delivered to no worker any more: a router takes one that has a claim for begun.
    pub(crate) fn passed_over(&mut self, attempt: (u32, u32)) {
        self.unbegun.remove(&attempt);
    }

    pub(crate) fn purged(&mut self, job: u32, now_ms: i64) {
        self.lives[job as usize].purged_ms.get_or_insert(now_ms);
    }
}

impl World {
    /// Whether a job had ended before a moment.
    pub(crate) fn had_ended(&self, job: u32, before_ms: i64) -> bool {
        self.watch.lives[job as usize].ended_ms.is_some_and(|ended_ms| ended_ms < before_ms)
    }

    /// A key was removed: rightly where its job is over, and then another one may come with it.
    pub(crate) fn watch_key_removed(&mut self, job: u32) {
        if self.watch.lives[job as usize].ends > 0 {
            self.watch.keys.retain(|_, first| *first != job);
        }
    }

    pub(crate) fn broken(&mut self, promise: Promise, words: String) {
        let at_ms = self.now_ms - BEGIN_MS;
        self.watch.breach.get_or_insert(Breach { at_ms, promise, words });
    }

    /// Looks at what was just stored.
    pub(crate) fn watch_stored(&mut self, message: &Message) {
        match &message.payload {
            Payload::Event(event) => {
                self.watch.events[message.job as usize].push(Rc::clone(event));
                if event.state() == Some(JobState::Assigned) {
                    let log = &self.broker.log[message.job as usize];
                    let same = |known: &&Rc<Event>| {
                        known.attempt == event.attempt && known.state() == Some(JobState::Assigned)
                    };
                    if log.iter().filter(same).count() > 1 {
                        let words = format!("attempt {}.{} was placed twice", message.job, event.attempt);
                        return self.broken(Promise::Attempts, words);
                    }
                }
                if let Some(state) = event.state() {
                    self.watch_state(message.job, event.attempt, state);
                }
                self.watch_event(message.job, event);
            }
            Payload::Work(assignment) => {
                let now_ms = self.now_ms;
                let life = &mut self.watch.lives[message.job as usize];
                life.placed_ms.get_or_insert(now_ms);
                if !life.placed.contains(&assignment.attempt) {
                    life.placed.push(assignment.attempt);
                }
                if assignment.decision.is_some() {
                    life.alone = assignment.told().map(|told| (now_ms, Box::new(told)));
                    self.watch_state(message.job, assignment.attempt, JobState::Assigned);
                }
                self.watch_assignment(message, assignment);
            }
            Payload::Job(_) => {
                let is_clients = matches!(message.id, Some((_, Named::Job)));
                self.watch.lives[message.job as usize].published += u32::from(is_clients);
            }
            Payload::Dead(_) | Payload::Unreadable(_) => {}
        }
    }

    fn watch_state(&mut self, job: u32, attempt: u32, state: JobState) {
        let now_ms = self.now_ms;
        let life = &mut self.watch.lives[job as usize];
        if state.is_terminal() {
            life.ended_ms.get_or_insert(now_ms);
            life.ends += 1;
            if life.ends > 1 {
                return self.broken(Promise::EndsOnce, format!("job {job} ended again, {}", state.as_str()));
            }
            let counted = match state {
                JobState::Completed => &mut self.figures.completed,
                JobState::Failed => &mut self.figures.failed,
                JobState::Cancelled => &mut self.figures.cancelled,
                _ => &mut self.figures.expired,
            };
            *counted += 1;
        }
        let within = match state {
            JobState::Assigned => 1,
            JobState::Running => 2,
            JobState::Retrying => 3,
            _ => 4,
        };
        let reached = (if state.is_terminal() { u32::MAX } else { attempt }, within);
        let life = &mut self.watch.lives[job as usize];
        if reached <= life.reached {
            return;
        }
        let from = life.state;
        life.reached = reached;
        life.state = state;
        if !TRANSITIONS.iter().any(|(a, b, _)| *a == from && *b == state) {
            let words = format!("job {job}: {} to {} in attempt {attempt}", from.as_str(), state.as_str());
            self.broken(Promise::Transition, words);
        }
    }

    fn watch_assignment(&mut self, message: &Message, assignment: &Assignment) {
        self.watch_used(message.job, &assignment.job);
        if let Some(key) = &assignment.job.idempotency_key {
            let of = (assignment.job.tenant.clone(), key.clone());
            let first = *self.watch.keys.entry(of).or_insert(message.job);
            if first != message.job {
                let words = format!("jobs {first} and {} have one key, and both were placed", message.job);
                return self.broken(Promise::Key, words);
            }
        }
        let policy = &self.setting.policy;
        let (job, attempt) = (message.job, assignment.attempt);
        let free = |code| matches!(code, FailureCode::Interrupted | FailureCode::RateLimited);
        let history = &assignment.history;
        let codes = history.iter().filter_map(|facts| facts.failure.as_ref().map(|failure| failure.code));
        let counting = codes.filter(|code| !free(*code)).count() as u32;
        if attempt > policy.max_attempts_ever + RATE_LIMITED_MAX || assignment.counted_attempts > counting {
            let counted = assignment.counted_attempts;
            let words = format!("job {job}: attempt {attempt}, {counted} counted of {counting} that count");
            return self.broken(Promise::Attempts, words);
        }
        let backend = self.setting.backend_of(message.consumer);
        let consumers = WORK..WORK + self.setting.queues.len();
        let here = consumers.filter(|consumer| self.setting.backend_of(*consumer) == backend);
        let waiting: u64 = here.map(|consumer| self.broker.backlog(consumer)).sum();
        let per_slot = policy.backends.iter().find(|config| config.backend == assignment.backend);
        let per_slot = per_slot.map_or(0, |config| config.backlog_per_slot);
        // All workers' slots, and what two routers may have in hand between two looks at the backlog: of three lanes, and
        // failed attempts.
        let most = u64::from(2 * SLOTS * per_slot + 2 * IN_HAND * 4);
        if waiting > most {
            self.broken(Promise::Bound, format!("{waiting} assignments wait at {}", assignment.backend));
        }
    }

    /// Looks at a call that starts work at a provider.
    pub(crate) fn watch_start(
        &mut self,
        process: usize,
        backend: usize,
        assignment: &Assignment,
        job: u32,
        delivered_ms: i64,
    ) {
        let key = (job, assignment.attempt);
        let name = format!("attempt {job}.{} at {}", assignment.attempt, assignment.backend);
        let starts = self.providers[backend].starts(key);
        let now_ms = self.now_ms;
        let life = &mut self.watch.lives[job as usize];
        life.started_ms.get_or_insert(now_ms);
        let life = life.clone();
        self.watch_cancelled_start(process, job, &name);
        let told = self.processes[process].cancels.contains_key(&job);
        if told || life.purged_ms.is_some_and(|purged_ms| delivered_ms > purged_ms) {
            self.broken(Promise::Cancelled, format!("{name} started after it was cancelled"));
        }
        if backend == LOCAL {
            self.figures.repeated_gpu_runs += u64::from(starts > 1);
            return;
        }
        self.figures.paid_starts += 1;
        self.figures.paid_after_the_end += u64::from(life.ends > 0);
        let is_anothers = self
            .broker
            .claim(key, now_ms)
            .is_some_and(|claim| claim.record.worker != self.processes[process].worker);
        if is_anothers {
            self.broken(Promise::PaidOnce, format!("{name} was started on another worker's claim"));
        }
        if starts > 1 {
            self.broken(Promise::PaidOnce, format!("{name} was started {starts} times"));
        }
        // Said here once more and in other words than the policy's: the operator's word, then the job's.
        let operators = self.setting.tenants.tenants.get(&assignment.job.tenant);
        let operators = operators.unwrap_or(&self.setting.tenants.default).allow_paid;
        let consent = match assignment.job.constraints.allow_paid {
            Some(true) => operators != PaidConsent::Never,
            Some(false) => false,
            None => operators == PaidConsent::Always,
        };
        let ceiling = assignment.job.constraints.max_cost_micro_usd;
        if !consent || ceiling.is_some_and(|ceiling| assignment.reserved_micro_usd > ceiling) {
            self.broken(Promise::Consent, format!("{name} was started without consent"));
        }
        if !self.books.is_reserved(job, assignment.attempt) {
            self.broken(Promise::Consent, format!("{name} was started before its money was reserved"));
        }
    }

    /// Everything is at rest: nothing is lost, and the books are the invoices.
    pub(crate) fn check_at_rest(&mut self) {
        let mut accepted = BTreeSet::new();
        let (mut jobs, mut attempts, mut dear) = (Vec::new(), Vec::new(), None);
        for (number, job) in self.jobs.iter().enumerate() {
            let Some(job) = job else { continue };
            let account = &self.books.accounts[number];
            self.figures.jobs += 1;
            // It was an earlier job once more, and says so.
            let is_duplicate =
                self.watch.events[number].iter().any(|event| matches!(event.fact, Fact::Duplicate { .. }));
            if is_duplicate {
                self.figures.duplicates += 1;
                continue;
            }
            accepted.insert(job.id);
            let ends = self.watch.lives[number].ends;
            jobs.push(AuditJob { job: job.id, ends, state: account.ended, artifacts: account.artifacts });
            for (attempt, row, booked) in self.books.audited(number as u32) {
                let is_free = row.state == schemas::ChargeState::Pending || row.posted_micro_usd == 0;
                let key = (number as u32, attempt);
                let ended_unbegun =
                    |entry: &Entry| entry.record.outcome.as_ref().is_some_and(|outcome| outcome.unbegun);
                // Without revisions another delivery's end may have been overwritten.
                let is_started = self.mutation == Mutation::IgnoreTheRevision
                    || self.providers.iter().any(|provider| provider.starts(key) > 0);
                let is_unbegun = self.watch.unbegun.contains(&key)
                    || !is_started && self.broker.claim(key, self.now_ms).is_some_and(ended_unbegun);
                if !is_free && is_unbegun {
                    dear.get_or_insert((number, attempt));
                }
                attempts.push(AuditAttempt {
                    job: job.id,
                    attempt,
                    backend: row.backend.parse().expect("a valid name"),
                    provider_id: booked.and_then(|booked| booked.provider_id.clone()),
                    delivered: booked.is_some_and(|booked| booked.delivered),
                    succeeded: booked.is_some_and(|booked| booked.succeeded),
                    usage: booked.map(|booked| booked.usage.clone()).unwrap_or_default(),
                    reserved_micro_usd: MicroUsd(row.reserved_micro_usd),
                    charge: Charge {
                        state: row.state,
                        amount_micro_usd: MicroUsd(if row.state == schemas::ChargeState::Pending {
                            row.reserved_micro_usd
                        } else {
                            row.posted_micro_usd
                        }),
                        possibly_paid: row.possibly_paid,
                    },
                });
            }
        }
        let invoices = [CLOUD, GEMINI].into_iter().map(|backend| {
            let name = self.setting.backends[backend].clone();
            let lines = self.providers[backend].invoice().map(|(run, amount)| InvoiceLine {
                provider_id: format!("{name}-{run}"),
                amount_micro_usd: MicroUsd(amount),
            });
            (name.clone(), lines.collect())
        });
        let invoices: BTreeMap<_, _> = invoices.collect();
        let accepted = Some(accepted);
        let input = AuditInput { accepted, settled: true, jobs, attempts, invoices, ..AuditInput::default() };
        let report = audit(&input);
        if let Some((job, attempt)) = dear {
            let words = format!("attempt {job}.{attempt} ended before it began, and costs money");
            self.broken(Promise::Books, words);
        }
        if report.lost > 0 {
            self.broken(Promise::Rest, report.findings.join("; "));
        } else if report.ended_twice > 0 {
            self.broken(Promise::EndsOnce, report.findings.join("; "));
        } else if !report.holds() {
            self.broken(Promise::Books, report.findings.join("; "));
        }
        self.watch_decisions();
        self.watch_running();
    }

    /// It did not come to rest in time.
    pub(crate) fn restless(&mut self) {
        let open: Vec<String> = self
            .broker
            .messages
            .values()
            .take(5)
            .map(|stored| {
                format!("job {} at {} after {} deliveries", stored.job, stored.consumer, stored.delivered)
            })
            .collect();
        let tasks = self.tasks.names(&self.processes);
        let words = format!("{} tasks, {} to come, {}", tasks.join(", "), self.to_come, open.join(", "));
        self.broken(Promise::Rest, words);
    }
}
