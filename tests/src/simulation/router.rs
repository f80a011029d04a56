//! A simulated router: the steps of [`protocol::router`], started as the real one's loops start them. Its ports are in
//! [`ports`].

mod cancels;
pub(crate) mod delivery;
mod ledger;
pub(crate) mod ports;

use std::rc::Rc;
use std::time::Duration;

use protocol::Ports as _;
use protocol::router::guards::{self, Guards};
use protocol::router::intake::{Arrived, look_at_room, refuse_unread};
use protocol::router::{cancel, failed_attempts, orphans, withdraw};
use schemas::Lane;

use super::broker::{DEAD, ENTRIES_KEPT_MS, LANES, Payload, Place, WORK};
use super::executor::Steps;
use super::ports::SimulatedPorts;
use super::process::Role;
use super::schedule::Happening;
use super::setting::{BEGIN_MS, IN_HAND};
use super::task::{Delivery, Task};
use super::world::World;
use delivery::SimulatedDelivery;

/// A router looks at the jobs in hand that wait this long after something changed, milliseconds; while nothing does,
/// less and less often.
const ROOM_EVERY_MS: i64 = 300;
const ROOM_EVERY_MAX_MS: i64 = 30_000;
/// No placement is looked at for being lost before it is as old as this, milliseconds.
const OLD_MS: i64 = 600_000;
/// How often a client asks to cancel a job, and how long it waits between the tries.
const CANCEL_TRIES: u32 = 4;
const CANCEL_AGAIN_MS: i64 = 1_500;

impl World {
    /// Whether a router would pull from a consumer.
    pub(crate) fn router_pulls(&self, process: usize, consumer: usize) -> bool {
        let found = &self.processes[process];
        match consumer {
            LANES..DEAD => {
                let in_hand = found.at_work[consumer] as usize;
                in_hand < IN_HAND as usize
                    && found.intakes[consumer - LANES].wanted(
                        self.setting.policy.scoring,
                        in_hand.min(IN_HAND as usize / 2),
                        IN_HAND as usize,
                    ) > 0
            }
            DEAD => found.at_work[DEAD] < IN_HAND,
            _ => false,
        }
    }

    /// The ports of a router's task, about a job if it is about one.
    pub(crate) fn router_ports(&self, process: usize, job: Option<u32>) -> SimulatedPorts {
        let shared = self.shared.upgrade().expect("the world runs");
        SimulatedPorts::new(shared, self, process, job)
    }

    /// A router takes a delivery in hand.
    pub(crate) fn route(&mut self, process: usize, delivery: &Delivery, behind: bool) -> Task {
        let ports = self.router_ports(process, Some(delivery.job));
        let found = &self.processes[process];
        let (steps, of) = match &delivery.payload {
            Payload::Dead(_) | Payload::Unreadable(_) => {
                let resting = Rc::clone(&found.resting);
                let message = SimulatedDelivery::of(delivery, behind);
                let steps =
                    Steps::new(async move { failed_attempts::settle(&ports, &resting, &message).await });
                (steps, DEAD)
            }
            Payload::Job(job) => {
                let intakes = Rc::clone(&found.intakes);
                let lane = lane_number(job.lane);
                let message = Arrived::delivered(SimulatedDelivery::of(delivery, behind));
                (Steps::new(async move { intakes[lane].settle(&ports, message).await }), LANES + lane)
            }
            Payload::Work(_) | Payload::Event(_) => unreachable!("routers pull jobs and failed attempts"),
        };
        self.plan_look_at_room(process);
        Task::Router(steps, Some(of))
    }

    /// A router takes a request to cancel. It is not redelivered: where it fails, its client asks again, a few times.
    pub(crate) fn route_cancel(&mut self, process: usize, job: u32) {
        let Some(body) = self.jobs[job as usize].clone() else { return };
        let ports = self.router_ports(process, Some(job));
        let steps = Steps::new(async move {
            for _ in 0..CANCEL_TRIES {
                let asked_ms = ports.world(|world| world.now_ms);
                match cancel::cancel(&ports, Some(&body.tenant), body.id).await {
                    Ok(answer) => return ports.world(|world| world.watch_answer(asked_ms, &answer)),
                    Err(_) => {
                        ports.world(|world| world.figures.failed_cancels += 1);
                        ports.pause(CANCEL_AGAIN_MS).await;
                    }
                }
            }
        });
        self.begin(process, Task::Router(steps, None));
    }

    /// A router's look every few seconds: backends without workers, messages that the broker gave up on, messages that their consumer has passed.
    pub(crate) fn router_tick(&mut self, process: usize) {
        if !self.processes[process].is_reachable(self.now_ms) {
            return;
        }
        self.plan_look_at_room(process);
        self.look_for_lost(process);
        self.look_at_guards(process);
        let (setting, ports) = (Rc::clone(&self.setting), self.router_ports(process, None));
        let waits = self.broker.messages.values().any(|stored| stored.consumer != super::broker::LEDGER);
        if !waits {
            return;
        }
        let deserted = Rc::clone(&self.processes[process].deserted);
        // Taken at once: a task that never gets to run leaves it in place only with its process.
        let taken = deserted.borrow_mut().take();
        if let Some(mut looking) = taken {
            let steps = Steps::new(async move {
                for (number, queue) in &setting.queues {
                    let _ = looking.look(&ports, &setting.backends[*number], queue).await;
                }
                *deserted.borrow_mut() = Some(looking);
            });
            self.begin(process, Task::Router(steps, None));
        }
        let given_up: Vec<(u64, u32)> = self
            .broker
            .messages
            .iter()
            .filter(|(_, stored)| stored.consumer >= WORK && matches!(stored.place, Place::GivenUp))
            .map(|(sequence, stored)| (*sequence, stored.delivered))
            .collect();
        for (sequence, deliveries) in given_up {
            let ports = self.router_ports(process, None);
            let steps = Steps::new(async move {
                let _ = withdraw::given_up(&ports, sequence, u64::from(deliveries)).await;
            });
            self.begin(process, Task::Router(steps, None));
        }
        self.look_for_orphans(process);
        if self.broker.messages.values().any(|stored| matches!(stored.place, Place::Unread)) {
            let ports = self.router_ports(process, None);
            let steps = Steps::new(async move {
                let _ = refuse_unread(&ports).await;
            });
            self.begin(process, Task::Router(steps, None));
        }
    }

    /// Keys and cancel requests that are old enough; in a short run none is.
    fn look_at_guards(&mut self, process: usize) {
        if !self.broker.has_old_entries(self.now_ms) {
            return;
        }
        if self.mutation == super::mutation::Mutation::RemoveWhatGuards {
            let (now_ms, entries) = (self.now_ms, self.broker.entries.clone());
            for (_, entry) in entries.values() {
                if now_ms - entry.stored_at_ms >= ENTRIES_KEPT_MS {
                    self.broker.remove_entry(entry);
                }
            }
            return;
        }
        let ports = self.router_ports(process, None);
        let steps = Steps::new(async move {
            for bucket in guards::BUCKETS {
                let _ = Guards::default().pass(&ports, bucket, ENTRIES_KEPT_MS).await;
            }
        });
        self.begin(process, Task::Router(steps, None));
    }

    /// Placements are looked at once they may be old enough: where work was removed, and in runs that take long.
    fn look_for_lost(&mut self, process: usize) {
        let log = &self.broker.log;
        self.purged.retain(|job| !log[*job as usize].iter().any(|event| event.fact.kind() == "ended"));
        if self.purged.is_empty() && self.now_ms - BEGIN_MS < OLD_MS {
            return;
        }
        let remembered = Rc::clone(&self.processes[process].lost);
        let taken = remembered.borrow_mut().take();
        let Some(mut known) = taken else { return };
        let ports = self.router_ports(process, None);
        let steps = Steps::new(async move {
            let _ = known.look_around(&ports).await;
            *remembered.borrow_mut() = Some(known);
        });
        self.begin(process, Task::Router(steps, None));
    }

    fn look_for_orphans(&mut self, process: usize) {
        if !self.broker.messages.values().any(|stored| matches!(stored.place, Place::Passed)) {
            return;
        }
        let remembered = Rc::clone(&self.processes[process].orphans);
        let taken = remembered.borrow_mut().take();
        let Some(mut seen) = taken else { return };
        let ports = self.router_ports(process, None);
        let steps = Steps::new(async move {
            for stream in orphans::STREAMS {
                let _ = seen.look(&ports, stream).await;
            }
            // The next look is not the same moment's.
            ports.sleep(Duration::from_millis(1)).await;
            *remembered.borrow_mut() = Some(seen);
        });
        self.begin(process, Task::Router(steps, None));
    }

    /// Plans the next look at the jobs that wait, if any wait and none is planned.
    pub(crate) fn plan_look_at_room(&mut self, process: usize) {
        let found = &mut self.processes[process];
        if found.role != Role::Router || found.looks_at_room {
            return;
        }
        found.looks_at_room = true;
        let incarnation = found.incarnation;
        let idle_ms = self.now_ms - self.changed_ms;
        let at_ms = self.now_ms + (idle_ms / 4).clamp(ROOM_EVERY_MS, ROOM_EVERY_MAX_MS);
        self.schedule.at(at_ms, Happening::LookAtRoom { process, incarnation });
    }
}

/// A look at the jobs that wait, and at what lies behind them; the world is borrowed only by its ports.
pub(crate) fn look(shared: &super::executor::Shared, process: usize) {
    let (ports, intakes) = {
        let mut world = shared.borrow_mut();
        world.processes[process].looks_at_room = false;
        let intakes = Rc::clone(&world.processes[process].intakes);
        (world.router_ports(process, None), intakes)
    };
    let waits = !protocol::router::RouterPorts::room(&ports).is_empty();
    if waits {
        look_at_room(&ports);
        if protocol::Ports::config(&ports).policy.scoring == schemas::config::Scoring::Schedule {
            super::digests::tell(shared, process, &ports);
        }
    }
    let mut world = shared.borrow_mut();
    for number in world.woken.take() {
        world.wake(number);
    }
    // The real router looks behind those that wait by the clock: also where all of them are put off, and none is in the room.
    let scoring = world.setting.policy.scoring;
    if !waits && !intakes.iter().any(|intake| intake.is_full(scoring)) {
        return;
    }
    for (number, lane) in Lane::ALL.into_iter().enumerate() {
        if !intakes[number].is_full(scoring) || world.processes[process].reads_past[number] {
            continue;
        }
        world.processes[process].reads_past[number] = true;
        let (ports, intakes) = (world.router_ports(process, None), Rc::clone(&intakes));
        let shared = Rc::clone(shared);
        let incarnation = world.processes[process].incarnation;
        let steps = Steps::new(async move {
            let found = intakes[number].read_past(&ports, lane).await.unwrap_or_default();
            let mut world = shared.borrow_mut();
            if world.processes[process].incarnation == incarnation {
                world.processes[process].reads_past[number] = false;
            }
            for arrived in found {
                if world.mutation == super::mutation::Mutation::DeleteWhatIsReadPast {
                    let sequence = protocol::router::Delivery::sequence(arrived.message());
                    world.broker.delete(sequence);
                }
                let job = arrived.message().job;
                let (ports, intakes) = (world.router_ports(process, Some(job)), Rc::clone(&intakes));
                let steps = Steps::new(async move { intakes[number].settle(&ports, arrived).await });
                world.begin(process, Task::Router(steps, Some(LANES + number)));
                world.figures.read_past += 1;
            }
        });
        world.begin(process, Task::Router(steps, None));
    }
    world.plan_look_at_room(process);
}

pub(crate) fn lane_number(lane: Lane) -> usize {
    Lane::ALL.iter().position(|known| *known == lane).unwrap_or_default()
}
