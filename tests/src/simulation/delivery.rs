//! How messages reach processes and go back: dispatch, ack-wait, acknowledgements, and what a process does
//! by the clock.

use schemas::topology::{FACTS_ACK_WAIT_MS, INTAKE_ACK_WAIT_MS, WORK_ACK_WAIT_MS, WORK_DELIVERIES_MAX};
use schemas::{ClassOffer, Health, Offer, RUNNING_MAX, RunningAttempt, SCHEMA_VERSION};

use super::broker::{Consumer, DEAD, Holder, LANES, LEDGER, Payload, Place, WORK};
use super::money_task::Booking;
use super::process::Role;
use super::schedule::Happening;
use super::setting::{LOCAL, SLOTS};
use super::task::{Delivery, Task};
use super::world::{Reach, World};

/// A pull that a process had open when it was stopped brings it messages for so long.
const PULL_MS: i64 = 2_000;
/// Events in one batch of the ledger.
const BATCH_MAX: usize = 200;
const WORKER_TICK_MS: i64 = 3_000;
const ROUTER_TICK_MS: i64 = 2_000;

/// How long a delivery may stay unanswered, milliseconds.
const fn ack_wait_ms(consumer: Consumer) -> i64 {
    let wait_ms = match consumer {
        LANES..DEAD => INTAKE_ACK_WAIT_MS,
        WORK.. => WORK_ACK_WAIT_MS,
        _ => FACTS_ACK_WAIT_MS,
    };
    wait_ms.cast_signed()
}

impl World {
    /// Hands out what lies ready at a consumer, as far as somebody takes it.
    pub(crate) fn dispatch(&mut self, consumer: Consumer) {
        if self.now_ms < self.broker.down_until_ms {
            return;
        }
        if consumer == LEDGER {
            return self.dispatch_events();
        }
        while let Some(sequence) = self.next_ready(consumer) {
            let Some(process) = self.taker(consumer) else { return };
            self.broker.ready[consumer].pop_front();
            if let Some(delivery) = self.hand_out(sequence, process) {
                let task = match (&delivery.payload, consumer) {
                    (Payload::Work(_) | Payload::Unreadable(_), WORK..) => self.attempt(process, delivery),
                    _ => {
                        let behind = self.next_ready(consumer).is_some();
                        self.route(process, &delivery, behind)
                    }
                };
                self.begin(process, task);
            }
        }
    }

    fn next_ready(&mut self, consumer: Consumer) -> Option<u64> {
        loop {
            let sequence = *self.broker.ready[consumer].front()?;
            let stored = self.broker.messages.get(&sequence);
            if stored.is_some_and(|stored| matches!(stored.place, Place::Ready)) {
                return Some(sequence);
            }
            self.broker.ready[consumer].pop_front();
        }
    }

    /// Who takes the next message: anybody with room, and now and then one that was just stopped.
    fn taker(&mut self, consumer: Consumer) -> Option<usize> {
        let from = self.chance.below(self.processes.len() as u64) as usize;
        let stopped_too = self.chance.per_mille(500);
        (0..self.processes.len()).map(|step| (from + step) % self.processes.len()).find(|number| {
            let process = &self.processes[*number];
            let room = match process.role {
                Role::Router => self.router_pulls(*number, consumer),
                Role::Worker(backend) => {
                    self.setting.reads(backend, *number, consumer)
                        && process.in_hand < SLOTS
                        && process.healthy
                }
                Role::Ledger => false,
            };
            let pulls = process.paused && stopped_too && self.now_ms - process.paused_ms < PULL_MS;
            room && process.up
                && !process.draining
                && self.now_ms >= process.cut_until_ms
                && (!process.paused || pulls)
        })
    }

    /// Counts a delivery; none when that was one too many.
    fn hand_out(&mut self, sequence: u64, process: usize) -> Option<Delivery> {
        let incarnation = self.processes[process].incarnation;
        let now_ms = self.now_ms;
        let stored = self.broker.messages.get_mut(&sequence)?;
        stored.token += 1;
        if stored.consumer >= WORK && i64::from(stored.delivered) >= WORK_DELIVERIES_MAX {
            stored.place = Place::GivenUp;
            return None;
        }
        stored.delivered += 1;
        let up_to = &mut self.broker.delivered_up_to[stored.consumer];
        *up_to = sequence.max(*up_to);
        stored.place = Place::Held(Holder { process, incarnation, since_ms: now_ms, from_ms: now_ms });
        let wait_ms = ack_wait_ms(stored.consumer);
        self.schedule.at(now_ms + wait_ms, Happening::Expire { sequence, token: stored.token });
        if stored.delivered > 1 {
            self.figures.redeliveries += 1;
        }
        if let Payload::Work(assignment) = &stored.payload {
            let (attempt, is_first) = ((stored.job, assignment.attempt), stored.delivered == 1);
            let is_cancelled = self.processes[process].cancels.contains_key(&stored.job);
            // A consumer that was made anew calls any delivery the first.
            let is_begun = self.broker.claim(attempt, now_ms).is_some()
                || self.providers.iter().any(|provider| provider.starts(attempt) > 0);
            self.watch.handed_out(attempt, is_first && is_cancelled && !is_begun);
        }
        let stored = self.broker.messages.get(&sequence)?;
        Some(Delivery {
            sequence,
            delivered: stored.delivered + u32::from(stored.is_older),
            job: stored.job,
            published_ms: stored.published_ms,
            named: stored.named,
            payload: stored.payload.clone(),
        })
    }

    /// One batch of events to a ledger that has none in hand.
    fn dispatch_events(&mut self) {
        let now_ms = self.now_ms;
        let idle = |number: &usize| {
            let process = &self.processes[*number];
            process.role == Role::Ledger && process.is_reachable(now_ms) && process.in_hand == 0
        };
        let Some(process) = (0..self.processes.len()).find(idle) else { return };
        let mut batch = Vec::new();
        while batch.len() < BATCH_MAX {
            let Some(sequence) = self.next_ready(LEDGER) else { break };
            self.broker.ready[LEDGER].pop_front();
            batch.extend(self.hand_out(sequence, process));
        }
        if !batch.is_empty() {
            self.begin(process, Task::Book(Box::new(Booking::new(process, batch))));
        }
    }

    /// Looks whether somebody still speaks for a delivery; if not, it goes to somebody else.
    pub(crate) fn expire(&mut self, sequence: u64, token: u32) {
        let Some(stored) = self.broker.messages.get(&sequence).filter(|stored| stored.token == token) else {
            return;
        };
        let Place::Held(holder) = stored.place else { return };
        let wait_ms = ack_wait_ms(stored.consumer);
        // Extended since, or nobody could extend it while the broker was away: the wait counts from then.
        let since_ms = holder.since_ms.max(self.broker.down_until_ms);
        if since_ms + wait_ms > self.now_ms {
            return self.schedule.at(since_ms + wait_ms, Happening::Expire { sequence, token });
        }
        self.watch_expired(sequence, holder);
        if let Some(consumer) = self.broker.make_ready(sequence, token) {
            self.dispatch(consumer);
        }
    }

    /// Acknowledges for a process; whether it knows that the broker heard it.
    pub(crate) fn acknowledge(&mut self, process: usize, sequence: u64, confirmed: bool) -> bool {
        let reach = self.reach(process);
        if reach != Reach::Nowhere {
            self.changed_ms = self.now_ms;
            self.broker.acknowledge(sequence, confirmed, self.now_ms);
        }
        reach == Reach::Through
    }

    /// Acknowledges what a process has in hand of a job, of some consumers.
    pub(crate) fn acknowledge_of(&mut self, process: usize, job: u32, of: std::ops::Range<Consumer>) {
        let held = self.broker.messages.iter().find(|(_, stored)| {
            let is_here = matches!(stored.place, Place::Held(holder) if holder.process == process);
            stored.job == job && of.contains(&stored.consumer) && is_here
        });
        if let Some(sequence) = held.map(|(sequence, _)| *sequence) {
            self.broker.acknowledge(sequence, true, self.now_ms);
        }
    }

    /// Says that a delivery is still in hand.
    pub(crate) fn extend(&mut self, process: usize, sequence: u64) {
        if self.reach(process) == Reach::Nowhere {
            return;
        }
        let (now_ms, incarnation) = (self.now_ms, self.processes[process].incarnation);
        if let Some(stored) = self.broker.messages.get_mut(&sequence)
            && let Place::Held(holder) = &mut stored.place
            && holder.process == process
            && holder.incarnation == incarnation
        {
            holder.since_ms = now_ms;
        }
    }

    /// Hands a delivery back for a while; a hand-back that is lost ends in redelivery.
    pub(crate) fn hand_back(&mut self, process: usize, sequence: u64, rest_ms: i64) {
        if self.reach(process) == Reach::Nowhere {
            return;
        }
        if let Some(token) = self.broker.hand_back(sequence) {
            self.schedule.at(self.now_ms + rest_ms.max(1), Happening::Rested { sequence, token });
        }
    }

    /// A process starts: it reads what is there, then it works.
    pub(crate) fn start(&mut self, process: usize) {
        self.processes[process].started_ms = self.now_ms;
        self.catch_up(process);
        self.mark_spooled(process);
        self.tick(process);
    }

    /// Reads offers and cancel requests, as a watch does when it is opened.
    pub(crate) fn catch_up(&mut self, process: usize) {
        let jobs: Vec<u32> = self.broker.cancels.iter().copied().collect();
        for job in jobs {
            self.learn_of_cancel(process, job);
        }
        let found = &mut self.processes[process];
        if found.role == Role::Router {
            for (offer, told_at_ms) in self.broker.offers.values() {
                found.fleet.borrow_mut().upsert_offer(offer.clone(), *told_at_ms);
            }
        }
    }

    /// What a process does every few seconds.
    pub(crate) fn tick(&mut self, process: usize) {
        let incarnation = self.processes[process].incarnation;
        let every_ms = match self.processes[process].role {
            Role::Worker(backend) => {
                self.tell_offer(process, backend);
                // Not at the start: what is there is marked first.
                if self.processes[process].started_ms < self.now_ms {
                    self.look_at_spool(process);
                }
                WORKER_TICK_MS
            }
            Role::Router => {
                self.router_tick(process);
                ROUTER_TICK_MS
            }
            Role::Ledger => WORKER_TICK_MS,
        };
        self.schedule.at(self.now_ms + every_ms, Happening::Tick { process, incarnation });
        self.dispatch_to(process);
    }

    /// Hands out what a process could take.
    pub(crate) fn dispatch_to(&mut self, process: usize) {
        match self.processes[process].role {
            Role::Router => (LANES..=DEAD).for_each(|consumer| self.dispatch(consumer)),
            Role::Ledger => self.dispatch(LEDGER),
            Role::Worker(backend) => {
                let consumers = WORK..WORK + self.setting.queues.len();
                for consumer in consumers {
                    if self.setting.reads(backend, process, consumer) {
                        self.dispatch(consumer);
                    }
                }
            }
        }
    }

    /// What a worker has in hand.
    fn running(&self, process: usize) -> Vec<RunningAttempt> {
        let running = self.tasks.in_hand(process).filter_map(|in_hand| {
            let job = self.jobs[in_hand.job as usize].as_ref()?.id;
            let class = self.setting.classes[in_hand.class].clone();
            let running_ms = (self.now_ms - in_hand.delivered_ms).unsigned_abs();
            Some(RunningAttempt { job, attempt: in_hand.attempt, class, running_ms })
        });
        running.take(RUNNING_MAX).collect()
    }

    fn tell_offer(&mut self, process: usize, backend: usize) {
        let is_at_rest = self.processes[process].breaker.is_open(self.now_ms);
        let is_unread = backend != LOCAL && self.now_ms < self.processes[process].unreadable_until_ms;
        let is_down = self.now_ms < self.providers[backend].down_until_ms;
        let healthy = !is_down && !is_at_rest && !is_unread;
        let worker = &mut self.processes[process];
        worker.healthy = healthy;
        if !worker.is_reachable(self.now_ms) || self.now_ms < self.broker.down_until_ms {
            return;
        }
        if healthy && !worker.draining {
            for (place, served_ms) in self.served_ms.iter_mut().enumerate() {
                if self.setting.reads(backend, process, WORK + place) {
                    *served_ms = self.now_ms;
                }
            }
        }
        let running = self.running(process);
        let worker = &self.processes[process];
        let classes = self.setting.classes.iter().enumerate();
        let health = if worker.draining { Health::Draining } else { Health::Healthy };
        let offer = Offer {
            schema_version: SCHEMA_VERSION,
            worker: worker.worker.clone(),
            backend: self.setting.backends[backend].clone(),
            time_ms: self.now_ms + worker.stamps_ms,
            started_at_ms: worker.started_ms,
            classes: classes
                .map(|(number, class)| ClassOffer {
                    class: class.clone(),
                    learned_ms: worker.learned_ms.get(&number).copied(),
                })
                .collect(),
            slots: SLOTS,
            free_slots: SLOTS.saturating_sub(worker.in_hand),
            health: if healthy { health } else { Health::Down },
            health_reason: None,
            unavailable_until_ms: None,
            clock_skew_ms: None,
            breaker: (backend == LOCAL).then(|| worker.breaker.told()),
            running,
            models: None,
            nodes: None,
            file_choices: None,
            capability: self.setting.capability(backend, process),
            gpus: Vec::new(),
            simulated: true,
            paid: None,
        };
        for router in &mut self.processes {
            if router.role == Role::Router && router.is_reachable(self.now_ms) {
                router.fleet.borrow_mut().upsert_offer(offer.clone(), self.now_ms);
            }
        }
        self.broker.offers.insert(process, (offer, self.now_ms));
    }
}
