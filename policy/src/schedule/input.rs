//! What a schedule is made from.

use schemas::PolicyConfig;

/// How long something runs: the middle, and what one of ten exceeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Run {
    /// Half of all runs are shorter, milliseconds.
    pub p50_ms: f64,
    /// One of ten is longer, milliseconds.
    pub p90_ms: f64,
}

/// A way to run a job: a pool that it may use by consent, ceiling, capability and history.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Way {
    /// Which of [`ScheduleInput::pools`].
    pub pool: usize,
    /// What it is expected to cost there, micro-dollars.
    pub cost_micro_usd: f64,
    /// How long it is expected to run there, start-up included.
    pub run: Run,
}

/// A job that waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// Since when, Unix milliseconds.
    pub since_ms: i64,
    /// For how long it bears to wait for its end, milliseconds.
    pub patience_ms: u64,
    /// Its deadline, Unix milliseconds.
    pub deadline_ms: Option<i64>,
    /// What a patience of waiting is worth, micro-dollars ([`reference`](super::reference)).
    pub reference_micro_usd: f64,
    /// Its profile as a multiple of the price of waiting ([`multiple`](super::multiple)).
    pub profile: f64,
    /// Which of [`ScheduleInput::tenants`].
    pub tenant: usize,
    /// Where it may run. Without a way it waits for a pool to come.
    pub ways: Vec<Way>,
}

impl Waiting {
    /// From its submission to when it is late, milliseconds, at least 1.
    #[must_use]
    pub fn span_ms(&self) -> f64 {
        span_ms(self.since_ms, self.deadline_ms, self.patience_ms)
    }
}

/// From a job's submission to when it is late, milliseconds, at least 1.
#[must_use]
pub fn span_ms(since_ms: i64, deadline_ms: Option<i64>, patience_ms: u64) -> f64 {
    let by_deadline = |at_ms: i64| at_ms.saturating_sub(since_ms) as f64;
    deadline_ms.map_or(patience_ms as f64, by_deadline).max(1.0)
}

/// Slots that are alike: of one backend, one speed, the same capabilities.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// Its slots cost money when they are used.
    pub is_paid: bool,
    /// When each slot is expected to be free, Unix milliseconds; what runs there or is bound there is counted.
    pub free_at_ms: Vec<i64>,
    /// Jobs that may be bound now beyond those that start: what keeps the slots from idling.
    pub ahead: usize,
}

/// What a tenant has had of our own slots.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Its weight, more than 0.
    pub weight: f64,
    /// Slot time that it used lately, milliseconds, decayed.
    pub used_ms: f64,
}

/// Work that is expected to arrive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// The patience that it arrives with, milliseconds.
    pub patience_ms: f64,
    /// The share of all our own slots that it takes, 0 to 1.
    pub share: f64,
}

/// The numbers of the rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// What being late costs at once, in references. From 1 on a job rather pays than be late.
    pub crossing: f64,
    /// What a missed deadline costs, in references.
    pub worth: f64,
    /// A pool with more slots than this has many: a start there need not be early.
    pub many_slots: usize,
    /// After this many patiences no other job passes it.
    pub passed_over_max: f64,
    /// But not sooner than this, milliseconds: a short claimed patience is no way to pass others.
    pub passed_over_min_ms: f64,
    /// A job is calm that would be in time behind so many times the work that tenants have within their shares. Less than 2:
    /// of two that flood with equal patience each then takes its turn.
    pub calm_behind: f64,
    /// The target of a job that is late anyway, in patiences.
    pub late_target: f64,
    /// Of the work that is expected to arrive, the part that is reckoned with, 0 to 1.
    pub expected_part: f64,
    /// What runs in a slot of our own is expected to end within this when a job is bound behind it, milliseconds.
    pub ahead_within_ms: f64,
    /// Jobs that are weighed to make room for one, at most.
    pub weighed_max: usize,
    /// Steps along the line in one schedule, at most: what bounds its time.
    pub steps_max: usize,
}

impl Rules {
    /// As document `policy` has them.
    #[must_use]
    pub fn of(policy: &PolicyConfig) -> Self {
        Self { passed_over_max: f64::from(policy.max_passed_over.max(1)), ..Self::default() }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            crossing: 1.1,
            worth: 10.0,
            many_slots: 6,
            passed_over_max: 4.0,
            passed_over_min_ms: 240_000.0,
            calm_behind: 1.75,
            late_target: 2.0,
            expected_part: 0.5,
            ahead_within_ms: 2_000.0,
            weighed_max: 4,
            steps_max: 12_000,
        }
    }
}

/// Everything that a schedule depends on.
#[derive(Debug, Clone, Copy)]
pub struct ScheduleInput<'a> {
    /// Now, Unix milliseconds.
    pub now_ms: i64,
    /// The jobs that wait.
    pub waiting: &'a [Waiting],
    /// Where there is, or will be, capacity.
    pub pools: &'a [Pool],
    /// The tenants of these jobs.
    pub tenants: &'a [Share],
    /// What is expected to arrive.
    pub expected: &'a [Expected],
    /// The numbers of the rule.
    pub rules: &'a Rules,
}

impl ScheduleInput<'_> {
    /// Milliseconds from now to a moment.
    pub(super) const fn ms_until(&self, at_ms: i64) -> f64 {
        at_ms.saturating_sub(self.now_ms) as f64
    }

    /// Whether a pool has so many slots that a start there need not be early.
    pub(super) fn is_many(&self, pool: usize) -> bool {
        self.pools[pool].free_at_ms.len() > self.rules.many_slots
    }
}
