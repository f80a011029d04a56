//! Everything of one run: the broker, the providers, the books and the processes, and the loop that lets
//! one thing happen after the other.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};
use std::task::Poll;

use policy::breakers::Success;
use schemas::digest::Digest;
use schemas::{AttemptId, AttemptRecord, DeliveredResult, Fact, Job, JobState};

use super::broker::{self, Broker, Consumer, Message, Payload, Published};
use super::chance::Chance;
use super::executor::{Shared, Woken};
use super::figures::Figures;
use super::invariants::{Breach, Watch, waiting};
use super::money::Books;
use super::mutation::Mutation;
use super::operations::Operation;
use super::ports::Site;
use super::process::{PROCESSES, Process, Role};
use super::provider::Provider;
use super::router;
use super::schedule::{Happening, Schedule};
use super::setting::{BEGIN_MS, Setting};
use super::task::{Next, Task, Tasks};

/// After the last operation everything has to come to rest within this, milliseconds.
const REST_WITHIN_MS: i64 = 6 * 3_600_000;

/// Whether a call to the broker arrives, and whether its answer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Through,
    /// It never arrived.
    Nowhere,
    /// It arrived, and the caller does not know.
    Unanswered,
}

/// The broker did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Away;

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) mutation: Mutation,
    pub(crate) setting: Rc<Setting>,
    pub(crate) now_ms: i64,
    pub(crate) chance: Chance,
    pub(crate) schedule: Schedule,
    pub(crate) broker: Broker,
    pub(crate) providers: Vec<Provider>,
    pub(crate) books: Books,
    pub(crate) processes: Vec<Process>,
    /// What lies in the workers' spools, by process: a kill leaves it there.
    pub(crate) spools: Vec<BTreeMap<AttemptId, DeliveredResult>>,
    /// Claims on the workers' disks that the broker did not take, by process.
    pub(crate) kept_claims: Vec<BTreeMap<AttemptId, AttemptRecord>>,
    pub(crate) tasks: Tasks,
    pub(crate) jobs: Vec<Option<Rc<Job>>>,
    pub(crate) operations: Vec<(i64, Operation)>,
    pub(crate) to_come: usize,
    /// Jobs whose assignment was removed by hand and that may still be open.
    pub(crate) purged: BTreeSet<u32>,
    pub(crate) watch: Watch,
    pub(crate) figures: Figures,
    /// The world itself, as futures hold it.
    pub(crate) shared: Weak<RefCell<World>>,
    /// When the task that is polled wants to be polled again.
    again_ms: Option<i64>,
    pub(crate) woken: Woken,
    /// When something was stored or acknowledged last.
    pub(crate) changed_ms: i64,
    /// Where a port is called that does nothing in this run.
    pub(crate) muted: Option<Site>,
    /// A port whose calls fail in this run.
    pub(crate) failing: Option<&'static str>,
    /// When a consumer was made anew last, Unix milliseconds.
    pub(crate) remade_ms: i64,
    /// The artifact store is full until then, Unix milliseconds.
    pub(crate) store_full_until_ms: i64,
    /// How many keys a tenant may have at a time.
    pub(crate) keys_max: usize,
    /// How many messages a tenant may have in the inbox.
    pub(crate) inbox_max: usize,
    /// Until when the uploaded input of a job is kept, Unix milliseconds.
    pub(crate) uploads: BTreeMap<u32, i64>,
    /// For how long everything stood still so far, and when it went on last, Unix milliseconds.
    pub(crate) slept_ms: i64,
    pub(crate) woke_ms: i64,
    /// When each queue of work had a healthy worker last, Unix milliseconds.
    pub(crate) served_ms: Vec<i64>,
    /// What each router said last of what waits in its hands.
    pub(crate) digests: BTreeMap<usize, Digest>,
    /// Where ports are called, if that is collected.
    pub(crate) sites: Option<BTreeMap<Site, &'static str>>,
}

impl World {
    pub(crate) fn new(seed: u64, mutation: Mutation, operations: &[(i64, Operation)]) -> Self {
        let highest = operations.iter().filter_map(|(_, operation)| operation.job()).max();
        let jobs = highest.map_or(0, |job| job as usize + 1);
        let setting = Setting::of(seed);
        let queues = setting.queues.len();
        let consumers = broker::WORK + queues;
        let mut schedule = Schedule::default();
        for (place, (at_ms, _)) in operations.iter().enumerate() {
            schedule.at(BEGIN_MS + at_ms, Happening::Operation(place));
        }
        Self {
            seed,
            mutation,
            setting: Rc::new(setting),
            now_ms: BEGIN_MS,
            chance: Chance::new(seed),
            schedule,
            broker: Broker::new(consumers, jobs),
            providers: (0..3).map(Provider::new).collect(),
            books: Books::new(jobs),
            processes: PROCESSES.iter().map(|(name, role)| Process::new(name, *role, BEGIN_MS)).collect(),
            spools: vec![BTreeMap::new(); PROCESSES.len()],
            kept_claims: vec![BTreeMap::new(); PROCESSES.len()],
            tasks: Tasks::default(),
            jobs: vec![None; jobs],
            operations: operations.to_vec(),
            to_come: operations.len(),
            purged: BTreeSet::new(),
            digests: BTreeMap::new(),
            watch: Watch::new(jobs),
            figures: Figures { runs: 1, ..Figures::default() },
            shared: Weak::new(),
            again_ms: None,
            woken: Woken::default(),
            changed_ms: BEGIN_MS,
            muted: None,
            failing: None,
            remade_ms: 0,
            store_full_until_ms: 0,
            keys_max: if Chance::keyed(seed, [12, 12, 12]).per_mille(60) { 1 } else { usize::MAX },
            inbox_max: if Chance::keyed(seed, [13, 13, 13]).per_mille(60) { 1 } else { usize::MAX },
            uploads: BTreeMap::new(),
            slept_ms: 0,
            woke_ms: BEGIN_MS,
            served_ms: vec![BEGIN_MS; queues],
            sites: None,
        }
    }

    /// Lets everything happen until all is at rest, or a promise is broken.
    pub(crate) fn run(self) -> ((Figures, Option<Breach>), BTreeMap<Site, &'static str>) {
        let shared: Shared = Rc::new(RefCell::new(self));
        let end_ms = {
            let mut world = shared.borrow_mut();
            world.shared = Rc::downgrade(&shared);
            for process in 0..world.processes.len() {
                world.start(process);
            }
            world.schedule.at(BEGIN_MS, Happening::Watch);
            BEGIN_MS + world.operations.last().map_or(0, |(at_ms, _)| *at_ms) + REST_WITHIN_MS
        };
        loop {
            let next = shared.borrow_mut().schedule.next();
            let Some((at_ms, happening)) = next else { break };
            {
                let mut world = shared.borrow_mut();
                world.now_ms = at_ms;
                world.figures.steps += 1;
            }
            match happening {
                Happening::Step { task, wake } => step(&shared, task, wake),
                Happening::LookAtRoom { process, incarnation } => {
                    if shared.borrow_mut().is_there(process, incarnation, happening) {
                        router::look(&shared, process);
                    }
                }
                Happening::Watch => waiting::watch(&shared),
                happening => shared.borrow_mut().happen(happening),
            }
            let mut world = shared.borrow_mut();
            world.check_budgets();
            if world.watch.breach.is_some() {
                break;
            }
            if world.is_at_rest() {
                world.check_at_rest();
                break;
            }
            if at_ms > end_ms + world.slept_ms {
                world.restless();
                break;
            }
        }
        // What still runs holds the world, so it goes first, with the world not borrowed.
        let left = shared.borrow_mut().tasks.clear();
        drop(left);
        let mut world = shared.borrow_mut();
        world.figures.virtual_ms = (world.now_ms - world.slept_ms - BEGIN_MS).unsigned_abs();
        let sites = world.sites.take().unwrap_or_default();
        ((world.figures, world.watch.breach.take()), sites)
    }

    /// Nothing is to come, nothing is in a queue, in anybody's hands, on a worker's disk or put aside for a newer router.
    fn is_at_rest(&self) -> bool {
        self.to_come == 0
            && self.broker.messages.is_empty()
            && self.tasks.live == 0
            && self.spools.iter().all(BTreeMap::is_empty)
            && self.kept_claims.iter().all(BTreeMap::is_empty)
            && self.broker.inbox.is_settled()
            && self.purged.is_empty()
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Operation(place) => self.operate(place),
            Happening::Publish { job, tries } => self.submit(job, tries),
            Happening::Step { .. } | Happening::LookAtRoom { .. } | Happening::Watch => {
                unreachable!("the loop takes it")
            }
            Happening::Die { process, incarnation, for_ms } => {
                if self.processes[process].incarnation == incarnation {
                    self.kill(process, for_ms);
                }
            }
            Happening::Ask { job } => self.ask_to_cancel(job),
            Happening::Report { job, attempt, run, tries } => self.report(job, attempt, run, tries),
            Happening::Cancel { process, incarnation, job } => {
                if self.is_there(process, incarnation, happening) {
                    self.learn_of_cancel(process, job);
                }
            }
            Happening::Tick { process, incarnation } => {
                if self.is_there(process, incarnation, happening) {
                    self.tick(process);
                }
            }
            Happening::Expire { sequence, token } => self.expire(sequence, token),
            Happening::Rested { sequence, token } => {
                if let Some(consumer) = self.broker.make_ready(sequence, token) {
                    self.dispatch(consumer);
                }
            }
            Happening::Restart { process, incarnation } => {
                self.to_come -= 1;
                if self.processes[process].incarnation == incarnation {
                    self.processes[process].up = true;
                    self.start(process);
                }
            }
            Happening::Resume { process, incarnation } => self.resume(process, incarnation),
            Happening::Heal { process } => self.heal(process),
            Happening::LetGo { process, incarnation } => self.let_go(process, incarnation),
            Happening::BrokerBack => {
                self.to_come -= 1;
                for consumer in 0..self.broker.ready.len() {
                    self.dispatch(consumer);
                }
            }
        }
    }

    /// Whether a happening meets the process it was planned for; a stopped one gets it when it goes on.
    fn is_there(&mut self, process: usize, incarnation: u32, happening: Happening) -> bool {
        let found = &mut self.processes[process];
        if found.incarnation != incarnation || !found.up {
            return false;
        }
        if found.paused {
            found.frozen.push(happening);
            return false;
        }
        true
    }

    /// The task whose step it is, if it is there to take it.
    fn take_for_step(&mut self, number: usize, wake: u64) -> Option<(usize, Task)> {
        let (process, incarnation) = self.tasks.owner(number, wake)?;
        let there = &self.processes[process];
        if there.incarnation != incarnation || !there.up {
            self.tasks.remove(number);
            return None;
        }
        if !self.is_there(process, incarnation, Happening::Step { task: number, wake }) {
            return None;
        }
        self.again_ms = None;
        Some((process, self.tasks.take(number)?))
    }

    fn stepped(&mut self, number: usize, task: Task, next: Option<i64>) {
        let wake = self.tasks.put_back(number, task);
        if let Some(at_ms) = next {
            self.schedule.at(at_ms.max(self.now_ms), Happening::Step { task: number, wake });
        }
    }

    fn ended(&mut self, process: usize, number: usize, of: Option<Consumer>) {
        self.tasks.remove(number);
        let found = &mut self.processes[process];
        found.in_hand = found.in_hand.saturating_sub(1);
        if let Some(of) = of {
            found.at_work[of] = found.at_work[of].saturating_sub(1);
        }
        self.dispatch_to(process);
    }

    /// The task that is polled wants to be polled again then, or before.
    pub(crate) fn look_again_at(&mut self, at_ms: i64) {
        self.again_ms = Some(self.again_ms.map_or(at_ms, |again_ms| again_ms.min(at_ms)));
    }

    /// Gives a task to a process; it takes its first step after a moment.
    pub(crate) fn begin(&mut self, process: usize, task: Task) -> usize {
        let found = &mut self.processes[process];
        found.in_hand += 1;
        if let Some(of) = task.of() {
            found.at_work[of] += 1;
        }
        let (number, wake) = self.tasks.add(process, found.incarnation, task);
        let at_ms = self.now_ms + self.moment();
        self.schedule.at(at_ms, Happening::Step { task: number, wake });
        number
    }

    /// Lets a task look up at once.
    pub(crate) fn wake(&mut self, number: usize) {
        if let Some(wake) = self.tasks.wake(number) {
            self.schedule.at(self.now_ms, Happening::Step { task: number, wake });
        }
    }

    /// How long a step takes, milliseconds; now and then a long one.
    pub(crate) fn moment(&mut self) -> i64 {
        if self.chance.per_mille(5) { self.chance.between(50, 900) } else { self.chance.between(1, 6) }
    }

    /// How a call of a process to the broker fares.
    pub(crate) fn reach(&mut self, process: usize) -> Reach {
        let caller = &self.processes[process];
        if self.now_ms < self.broker.down_until_ms || self.now_ms < caller.cut_until_ms {
            self.processes[process].lost_ms = self.now_ms;
            return Reach::Nowhere;
        }
        let (nowhere, unanswered) = if self.now_ms < caller.lossy_until_ms { (150, 400) } else { (0, 1) };
        match self.chance.below(1_000) {
            share if share < nowhere => {
                self.processes[process].lost_ms = self.now_ms;
                Reach::Nowhere
            }
            share if share < unanswered => {
                self.figures.lost_answers += 1;
                self.processes[process].lost_ms = self.now_ms;
                Reach::Unanswered
            }
            _ => Reach::Through,
        }
    }

    /// Publishes for a process.
    pub(crate) fn publish(&mut self, process: usize, message: &Message) -> Result<Published, Away> {
        let reach = self.reach(process);
        if reach == Reach::Nowhere {
            return Err(Away);
        }
        let published = self.store(message);
        if reach == Reach::Unanswered { Err(Away) } else { Ok(published) }
    }

    /// Stores a message, lets the invariants see it, and hands it out.
    pub(crate) fn store(&mut self, message: &Message) -> Published {
        if self.mutation == Mutation::DropTheMessageId {
            self.broker.forget_id(message);
        }
        let published = self.broker.publish(message, self.now_ms);
        self.changed_ms = self.now_ms;
        if published == Published::New {
            self.watch_stored(message);
            self.hear(message);
            self.dispatch(message.consumer);
        }
        published
    }

    /// Routers hear how attempts end, and feed their breakers; those that are away miss it.
    fn hear(&mut self, message: &Message) {
        let (facts, failed_job) = match &message.payload {
            Payload::Dead(letter) => (&letter.ended_attempt, Some(letter.assignment.job.id)),
            Payload::Event(event) => match &event.fact {
                Fact::Ended { state: JobState::Completed, attempts, .. } => {
                    let Some(last) = attempts.last() else { return };
                    (last, None)
                }
                _ => return,
            },
            _ => return,
        };
        let now_ms = self.now_ms;
        for router in self.processes.iter_mut().filter(|process| process.role == Role::Router) {
            if !router.is_reachable(now_ms) {
                continue;
            }
            let mut fleet = router.fleet.borrow_mut();
            match failed_job {
                Some(job) => drop(fleet.attempt_failed(job, facts, &self.setting.policy, now_ms)),
                None => drop(fleet.attempt_succeeded(&Success::of(facts), now_ms)),
            }
        }
    }
}

/// One step of a task: a poll with the world not borrowed, or a step of what is drawn by hand.
fn step(shared: &Shared, number: usize, wake: u64) {
    let taken = shared.borrow_mut().take_for_step(number, wake);
    let Some((process, mut task)) = taken else { return };
    if let Some(steps) = task.steps() {
        let woken = shared.borrow().woken.clone();
        let polled = steps.poll(number, &woken);
        match polled {
            Poll::Ready(()) => {
                let of = task.of();
                drop(task);
                shared.borrow_mut().ended(process, number, of);
            }
            Poll::Pending => {
                let mut world = shared.borrow_mut();
                let again_ms = world.again_ms;
                world.stepped(number, task, again_ms);
            }
        }
        let mut world = shared.borrow_mut();
        for number in woken.take() {
            world.wake(number);
        }
        return;
    }
    let mut world = shared.borrow_mut();
    match task.step(&mut world) {
        Next::After(wait_ms) => {
            let at_ms = world.now_ms + wait_ms.max(0);
            world.stepped(number, task, Some(at_ms));
        }
        Next::Done => world.ended(process, number, None),
    }
}
