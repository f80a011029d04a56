//! Jobs in hand for which there is no room yet, in the order of [`policy::fair`].
//!
//! They wait here and not in the stream: a job that is handed back again and again costs the broker a
//! redelivery each time. Whenever news of the fleet arrives the first of them are planned again; what is
//! planned goes on its way, and of jobs that would all be told the same only the first is asked about.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use policy::fair::{self, Fair};
use policy::plan::Plan;
use schemas::{Lane, Tenant};
use tokio::sync::oneshot;

use crate::intake::Taken;
use crate::place;
use crate::shared::Router;

/// Kinds of jobs that are told to wait on in one look; enough for every class and a few ways to ask.
const SHAPES_MAX: usize = 16;

/// Jobs that are looked at in one look.
const LOOKED_AT_MAX: usize = 1_000;

/// What became of a job that waited.
#[derive(Debug)]
pub(crate) enum Told {
    /// It was planned: assigned or refused, never deferred. Room for it is counted already.
    Plan(Plan),
    /// It is not to be placed any more (`Taken::is_over`).
    Look,
}

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
}

#[derive(Debug)]
struct Waiting {
    taken: Arc<Taken>,
    tell: oneshot::Sender<Told>,
}

/// A place in the waiting room, given up when dropped.
pub(crate) struct Seat {
    room: Room,
    turn: Turn,
    told: oneshot::Receiver<Told>,
}

impl Room {
    /// Nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().waiting.is_empty()
    }

    /// How many of a lane wait, by tenant.
    pub(crate) fn tenants(&self, lane: Lane) -> HashMap<Tenant, usize> {
        let inner = self.lock();
        let mut tenants = HashMap::new();
        for job in inner.waiting.values().map(|waiting| &waiting.taken.job).filter(|job| job.lane == lane) {
            *tenants.entry(job.tenant.clone()).or_default() += 1;
        }
        tenants
    }

    /// Waits for room; `cost_ms` is the slot time that the job will take.
    pub(crate) fn enter(&self, taken: Arc<Taken>, cost_ms: u64) -> Seat {
        let (tell, told) = oneshot::channel();
        let mut inner = self.lock();
        let (lane, tenant) = (taken.job.lane, taken.job.tenant.clone());
        let tag = inner.fair.tag((lane, tenant), cost_ms, fair::weight(lane));
        inner.arrivals += 1;
        let turn = (tag, inner.arrivals);
        inner.waiting.insert(turn, Waiting { taken, tell });
        drop(inner);
        Seat { room: self.clone(), turn, told }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    pub(crate) async fn told(&mut self) -> Option<Told> {
        (&mut self.told).await.ok()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.lock().waiting.remove(&self.turn);
    }
}

/// Plans again for those that wait, as far as there is room.
pub(crate) fn look(router: &Router) {
    let mut inner = router.room.lock();
    let mut told: Vec<(Turn, Told)> = Vec::new();
    let mut full: Vec<&Taken> = Vec::new();
    for (turn, waiting) in inner.waiting.iter().take(LOOKED_AT_MAX) {
        let taken = &*waiting.taken;
        if taken.is_over(router).is_some() {
            told.push((*turn, Told::Look));
            continue;
        }
        if full.iter().any(|other| are_alike(other, taken)) {
            continue;
        }
        match place::decide(router, &taken.placing(), &[]) {
            Plan::Defer { .. } if full.len() >= SHAPES_MAX => break,
            Plan::Defer { .. } => full.push(taken),
            plan => told.push((*turn, Told::Plan(plan))),
        }
    }
    for (turn, tell) in told {
        inner.fair.served(turn.0);
        if let Some(waiting) = inner.waiting.remove(&turn)
            && let Err(Told::Plan(Plan::Assign(assign))) = waiting.tell.send(tell)
        {
            // It stopped waiting just now.
            place::give_room_back(router, &assign);
        }
    }
}

/// Whether a plan for one would say of the other what it says of the one: all that a plan looks at is the same,
/// the deadline among it.
fn are_alike(one: &Taken, other: &Taken) -> bool {
    one.job.tenant == other.job.tenant
        && one.job.lane == other.job.lane
        && one.admitted == other.admitted
        && one.job.constraints == other.job.constraints
        && one.job.preferences == other.job.preferences
        && one.job.body.inputs.is_empty() == other.job.body.inputs.is_empty()
}
