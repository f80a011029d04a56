//! The routers of a fleet over one world.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use policy::breakers::Success;
use policy::fleet::Fleet;
use protocol::router::rhythm;
use schemas::config::Scoring;
use schemas::{Job, Lane, Profile};

use super::lanes::Lanes;
use super::ports::failed_letter;
use super::router::Router;
use super::wake::{POLL, READ_PAST, RETURN, SWEEP, ms};
use crate::strategy::Strategy;
use crate::world::{Notice, Shared};

/// The shipped router, or several.
pub struct Shipped {
    profile: Profile,
    lanes: Rc<RefCell<Lanes>>,
    routers: Vec<Router>,
    /// Who pulls first: it goes round.
    first: usize,
    sweeps: bool,
}

impl Shipped {
    /// So many routers over one world.
    #[must_use]
    pub fn new(world: &Shared, profile: Profile, scoring: Scoring, routers: usize) -> Self {
        let lanes = Rc::new(RefCell::new(Lanes::default()));
        let routers = (0..routers.max(1)).map(|index| Router::new(index, world, &lanes, scoring)).collect();
        Self { profile, lanes, routers, first: 0, sweeps: false }
    }

    fn publish(&self, world: &Shared, job: usize) {
        let (job, now_ms) = {
            let world = world.borrow();
            (Arc::clone(&world.jobs[job].job), world.now_ms)
        };
        let job = if job.preferences.profile == self.profile {
            job
        } else {
            let mut own = Job::clone(&job);
            own.preferences.profile = self.profile;
            Arc::new(own)
        };
        self.lanes.borrow_mut().publish(job, now_ms);
    }

    fn change_fleets(&self, change: impl Fn(&mut Fleet)) {
        self.routers.iter().for_each(|router| router.change_fleet(&change));
    }

    /// A router tells the others what waits in its hands, as it was at its last poll: a tenth of a second old.
    fn tell_others(&self, of: usize) {
        if self.routers.len() > 1 && self.routers[of].is_scheduling() {
            let digest = self.routers[of].digest();
            let others = self.routers.iter().enumerate().filter(|(index, _)| *index != of);
            others.for_each(|(_, router)| router.hear(digest.clone()));
        }
    }

    /// Routers take what they may in hand, one after the other.
    fn pull(&mut self) {
        let count = self.routers.len();
        self.first = (self.first + 1) % count;
        for offset in 0..count {
            let router = &mut self.routers[(self.first + offset) % count];
            for lane in Lane::ALL {
                router.pull(lane);
            }
        }
        let failed = self.lanes.borrow_mut().take_failed();
        for (nth, delivery) in failed.into_iter().enumerate() {
            self.routers[(self.first + nth) % count].follow_up(delivery);
        }
    }

    fn run_all(&mut self) {
        while self.routers.iter_mut().any(Router::run) {}
    }

    fn plan_ahead(&mut self, world: &Shared) {
        for router in &mut self.routers {
            router.plan_poll(world);
            router.plan_read_past(world);
        }
        let mut found = world.borrow_mut();
        if !self.sweeps && found.queues.iter().any(|queue| !queue.is_empty()) {
            self.sweeps = true;
            let at_ms = found.now_ms + ms(rhythm::SWEEP_EVERY);
            found.wake_at(at_ms, SWEEP);
        }
        let now_ms = found.now_ms;
        if let Some(at_ms) = self.lanes.borrow_mut().next_return(now_ms) {
            found.wake_at(at_ms, RETURN);
        }
    }
}

impl Strategy for Shipped {
    fn notice(&mut self, world: &Shared, notice: Notice) {
        match notice {
            Notice::Arrived(job) => self.publish(world, job),
            Notice::Failed(failed) => {
                let (policy, now_ms) = {
                    let world = world.borrow();
                    (Arc::clone(&world.setting.config.policy), world.now_ms)
                };
                if let Some(letter) = failed_letter(&failed, world) {
                    self.change_fleets(|fleet| {
                        let _ = fleet.attempt_failed(
                            letter.assignment.job.id,
                            &letter.ended_attempt,
                            &policy,
                            now_ms,
                        );
                    });
                    self.lanes.borrow_mut().publish_failed(letter, now_ms);
                }
            }
            Notice::Succeeded { job, backend, run_ms } => {
                let world = world.borrow();
                let (backend, now_ms) = (world.setting.backends().nth(backend), world.now_ms);
                let class = &world.jobs[job].admitted.class;
                let service = backend.and_then(|backend| world.setting.service(backend, class));
                if let (Some(backend), Some(service)) = (backend, service) {
                    let begun_ms = now_ms.saturating_sub_unsigned(run_ms);
                    let success = Success { backend, model: &service.model, begun_ms };
                    self.change_fleets(|fleet| {
                        if fleet.is_troubled() {
                            drop(fleet.attempt_succeeded(&success, now_ms));
                        }
                    });
                }
            }
            Notice::Woken(code) => {
                let (kind, of) = (code % 4, usize::try_from(code / 4).unwrap_or_default());
                match kind {
                    POLL => {
                        self.routers[of].poll(world);
                        self.tell_others(of);
                    }
                    READ_PAST => self.routers[of].read_past(),
                    SWEEP => {
                        self.sweeps = false;
                        self.routers.iter_mut().for_each(Router::sweep);
                    }
                    _ => {}
                }
            }
        }
    }

    fn decide(&mut self, world: &Shared) {
        let now_ms = world.borrow().now_ms;
        self.lanes.borrow_mut().bring_back(now_ms);
        self.run_all();
        self.pull();
        self.run_all();
        self.plan_ahead(world);
    }
}
