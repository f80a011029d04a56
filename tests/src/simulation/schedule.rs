//! What happens next: events by virtual time, those of one moment in the order in which they were planned.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Something that happens at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Happening {
    /// An operation of the list, by its place.
    Operation(usize),
    /// The client publishes again what was not confirmed.
    Publish { job: u32, tries: u32 },
    /// A task of a process takes its next step, unless it was woken in between.
    Step { task: usize, wake: u64 },
    /// A process learns that a job is to be cancelled.
    Cancel { process: usize, incarnation: u32, job: u32 },
    /// A process does what it does every few seconds.
    Tick { process: usize, incarnation: u32 },
    /// A router looks at the jobs in hand that wait for room.
    LookAtRoom { process: usize, incarnation: u32 },
    /// A delivery may have been silent for too long.
    Expire { sequence: u64, token: u32 },
    /// A message that was handed back with a delay may be delivered again.
    Rested { sequence: u64, token: u32 },
    /// A process that was killed starts again.
    Restart { process: usize, incarnation: u32 },
    /// A process that was stopped for a while goes on.
    Resume { process: usize, incarnation: u32 },
    /// A process that was cut off may speak to the broker again.
    Heal { process: usize },
    /// A draining process lets go of what still runs.
    LetGo { process: usize, incarnation: u32 },
    /// A process dies.
    Die { process: usize, incarnation: u32, for_ms: i64 },
    /// A client asks to cancel a job.
    Ask { job: u32 },
    /// The broker is back.
    BrokerBack,
    /// A provider reports under which id it knows an attempt.
    Report { job: u32, attempt: u32, run: usize, tries: u32 },
    /// The invariants look at what waits.
    Watch,
}

/// The queue of what is to happen.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    heap: BinaryHeap<Reverse<(i64, u64, Happening)>>,
    planned: u64,
}

impl Schedule {
    /// Plans something for a moment, Unix milliseconds.
    pub(crate) fn at(&mut self, at_ms: i64, happening: Happening) {
        self.planned += 1;
        self.heap.push(Reverse((at_ms, self.planned, happening)));
    }

    /// Everything that is planned comes so much later.
    pub(crate) fn put_off(&mut self, by_ms: i64) {
        let planned = std::mem::take(&mut self.heap).into_iter();
        self.heap =
            planned.map(|Reverse((at_ms, number, what))| Reverse((at_ms + by_ms, number, what))).collect();
    }

    /// Takes what comes next, with its moment.
    pub(crate) fn next(&mut self) -> Option<(i64, Happening)> {
        self.heap.pop().map(|Reverse((at_ms, _, happening))| (at_ms, happening))
    }
}
