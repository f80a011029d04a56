//! What will happen, in order of time, then of entry.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::task::Waker;

use super::binding::FailedAttempt;

/// Something that happens at a moment.
#[derive(Debug)]
pub enum Event {
    /// A strategy asked for it.
    Wake(u64),
    /// A step of a router waits for it.
    Timer(Waker),
    /// An attempt ends, unless it was stopped before.
    Ends {
        /// At which server.
        server: usize,
        /// Which of its attempts.
        token: u64,
    },
    /// A server stops working.
    Down(usize),
    /// It works again.
    Up(usize),
    /// An attempt failed just now, and the strategy has not heard of it.
    Lost(Box<FailedAttempt>),
}

#[derive(Debug)]
struct Entry {
    at: (i64, u64),
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at)
    }
}

/// The events to come.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    entries: BinaryHeap<Entry>,
    count: u64,
}

impl Agenda {
    pub(crate) fn push(&mut self, at_ms: i64, event: Event) {
        self.count += 1;
        self.entries.push(Entry { at: (at_ms, self.count), event });
    }

    pub(crate) fn next_at_ms(&self) -> Option<i64> {
        self.entries.peek().map(|entry| entry.at.0)
    }

    /// The next event that is due.
    pub(crate) fn pop(&mut self, now_ms: i64) -> Option<Event> {
        if self.next_at_ms()? > now_ms {
            return None;
        }
        self.entries.pop().map(|entry| entry.event)
    }
}
