//! Pieces of work in the hands of processes. Each step does at most one thing to the outside world, and
//! between two steps its process may be killed or stopped.

use super::broker::{Consumer, Payload};
use super::executor::Steps;
use super::money_task::Booking;
use super::process::Process;
use super::world::World;

/// What a task does after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Its next step, after so many milliseconds.
    After(i64),
    Done,
}

/// A message in a process's hand.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) sequence: u64,
    pub(crate) delivered: u32,
    pub(crate) job: u32,
    pub(crate) published_ms: i64,
    /// Its message id is its job's.
    pub(crate) named: bool,
    pub(crate) payload: Payload,
}

/// The assignment that a worker's task is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InHand {
    pub(crate) sequence: u64,
    pub(crate) deliveries: u32,
    pub(crate) job: u32,
    pub(crate) attempt: u32,
    /// Which of the setting's classes.
    pub(crate) class: usize,
    /// When it was delivered, Unix milliseconds.
    pub(crate) delivered_ms: i64,
}

pub(crate) enum Task {
    /// With the consumer whose message it is about, of those that routers pull from.
    Router(Steps, Option<Consumer>),
    Worker(Steps, Option<InHand>),
    Book(Box<Booking>),
}

impl Task {
    /// What runs as a future.
    pub(crate) fn steps(&mut self) -> Option<&mut Steps> {
        match self {
            Self::Router(steps, _) | Self::Worker(steps, _) => Some(steps),
            Self::Book(_) => None,
        }
    }

    /// Where it counts among what a router has in hand.
    pub(crate) const fn of(&self) -> Option<Consumer> {
        match self {
            Self::Router(_, of) => *of,
            Self::Worker(..) | Self::Book(_) => None,
        }
    }

    /// A step of what does not run as a future.
    pub(crate) fn step(&mut self, world: &mut World) -> Next {
        match self {
            Self::Router(..) | Self::Worker(..) => unreachable!("the executor polls it"),
            Self::Book(task) => task.step(world),
        }
    }
}

struct Slot {
    process: usize,
    incarnation: u32,
    /// Only the newest planned step counts.
    wake: u64,
    task: Option<Task>,
}

impl Slot {
    /// The assignment that the task is about, if it is a worker's of this process.
    fn in_hand(&self, process: usize) -> Option<InHand> {
        match &self.task {
            Some(Task::Worker(_, in_hand)) if self.process == process => *in_hand,
            _ => None,
        }
    }
}

/// All tasks, by number.
#[derive(Default)]
pub(crate) struct Tasks {
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    wakes: u64,
    pub(crate) live: usize,
}

impl Tasks {
    pub(crate) fn add(&mut self, process: usize, incarnation: u32, task: Task) -> (usize, u64) {
        self.live += 1;
        self.wakes += 1;
        let slot = Some(Slot { process, incarnation, wake: self.wakes, task: Some(task) });
        let number = if let Some(number) = self.free.pop() {
            self.slots[number] = slot;
            number
        } else {
            self.slots.push(slot);
            self.slots.len() - 1
        };
        (number, self.wakes)
    }

    fn slot(&mut self, number: usize) -> Option<&mut Slot> {
        self.slots.get_mut(number).and_then(Option::as_mut)
    }

    /// Whose task it is, if this is its newest planned step.
    pub(crate) fn owner(&mut self, number: usize, wake: u64) -> Option<(usize, u32)> {
        let slot = self.slot(number).filter(|slot| slot.wake == wake)?;
        Some((slot.process, slot.incarnation))
    }

    pub(crate) fn take(&mut self, number: usize) -> Option<Task> {
        self.slot(number)?.task.take()
    }

    pub(crate) fn put_back(&mut self, number: usize, task: Task) -> u64 {
        self.wakes += 1;
        let wake = self.wakes;
        if let Some(slot) = self.slot(number) {
            slot.task = Some(task);
            slot.wake = wake;
        }
        wake
    }

    /// Voids the planned step for one to come at once.
    pub(crate) fn wake(&mut self, number: usize) -> Option<u64> {
        self.wakes += 1;
        let wake = self.wakes;
        let slot = self.slot(number).filter(|slot| slot.task.is_some())?;
        slot.wake = wake;
        Some(wake)
    }

    pub(crate) fn remove(&mut self, number: usize) {
        if self.slots[number].take().is_some() {
            self.live -= 1;
            self.free.push(number);
        }
    }

    /// Removes what a killed process had in hand.
    pub(crate) fn remove_of(&mut self, process: usize) {
        for number in 0..self.slots.len() {
            if self.slots[number].as_ref().is_some_and(|slot| slot.process == process) {
                self.remove(number);
            }
        }
    }

    /// The tasks of a process.
    pub(crate) fn of(&self, process: usize) -> Vec<usize> {
        let of = |slot: &Option<Slot>| slot.as_ref().is_some_and(|slot| slot.process == process);
        (0..self.slots.len()).filter(|number| of(&self.slots[*number])).collect()
    }

    /// Drops everything: what runs as a future holds the world.
    pub(crate) fn clear(&mut self) -> Vec<Task> {
        let slots = std::mem::take(&mut self.slots);
        slots.into_iter().flatten().filter_map(|slot| slot.task).collect()
    }

    /// Whose tasks there are, and about which job.
    pub(crate) fn names(&self, processes: &[Process]) -> Vec<String> {
        let name = |slot: &Slot| {
            let process = processes[slot.process].name;
            match &slot.task {
                Some(Task::Worker(_, Some(in_hand))) => format!("{process} with job {}", in_hand.job),
                _ => process.to_owned(),
            }
        };
        self.slots.iter().flatten().map(name).collect()
    }

    /// The assignments that the tasks of a process are about.
    pub(crate) fn in_hand(&self, process: usize) -> impl Iterator<Item = InHand> {
        self.slots.iter().flatten().filter_map(move |slot| slot.in_hand(process))
    }

    /// The tasks of a process that are about a job.
    pub(crate) fn of_job(&self, process: usize, job: u32) -> Vec<usize> {
        let is_about = |slot: &Slot| slot.in_hand(process).is_some_and(|in_hand| in_hand.job == job);
        (0..self.slots.len()).filter(|number| self.slots[*number].as_ref().is_some_and(is_about)).collect()
    }
}
