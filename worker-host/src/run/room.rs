//! Paid work waits here until its result can be stored. It is seldom needed: a worker without room pulls nothing.

use std::time::Duration;

use schemas::Phase;
use tokio::sync::Mutex;

use super::Run;
use crate::room::Reserved;
use runtime::clock;

/// How often a wait looks for a cancel or a deadline.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What came of waiting for room.
pub(super) enum Waited {
    /// There is room, for as long as this is held.
    Room(Reserved),
    /// It need not wait: it was begun before, or is to end.
    NotNeeded,
    /// The worker stops, and it was not begun.
    Stopping(String),
}

impl Run<'_> {
    /// Waits until there is room for the attempt's result. The assignment is kept meanwhile: handing it back again
    /// and again would look like lost workers.
    pub(super) async fn await_room(&self) -> Waited {
        let shared = self.shared;
        let job = &self.assignment.job;
        let catalog = shared.config.borrow().catalog.clone();
        let bytes = shared.room.expected(&self.assignment.class, &catalog);
        let mut changes = shared.room.changes();
        let mut reason = match shared.room.reserve(bytes) {
            Ok(reserved) => return Waited::Room(reserved),
            Err(reason) => reason,
        };
        // Whatever was begun goes on: its result needs the room in any case.
        if !matches!(shared.claims.read(self.assignment.id()).await, Ok(None)) {
            return Waited::NotNeeded;
        }
        tracing::warn!(job = %job.id, attempt = self.assignment.attempt, reason, "not started: waiting for room");
        let _waiting = shared.room.wait(bytes);
        let attempt = self.attempt(std::sync::Arc::new(Mutex::new(None)), None).ok();
        loop {
            if let Some((attempt, _)) = &attempt {
                attempt.progress(Phase::Queued, 0, 0, Some(&reason));
            }
            let expired = job.constraints.deadline_ms.is_some_and(|deadline| deadline <= clock::now_ms());
            if expired || shared.cancels.contains(job.id) {
                return Waited::NotNeeded;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = changes.changed() => {}
                () = shared.lifecycle.soft.cancelled() => return Waited::Stopping(reason),
            }
            reason = match shared.room.reserve(bytes) {
                Ok(reserved) => return Waited::Room(reserved),
                Err(reason) => reason,
            };
        }
    }
}
