//! One router: its tasks, its view of the fleet, and when it looks again.

use std::cell::RefCell;
use std::rc::Rc;

use policy::fleet::Fleet;
use protocol::router::intake::{Arrived, Intake, look_at_room};
use protocol::router::take_back::Deserted;
use protocol::router::too_new::Resting;
use protocol::router::{RouterPorts as _, failed_attempts, rhythm, schedule};
use schemas::config::Scoring;
use schemas::digest::Digest;
use schemas::{Backend, Lane, Queue};

use super::delivery::SimDelivery;
use super::executor::Tasks;
use super::lanes::{Lanes, place};
use super::ports::SimPorts;
use super::wake::{POLL, READ_PAST, code, ms};
use crate::setting::START_MS;
use crate::world::Shared;

/// While jobs wait and nothing changes, they are planned again this often: deadlines pass, breakers close.
const LOOK_EVERY_MS: i64 = 1_000;

/// Offers are read again before they grow old.
const OFFERS_EVERY_MS: i64 = 3_000;

/// Routers poll at different moments.
const PHASE_MS: i64 = 37;

/// What a task counts as beside the three lanes.
const FAILED: usize = 3;
const OTHER: usize = 4;

type Found = Rc<RefCell<Vec<(Lane, Arrived<SimDelivery>)>>>;

/// One router.
pub(crate) struct Router {
    index: usize,
    ports: SimPorts,
    scoring: Scoring,
    tasks: Tasks,
    intakes: [Rc<Intake>; 3],
    resting: Rc<Resting>,
    deserted: Rc<RefCell<Option<Deserted>>>,
    found: Found,
    backends: Vec<Backend>,
    seen_version: u64,
    offers_read_ms: i64,
    next_poll_ms: Option<i64>,
    reads_past: bool,
}

impl Router {
    pub(crate) fn new(index: usize, world: &Shared, lanes: &Rc<RefCell<Lanes>>, scoring: Scoring) -> Self {
        let mut router = Self {
            index,
            ports: SimPorts::new(world, lanes, scoring),
            scoring,
            tasks: Tasks::default(),
            intakes: std::array::from_fn(|_| Rc::new(Intake::default())),
            resting: Rc::default(),
            deserted: Rc::new(RefCell::new(Some(Deserted::default()))),
            found: Rc::default(),
            backends: world.borrow().setting.backends().cloned().collect(),
            seen_version: 0,
            offers_read_ms: i64::MIN / 4,
            next_poll_ms: None,
            reads_past: false,
        };
        router.look_around(world);
        router
    }

    pub(crate) fn change_fleet(&self, change: &impl Fn(&mut Fleet)) {
        self.ports.change_fleet(|fleet| change(fleet));
    }

    pub(crate) fn is_scheduling(&self) -> bool {
        self.scoring == Scoring::Schedule
    }

    pub(crate) fn digest(&self) -> Digest {
        schedule::digest(&self.ports, &self.index.to_string())
    }

    pub(crate) fn hear(&self, digest: Digest) {
        use protocol::Ports as _;
        self.ports.room().hear(digest, self.ports.now_ms());
    }

    /// Takes what a lane has, as far as the intake wants it.
    pub(crate) fn pull(&mut self, lane: Lane) {
        let at = place(lane);
        if !self.ports.lanes().has_ready(lane) {
            return;
        }
        let wanted = self.intakes[at].wanted(self.scoring, self.tasks.count(at), rhythm::IN_HAND_MAX);
        for _ in 0..wanted {
            let Some(delivery) = self.ports.lanes().deliver(lane) else { return };
            self.settle(lane, Arrived::delivered(delivery));
        }
    }

    fn settle(&mut self, lane: Lane, arrived: Arrived<SimDelivery>) {
        let at = place(lane);
        let (intake, ports) = (Rc::clone(&self.intakes[at]), self.ports.clone());
        self.tasks.spawn(at, async move { intake.settle(&ports, arrived).await });
    }

    pub(crate) fn follow_up(&mut self, delivery: SimDelivery) {
        let (resting, ports) = (Rc::clone(&self.resting), self.ports.clone());
        self.tasks.spawn(FAILED, async move { failed_attempts::settle(&ports, &resting, &delivery).await });
    }

    /// Polls what was woken; whether anything was.
    pub(crate) fn run(&mut self) -> bool {
        let ran = self.tasks.run();
        let found = std::mem::take(&mut *self.found.borrow_mut());
        let any = ran || !found.is_empty();
        found.into_iter().for_each(|(lane, arrived)| self.settle(lane, arrived));
        any
    }

    /// Reads backlog and offers, and plans again for those that wait.
    pub(crate) fn poll(&mut self, world: &Shared) {
        let now_ms = world.borrow().now_ms;
        if self.next_poll_ms.is_some_and(|next_ms| next_ms <= now_ms) {
            self.next_poll_ms = None;
        }
        self.look_around(world);
        look_at_room(&self.ports);
    }

    fn look_around(&mut self, world: &Shared) {
        let world = world.borrow();
        let now_ms = world.now_ms;
        let all = now_ms - self.offers_read_ms >= OFFERS_EVERY_MS;
        let seen = self.seen_version;
        self.ports.change_fleet(|fleet| {
            for server in &world.servers {
                if all || server.version > seen {
                    fleet.upsert_offer(server.offer(&world.jobs, now_ms), now_ms);
                }
            }
            for ((backend, class), jobs) in world.backlog() {
                fleet.set_backlog(&self.backends[*backend], Queue::of_class(class.clone()), *jobs);
            }
        });
        self.seen_version = world.version;
        if all {
            self.offers_read_ms = now_ms;
        }
    }

    /// Asks to be woken for the next poll, if one is of use.
    pub(crate) fn plan_poll(&mut self, world: &Shared) {
        let mut world = world.borrow_mut();
        let waiting = !self.ports.room().is_empty();
        let changed = world.version != self.seen_version;
        let stale = world.now_ms - self.offers_read_ms >= OFFERS_EVERY_MS;
        let every_ms = match (changed || stale, waiting) {
            (true, true) => ms(rhythm::BACKLOG_EVERY_WHEN_WAITING),
            (true, false) => ms(rhythm::BACKLOG_EVERY),
            (false, true) => LOOK_EVERY_MS,
            (false, false) => return,
        };
        let phase_ms = START_MS + PHASE_MS * i64::try_from(self.index).unwrap_or_default();
        let next_ms = phase_ms + ((world.now_ms - phase_ms).div_euclid(every_ms) + 1) * every_ms;
        if self.next_poll_ms.is_none_or(|planned_ms| next_ms < planned_ms) {
            self.next_poll_ms = Some(next_ms);
            world.wake_at(next_ms, code(POLL, self.index));
        }
    }

    pub(crate) fn plan_read_past(&mut self, world: &Shared) {
        if !self.reads_past && self.intakes.iter().any(|intake| intake.is_full(self.scoring)) {
            self.reads_past = true;
            let mut world = world.borrow_mut();
            let at_ms = world.now_ms + ms(rhythm::READ_PAST_EVERY);
            world.wake_at(at_ms, code(READ_PAST, self.index));
        }
    }

    pub(crate) fn read_past(&mut self) {
        self.reads_past = false;
        for (at, lane) in Lane::ALL.into_iter().enumerate() {
            if !self.intakes[at].is_full(self.scoring) {
                continue;
            }
            let (intake, ports, found) =
                (Rc::clone(&self.intakes[at]), self.ports.clone(), Rc::clone(&self.found));
            self.tasks.spawn(OTHER, async move {
                if let Ok(read) = intake.read_past(&ports, lane).await {
                    found.borrow_mut().extend(read.into_iter().map(|arrived| (lane, arrived)));
                }
            });
        }
    }

    /// Takes back what waits where it should not.
    pub(crate) fn sweep(&mut self) {
        // One look at a time.
        let Some(mut deserted) = self.deserted.borrow_mut().take() else { return };
        let (ports, place) = (self.ports.clone(), Rc::clone(&self.deserted));
        self.tasks.spawn(OTHER, async move {
            use protocol::Ports as _;
            let catalog = ports.config().catalog;
            for service in &catalog.services {
                // Nothing fails here.
                let queue = Queue::of_class(service.class.clone());
                let _ = deserted.look(&ports, &service.backend, &queue).await;
            }
            *place.borrow_mut() = Some(deserted);
        });
    }
}
