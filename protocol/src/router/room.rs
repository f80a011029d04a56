//! Jobs in hand for which there is no room yet, in the order of [`policy::fair`].
//!
//! They wait here and not in the stream: a job that is handed back again and again costs the broker a redelivery each
//! time. Whenever news of the fleet arrives the first of them are planned again; what is planned goes on its way, and
//! of jobs for which a plan would say the same only the first is planned.

pub(crate) mod others;
mod waits;

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::oneshot;
use policy::fair::{self, Fair};
use policy::plan::Plan;
use policy::schedule::Rates;
use schemas::digest::Digest;
use schemas::{Backend, JobId, Lane, Tenant};

use crate::router::job::AdmittedJob;

use self::others::Others;
use self::waits::Stand;
pub(crate) use self::waits::Waits;

/// Kinds of jobs that wait on in one look; enough for every class and a few ways to ask.
const SHAPES_MAX: usize = 16;

/// Jobs that are looked at in one look.
const LOOKED_AT_MAX: usize = 1_024;

/// What became of a job that waited.
#[derive(Debug)]
pub enum WaitOutcome {
    /// It was planned: assigned or refused, never deferred. Room for it is counted already.
    Plan(Plan),
    /// It is not to be placed any more ([`AdmittedJob::is_over`]).
    Over,
}

/// What a job waits for that a router looks at again later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// Whose job it is.
    pub tenant: Tenant,
    /// In which lane it came.
    pub lane: Lane,
    /// What it waits for.
    pub waits_for: String,
    /// Since when, Unix milliseconds.
    pub since_ms: i64,
    /// When it is looked at next, Unix milliseconds.
    pub next_look_ms: i64,
}

impl Wait {
    /// Of a job that was admitted and could not be placed.
    #[must_use]
    pub fn of(admitted: &AdmittedJob, waits_for: String, next_look_ms: i64) -> Self {
        let waits_for = match admitted.inputs.warning(next_look_ms) {
            Some(warning) => format!("{waits_for}; {warning}"),
            None => waits_for,
        };
        let (tenant, lane) = (admitted.job.tenant.clone(), admitted.job.lane);
        Self { tenant, lane, waits_for, since_ms: admitted.submitted_at_ms, next_look_ms }
    }
}

/// A noted wait, forgotten when dropped.
#[must_use]
pub struct Noted {
    room: Option<Room>,
    job: JobId,
}

impl Noted {
    /// Leaves the note in place: the job's message went back to the broker until its time comes.
    pub fn leave(mut self) {
        self.room = None;
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        if let Some(room) = &self.room {
            room.lock().put_off.remove(&self.job);
        }
    }
}

/// Waits that are remembered of jobs whose messages went back to the broker.
const PUT_OFF_MAX: usize = 20_000;

/// How long after its time a note is valid: by then another look was made, here or elsewhere.
const PUT_OFF_GRACE_MS: i64 = 2_000;

/// The waiting room.
#[derive(Debug, Clone, Default)]
pub struct Room {
    inner: Arc<Mutex<Inner>>,
}

/// Fair tag, then arrival.
type Turn = (u64, u64);

#[derive(Debug, Default)]
struct Inner {
    fair: Fair<(Lane, Tenant)>,
    arrivals: u64,
    waiting: BTreeMap<Turn, Waiting>,
    /// Jobs that are looked at again at a time, by their ids.
    put_off: HashMap<JobId, Wait>,
    /// Backends for which the money of a job was refused just now.
    refused: HashMap<JobId, Refused>,
    /// What tenants used of our own slots, and what arrives.
    rates: Rates,
    /// What waits in the hands of other routers.
    others: Others,
    /// Since when jobs of others have held back all that wait here, Unix milliseconds.
    held_back_since_ms: Option<i64>,
}

/// Backends for which money was refused, with the ledger's words.
#[derive(Debug)]
struct Refused {
    backends: Vec<(Backend, String)>,
    until_ms: i64,
}

#[derive(Debug)]
struct Waiting {
    admitted: Arc<AdmittedJob>,
    outcome: oneshot::Sender<WaitOutcome>,
    /// It counts among what arrives.
    is_counted: Cell<bool>,
}

/// A place in the waiting room, given up when dropped.
pub struct Seat {
    room: Room,
    turn: Turn,
    is_first: bool,
    outcome: oneshot::Receiver<WaitOutcome>,
}

impl Room {
    /// Whether no job waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().waiting.is_empty()
    }

    /// How many jobs wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Another router said what waits in its hands.
    pub fn hear(&self, digest: Digest, now_ms: i64) {
        self.lock().others.hear(digest, now_ms);
    }

    /// Whether a job waits here, or in the hands of a router that said so lately.
    pub(crate) fn is_empty_everywhere(&self, now_ms: i64) -> bool {
        let inner = self.lock();
        inner.waiting.is_empty() && inner.others.digests(now_ms).next().is_none()
    }

    /// The money of a job was refused for these backends: they are not asked again before that moment, Unix milliseconds.
    pub(crate) fn refuse(&self, job: JobId, backends: Vec<(Backend, String)>, until_ms: i64) {
        let mut inner = self.lock();
        let refused = inner.refused.entry(job).or_insert_with(|| Refused { backends: Vec::new(), until_ms });
        // All that refused since the first did: else the job would go from one to the other and back.
        refused.backends.retain(|(known, _)| backends.iter().all(|(backend, _)| backend != known));
        refused.backends.extend(backends);
    }

    /// A job was bound to a slot of our own as it came: it bears to wait that long, and takes that long, milliseconds.
    pub(crate) fn bound_at_once(&self, tenant: &Tenant, patience_ms: f64, run_ms: f64, now_ms: i64) {
        let mut inner = self.lock();
        inner.rates.used(tenant.as_str(), run_ms, now_ms);
        inner.rates.arrived(patience_ms, run_ms, now_ms);
    }

    /// How many jobs of a lane wait, by tenant.
    #[must_use]
    pub fn tenants(&self, lane: Lane) -> HashMap<Tenant, usize> {
        let inner = self.lock();
        let mut tenants = HashMap::new();
        for job in inner.waiting.values().map(|waiting| &waiting.admitted.job).filter(|job| job.lane == lane)
        {
            *tenants.entry(job.tenant.clone()).or_default() += 1;
        }
        tenants
    }

    /// Notes that a job is looked at again later.
    pub fn put_off(&self, job: JobId, wait: Wait, now_ms: i64) -> Noted {
        let mut inner = self.lock();
        if inner.put_off.len() >= PUT_OFF_MAX {
            inner.put_off.retain(|_, other| other.next_look_ms + PUT_OFF_GRACE_MS > now_ms);
        }
        if inner.put_off.len() < PUT_OFF_MAX {
            inner.put_off.insert(job, wait);
        }
        Noted { room: Some(self.clone()), job }
    }

    /// What a job waits for that is looked at again later.
    #[must_use]
    pub fn wait_of(&self, job: JobId, now_ms: i64) -> Option<Wait> {
        let inner = self.lock();
        inner.put_off.get(&job).filter(|wait| wait.next_look_ms + PUT_OFF_GRACE_MS > now_ms).cloned()
    }

    /// When the first input of a job that waits goes, Unix milliseconds; none where all stay.
    #[must_use]
    pub fn inputs_kept_until_ms(&self) -> Option<i64> {
        self.lock().waiting.values().filter_map(|waiting| waiting.admitted.inputs.kept_until_ms()).min()
    }

    /// A job that waits for room.
    #[must_use]
    pub fn find(&self, job: JobId) -> Option<Arc<AdmittedJob>> {
        let inner = self.lock();
        let mut waiting = inner.waiting.values();
        waiting.find(|waiting| waiting.admitted.job.id == job).map(|waiting| Arc::clone(&waiting.admitted))
    }

    /// Waits for room; `cost_ms` is the slot time that the job will take.
    #[must_use]
    pub fn enter(&self, admitted: Arc<AdmittedJob>, cost_ms: u64) -> Seat {
        let (sender, outcome) = oneshot::channel();
        let mut inner = self.lock();
        let (lane, tenant) = (admitted.job.lane, admitted.job.tenant.clone());
        let tag = inner.fair.tag((lane, tenant), cost_ms, fair::weight(lane));
        inner.arrivals += 1;
        let turn = (tag, inner.arrivals);
        inner.waiting.insert(turn, Waiting { admitted, outcome: sender, is_counted: Cell::new(false) });
        let is_first = inner.waiting.first_key_value().is_some_and(|(first, _)| *first == turn);
        drop(inner);
        Seat { room: self.clone(), turn, is_first, outcome }
    }

    /// Plans again for those that wait, as far as there is room. `is_over` and `decide` are asked of one job after the
    /// other; a plan that is not used is given to `unused`.
    pub fn look(
        &self,
        is_over: impl Fn(&AdmittedJob) -> bool,
        decide: impl Fn(&AdmittedJob) -> Plan,
        unused: impl Fn(Plan),
    ) {
        let mut inner = self.lock();
        let mut found: Vec<(Turn, WaitOutcome)> = Vec::new();
        let mut full: Vec<&AdmittedJob> = Vec::new();
        for (turn, waiting) in inner.waiting.iter().take(LOOKED_AT_MAX) {
            let admitted = &*waiting.admitted;
            if is_over(admitted) {
                found.push((*turn, WaitOutcome::Over));
                continue;
            }
            if full.iter().any(|other| other.is_alike(admitted)) {
                continue;
            }
            match decide(admitted) {
                Plan::Defer { .. } if full.len() >= SHAPES_MAX => break,
                Plan::Defer { .. } => full.push(admitted),
                plan => found.push((*turn, WaitOutcome::Plan(plan))),
            }
        }
        inner.leave(found, unused);
    }

    /// Decides for all that wait at once: a plan for each that waits no more. `is_over` is asked of one after the other.
    pub(crate) fn look_at_all(
        &self,
        now_ms: i64,
        is_over: impl Fn(&AdmittedJob) -> bool,
        decide: impl FnOnce(&mut Waits<'_>) -> Vec<Option<Plan>>,
        unused: impl Fn(Plan),
    ) {
        let mut inner = self.lock();
        inner.refused.retain(|_, refused| refused.until_ms > now_ms);
        let over = |(turn, waiting): (&Turn, &Waiting)| is_over(&waiting.admitted).then_some(*turn);
        let over: Vec<Turn> = inner.waiting.iter().take(LOOKED_AT_MAX).filter_map(over).collect();
        inner.leave(over.into_iter().map(|turn| (turn, WaitOutcome::Over)).collect(), &unused);
        if inner.waiting.is_empty() {
            return;
        }
        let turns: Vec<Turn> = inner.waiting.keys().take(LOOKED_AT_MAX).copied().collect();
        let plans = decide(&mut inner.waits());
        let found = turns.into_iter().zip(plans);
        inner
            .leave(found.filter_map(|(turn, plan)| Some((turn, WaitOutcome::Plan(plan?)))).collect(), unused);
    }

    /// Shows all that wait.
    pub(crate) fn with_waits<T>(&self, read: impl FnOnce(&mut Waits<'_>) -> T) -> T {
        read(&mut self.lock().waits())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn waits(&mut self) -> Waits<'_> {
        let Self { waiting, refused, rates, others, held_back_since_ms, .. } = self;
        let mut jobs = Vec::with_capacity(waiting.len().min(LOOKED_AT_MAX));
        for waiting in waiting.values().take(LOOKED_AT_MAX) {
            let refused = refused.get(&waiting.admitted.job.id);
            jobs.push(Stand {
                admitted: &waiting.admitted,
                refused: refused.map_or(&[], |refused| &refused.backends),
                is_counted: &waiting.is_counted,
            });
        }
        Waits::new(jobs, rates, others, held_back_since_ms)
    }

    /// These wait no more.
    fn leave(&mut self, found: Vec<(Turn, WaitOutcome)>, unused: impl Fn(Plan)) {
        for (turn, outcome) in found {
            self.fair.served(turn.0);
            if let Some(waiting) = self.waiting.remove(&turn)
                && let Err(WaitOutcome::Plan(plan)) = waiting.outcome.send(outcome)
            {
                // It stopped waiting just now.
                unused(plan);
            }
        }
    }
}

impl Seat {
    /// Whether it came before all others when it entered. Such a job need not wait for the next look: there may be
    /// room that is kept for its kind.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.is_first
    }

    /// It was planned at once.
    pub fn served(self) {
        self.room.lock().fair.served(self.turn.0);
    }

    /// Returns what became of the job; none when the room is gone.
    pub async fn outcome(&mut self) -> Option<WaitOutcome> {
        (&mut self.outcome).await.ok()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.lock().waiting.remove(&self.turn);
    }
}
