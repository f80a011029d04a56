//! A job bound to a backend, and what strategies hear of it.

use std::rc::Rc;

use schemas::{Assignment, Failure, MicroUsd, Usage};

/// A job bound to a backend: it waits there until a server pulls it.
#[derive(Debug, Clone)]
pub struct Binding {
    /// Which job.
    pub job: usize,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Where.
    pub backend: usize,
    /// Its place in the stream of work.
    pub sequence: u64,
    /// When it was bound, Unix milliseconds.
    pub bound_at_ms: i64,
    /// The longest that it may run, milliseconds.
    pub timeout_ms: u64,
    /// What the shipped router wrote.
    pub assignment: Option<Rc<Assignment>>,
}

/// An attempt that failed.
#[derive(Debug, Clone)]
pub struct FailedAttempt {
    /// What was bound.
    pub binding: Binding,
    /// By which server.
    pub server: usize,
    /// When it was begun, Unix milliseconds.
    pub started_at_ms: i64,
    /// Why it failed.
    pub failure: Failure,
    /// What the provider counted.
    pub usage: Vec<Usage>,
    /// What that costs.
    pub cost: MicroUsd,
}

/// What a strategy is to be notified of.
#[derive(Debug)]
pub enum Notice {
    /// A job was accepted.
    Arrived(usize),
    /// An attempt failed.
    Failed(Box<FailedAttempt>),
    /// An attempt succeeded.
    Succeeded {
        /// Of which job.
        job: usize,
        /// At which backend.
        backend: usize,
        /// For how long it had its slot, milliseconds.
        run_ms: u64,
    },
    /// A moment has come for which the strategy asked.
    Woken(u64),
}
