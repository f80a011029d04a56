//! The simulated broker: work queues with ack-wait, redelivery and delivery counts, the log of events with
//! its duplicate window and its empty subjects, claims by revision, cancel requests, offers.
//!
//! It knows nothing of faults: whether a call arrives, and whether its answer does, is the caller's affair.

mod entries;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

use protocol::router::BucketEntry;
use schemas::topology;
use schemas::{Assignment, AttemptRecord, DeadLetter, Event, Fact, Job, KeyRecord, Lane, Offer};

use super::inbox::Inbox;

/// How long message ids are remembered, milliseconds.
const DUPLICATE_WINDOW_MS: i64 = topology::DUPLICATE_WINDOW_MS.cast_signed();

/// The age at which a claim is gone, milliseconds.
pub(crate) const CLAIMS_KEPT_MS: i64 = topology::CLAIMS_KEPT_MS.cast_signed();

/// How long every key and every request to cancel is kept, milliseconds: an hour stands for a day.
pub(crate) const ENTRIES_KEPT_MS: i64 = 3_600_000;

/// A durable consumer, by number: lanes, dead letters, ledger, then one for each backend and class.
pub(crate) type Consumer = usize;
/// The first lane's consumer; the others follow.
pub(crate) const LANES: Consumer = 0;
/// The routers' dead letters.
pub(crate) const DEAD: Consumer = 3;
/// The ledger's events.
pub(crate) const LEDGER: Consumer = 4;
/// The first backend's first class; the others follow, classes within backends.
pub(crate) const WORK: Consumer = 5;

/// What a message holds. Jobs are named by their number in the run.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    Job(Rc<Job>),
    Work(Rc<Assignment>),
    Dead(Rc<DeadLetter>),
    Event(Rc<Event>),
    /// An assignment whose bytes say nothing any more, with the subject under which it lies; or what a worker passed on of
    /// it.
    Unreadable(String),
}

/// What a message's id is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Named {
    Job,
    Work,
    Dead,
    /// An orphan once more; its sequence stands for the attempt.
    Copy,
    Event(&'static str),
}

/// A message as it is published.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) consumer: Consumer,
    pub(crate) job: u32,
    pub(crate) payload: Payload,
    /// Attempt and kind; a message without an id is never a repeat.
    pub(crate) id: Option<(u32, Named)>,
    /// The last message that the subject must hold, by its sequence; 0 for none at all.
    pub(crate) expected: Option<u64>,
}

/// What the broker did with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Published {
    New,
    Repeat,
    Occupied,
}

/// Who has a delivery in hand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holder {
    pub(crate) process: usize,
    pub(crate) incarnation: u32,
    pub(crate) since_ms: i64,
    /// When it was delivered.
    pub(crate) from_ms: i64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    Ready,
    Held(Holder),
    Resting,
    /// Delivered too often: it stays, and nobody gets it.
    GivenUp,
    /// Its consumer has passed it: it stays, and is never delivered.
    Passed,
    /// No consumer reads its subject: an earlier version of the stream took it in.
    Unread,
}

impl Place {
    pub(crate) const fn is_for_a_consumer(self) -> bool {
        !matches!(self, Self::Passed | Self::Unread)
    }
}

#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) consumer: Consumer,
    pub(crate) job: u32,
    pub(crate) payload: Payload,
    pub(crate) published_ms: i64,
    /// Its message id is its job's.
    pub(crate) named: bool,
    pub(crate) delivered: u32,
    /// It is older than its consumer, of which routers take note.
    pub(crate) is_older: bool,
    pub(crate) place: Place,
    /// Changes with every change of place, so that old alarms are known as such.
    pub(crate) token: u32,
}

/// A claim with its revision.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) record: Rc<AttemptRecord>,
    pub(crate) revision: u64,
    /// When it was written, Unix milliseconds.
    pub(crate) written_ms: i64,
}

#[derive(Debug, Default)]
pub(crate) struct Broker {
    pub(crate) messages: BTreeMap<u64, Stored>,
    pub(crate) ready: Vec<VecDeque<u64>>,
    ids: HashMap<(u32, u32, Named), i64>,
    sequence: u64,
    /// All events of each job, oldest first.
    pub(crate) log: Vec<Vec<Rc<Event>>>,
    /// All events as they lie in their stream, with their jobs and when they were stored.
    pub(crate) facts: BTreeMap<u64, (u32, Rc<Event>, i64)>,
    /// The `assigned` events, by their place in their stream.
    pub(crate) placements: BTreeMap<u64, Rc<Event>>,
    /// Where the last event of a kind lies, by job.
    last_of_kind: HashMap<(u32, &'static str), u64>,
    pub(crate) keys: HashMap<String, KeyRecord>,
    claims: HashMap<(u32, u32), Entry>,
    revision: u64,
    pub(crate) cancels: BTreeSet<u32>,
    /// The entries of the buckets of keys and cancel requests, by revision.
    pub(crate) entries: BTreeMap<u64, (&'static str, BucketEntry)>,
    /// The jobs of whose assignments some could not be read.
    pub(crate) garbled: BTreeSet<u32>,
    /// What is put aside for an operator.
    pub(crate) inbox: Inbox,
    pub(crate) offers: BTreeMap<usize, (Offer, i64)>,
    pub(crate) down_until_ms: i64,
    /// Until when no claim can be written because their bucket is full, Unix milliseconds.
    pub(crate) claims_full_until_ms: i64,
    /// The highest sequence that each consumer has delivered.
    pub(crate) delivered_up_to: Vec<u64>,
    /// Acknowledgements of which nobody awaited a confirmation, newest last: a restart may lose them.
    unconfirmed: VecDeque<(i64, u64, Stored)>,
}

/// Unconfirmed acknowledgements that are remembered.
const UNCONFIRMED_MAX: usize = 64;

impl Broker {
    pub(crate) fn new(consumers: usize, jobs: usize) -> Self {
        Self {
            ready: vec![VecDeque::new(); consumers],
            delivered_up_to: vec![0; consumers],
            log: vec![Vec::new(); jobs],
            ..Self::default()
        }
    }

    /// Takes a message's id for new, whatever was stored under it.
    pub(crate) fn forget_id(&mut self, message: &Message) {
        if let Some((attempt, named)) = message.id {
            self.ids.remove(&(message.job, attempt, named));
        }
    }

    /// Stores a message, unless its subject holds what was not expected, its id is known, or its queue holds one.
    /// In this order: nats-server 2.15 looks at the expectation before the id, and at the limit after it.
    pub(crate) fn publish(&mut self, message: &Message, now_ms: i64) -> Published {
        if let Payload::Event(event) = &message.payload
            && message
                .expected
                .is_some_and(|expected| self.last_of(message.job, event.fact.kind()) != expected)
        {
            return Published::Occupied;
        }
        if let Some((attempt, named)) = message.id {
            match self.ids.get(&(message.job, attempt, named)) {
                Some(until_ms) if *until_ms > now_ms => return Published::Repeat,
                _ => {}
            }
        }
        let is_work = matches!(message.payload, Payload::Work(_));
        if is_work && self.work_of(message.job).any(|(_, work)| work.consumer == message.consumer) {
            return Published::Occupied;
        }
        if let Some((attempt, named)) = message.id {
            self.ids.insert((message.job, attempt, named), now_ms + DUPLICATE_WINDOW_MS);
        }
        self.sequence += 1;
        if let Payload::Event(event) = &message.payload {
            self.log[message.job as usize].push(Rc::clone(event));
            if matches!(event.fact, Fact::Assigned { .. }) {
                self.placements.insert(self.sequence, Rc::clone(event));
            }
            self.last_of_kind.insert((message.job, event.fact.kind()), self.sequence);
            self.facts.insert(self.sequence, (message.job, Rc::clone(event), now_ms));
        }
        let is_unread = matches!(&message.payload, Payload::Job(job) if job.lane == Lane::Unknown);
        let stored = Stored {
            consumer: message.consumer,
            job: message.job,
            payload: message.payload.clone(),
            published_ms: now_ms,
            named: matches!(message.id, Some((_, Named::Job))),
            delivered: 0,
            is_older: false,
            place: if is_unread { Place::Unread } else { Place::Ready },
            token: 0,
        };
        self.messages.insert(self.sequence, stored);
        if !is_unread {
            self.ready[message.consumer].push_back(self.sequence);
        }
        Published::New
    }

    /// The assignments of a job that wait or run.
    pub(crate) fn work_of(&self, job: u32) -> impl Iterator<Item = (u64, &Stored)> {
        let work =
            self.messages.iter().filter(move |(_, stored)| stored.consumer >= WORK && stored.job == job);
        work.map(|(sequence, stored)| (*sequence, stored))
    }

    /// Whether the last event on a message's subject is the message itself.
    pub(crate) fn holds(&self, message: &Message) -> bool {
        let Payload::Event(event) = &message.payload else { return false };
        let log = &self.log[message.job as usize];
        let last = log.iter().rev().find(|there| there.fact.kind() == event.fact.kind());
        last.is_some_and(|last| last == event)
    }

    /// Where the last event of a kind lies; 0 where there is none.
    pub(crate) fn last_of(&self, job: u32, kind: &'static str) -> u64 {
        self.last_of_kind.get(&(job, kind)).copied().unwrap_or_default()
    }

    /// Purges the stream of events up to a sequence.
    pub(crate) fn purge_facts(&mut self, up_to: u64) {
        self.placements = self.placements.split_off(&(up_to + 1));
        let stay = self.facts.split_off(&(up_to + 1));
        for (sequence, (job, event, _)) in std::mem::replace(&mut self.facts, stay) {
            self.log[job as usize].retain(|there| !Rc::ptr_eq(there, &event));
            if self.last_of(job, event.fact.kind()) == sequence {
                self.last_of_kind.remove(&(job, event.fact.kind()));
            }
        }
    }

    /// The failed attempt of a job that was not followed up yet.
    pub(crate) fn failed(&self, job: u32) -> Option<&Rc<DeadLetter>> {
        self.messages.values().find_map(|stored| match &stored.payload {
            Payload::Dead(letter) if stored.job == job => Some(letter),
            _ => None,
        })
    }

    /// Up to which sequence everything is acknowledged at a consumer.
    pub(crate) fn acknowledged_up_to(&self, consumer: Consumer) -> u64 {
        let mut open = self
            .messages
            .iter()
            .filter(|(_, stored)| stored.consumer == consumer && stored.place.is_for_a_consumer());
        open.next().map_or(self.sequence, |(sequence, _)| sequence - 1)
    }

    /// Some of what waits is passed by its consumer, as a broker that is killed may leave it.
    pub(crate) fn pass_over(&mut self, mut is_passed: impl FnMut() -> bool) -> u64 {
        let mut passed = 0;
        for stored in self.messages.values_mut() {
            let is_readable = !matches!(stored.payload, Payload::Unreadable(_));
            let waits = matches!(stored.place, Place::Ready) && stored.consumer != LEDGER && is_readable;
            if waits && is_passed() {
                stored.place = Place::Passed;
                stored.token += 1;
                passed += 1;
            }
        }
        passed
    }

    /// A consumer that was deleted and made anew has delivered nothing yet.
    pub(crate) fn remake(&mut self, consumer: Consumer) {
        self.ready[consumer].clear();
        self.delivered_up_to[consumer] = 0;
        let held = self.messages.iter_mut().filter(|(_, stored)| stored.consumer == consumer);
        for (sequence, stored) in held.filter(|(_, stored)| !matches!(stored.place, Place::Unread)) {
            stored.place = Place::Ready;
            stored.token += 1;
            stored.delivered = 0;
            stored.is_older = consumer < LEDGER;
            self.ready[consumer].push_back(*sequence);
        }
    }

    /// A restarted broker knows the ids only of what it still has.
    pub(crate) fn forget_ids(&mut self) {
        let known = |stored: &Stored| match &stored.payload {
            Payload::Job(_) => (stored.job, 0, Named::Job),
            Payload::Work(assignment) => (stored.job, assignment.attempt, Named::Work),
            Payload::Dead(letter) => (stored.job, letter.assignment.attempt, Named::Dead),
            Payload::Event(event) => (stored.job, event.attempt, Named::Event(event.fact.kind())),
            Payload::Unreadable(_) => (stored.job, 0, Named::Work),
        };
        let there: BTreeSet<_> = self.messages.values().map(known).collect();
        // Events stay where they are.
        self.ids.retain(|id, _| matches!(id.2, Named::Event(_)) || there.contains(id));
    }

    /// Messages of a consumer that wait or are in hand.
    pub(crate) fn backlog(&self, consumer: Consumer) -> u64 {
        self.messages.values().filter(|stored| stored.consumer == consumer).count() as u64
    }

    /// Acknowledges; also a delivery that somebody else has by now, as the real broker does. With
    /// `confirmed` it outlives a restart of the broker.
    pub(crate) fn acknowledge(&mut self, sequence: u64, confirmed: bool, now_ms: i64) {
        let Some(stored) = self.messages.remove(&sequence) else { return };
        if !confirmed {
            self.unconfirmed.push_back((now_ms, sequence, stored));
            if self.unconfirmed.len() > UNCONFIRMED_MAX {
                self.unconfirmed.pop_front();
            }
        }
    }

    /// Deletes a message, or purges.
    pub(crate) fn delete(&mut self, sequence: u64) -> bool {
        self.messages.remove(&sequence).is_some()
    }

    /// Hands a delivery back; the token of its rest, or none when it is in nobody's hand.
    pub(crate) fn hand_back(&mut self, sequence: u64) -> Option<u32> {
        let stored = self.messages.get_mut(&sequence)?;
        if !matches!(stored.place, Place::Held(_)) {
            return None;
        }
        stored.place = Place::Resting;
        stored.token += 1;
        Some(stored.token)
    }

    /// Makes a message deliverable, if it still is where the token says.
    pub(crate) fn make_ready(&mut self, sequence: u64, token: u32) -> Option<Consumer> {
        let stored = self.messages.get_mut(&sequence).filter(|stored| stored.token == token)?;
        stored.place = Place::Ready;
        stored.token += 1;
        self.ready[stored.consumer].push_back(sequence);
        Some(stored.consumer)
    }

    /// Goes down and comes back: acknowledgements that nobody confirmed may be gone.
    pub(crate) fn forget_unconfirmed(&mut self, since_ms: i64) -> Vec<u64> {
        let mut back = Vec::new();
        while let Some((at_ms, sequence, mut stored)) = self.unconfirmed.pop_back() {
            if at_ms < since_ms {
                break;
            }
            stored.place = Place::Ready;
            stored.token += 1;
            self.ready[stored.consumer].push_back(sequence);
            self.messages.insert(sequence, stored);
            back.push(sequence);
        }
        back
    }

    /// Creates a claim, or says what is there; nothing where the bucket is full.
    pub(crate) fn create_claim(
        &mut self,
        key: (u32, u32),
        record: Rc<AttemptRecord>,
        now_ms: i64,
    ) -> Result<u64, Option<Entry>> {
        if let Some(entry) = self.claim(key, now_ms) {
            return Err(Some(entry.clone()));
        }
        if self.are_claims_full(now_ms) {
            return Err(None);
        }
        self.revision += 1;
        self.claims.insert(key, Entry { record, revision: self.revision, written_ms: now_ms });
        Ok(self.revision)
    }

    /// A claim, unless it is gone by its age.
    pub(crate) fn claim(&self, key: (u32, u32), now_ms: i64) -> Option<&Entry> {
        self.claims.get(&key).filter(|entry| now_ms - entry.written_ms < CLAIMS_KEPT_MS)
    }

    /// Whether no claim can be written.
    pub(crate) const fn are_claims_full(&self, now_ms: i64) -> bool {
        now_ms < self.claims_full_until_ms
    }

    /// Writes a claim that builds on a revision; none when it was written since, or when the bucket is full.
    pub(crate) fn write_claim(
        &mut self,
        key: (u32, u32),
        record: Rc<AttemptRecord>,
        on: Option<u64>,
        now_ms: i64,
    ) -> Option<u64> {
        let there = self.claim(key, now_ms).map(|entry| entry.revision);
        if self.are_claims_full(now_ms) || (on.is_some() && there != on) {
            return None;
        }
        self.revision += 1;
        self.claims.insert(key, Entry { record, revision: self.revision, written_ms: now_ms });
        Some(self.revision)
    }
}
