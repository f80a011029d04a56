//! Paid work waits here until its result can be stored. It is seldom needed: a worker without room pulls nothing.

use std::pin::pin;
use std::time::Duration;

use schemas::Phase;

use super::Run;
use crate::race::{Raced, race};
use crate::worker::ports::{NoRoom, WorkerPorts};

/// How often a wait looks for a cancel or a deadline.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What came of waiting for room.
pub(super) enum Waited<R> {
    /// There is room, for as long as this is held.
    Room(R),
    /// It need not wait: it was begun before, or is to end.
    NotNeeded,
    /// The worker stops, and it was not begun.
    Stopping(String),
}

impl<P: WorkerPorts> Run<'_, P> {
    /// Waits until there is room for the attempt's result. The assignment is kept meanwhile: handing it back again
    /// and again would look like lost workers.
    pub(super) async fn await_room(&self) -> Waited<P::Room> {
        let ports = self.ports;
        let job = &self.assignment.job;
        let bytes = ports.expected_bytes(&self.assignment.class);
        let NoRoom(reason) = match ports.reserve_room(bytes) {
            Ok(reserved) => return Waited::Room(reserved),
            Err(reason) => reason,
        };
        // Whatever was begun goes on: its result needs the room in any case.
        if !matches!(ports.read_claim(self.assignment.id()).await, Ok(None)) {
            return Waited::NotNeeded;
        }
        tracing::warn!(job = %job.id, attempt = self.assignment.attempt, reason, "not started: waiting for room");
        let mut waiting = ports.wait_for_room(bytes);
        loop {
            let NoRoom(reason) = match ports.reserve_room(bytes) {
                Ok(reserved) => return Waited::Room(reserved),
                Err(reason) => reason,
            };
            ports.progress(self.assignment, Phase::Queued, Some(&reason));
            if self.is_expired() || ports.is_cancelled(&job.tenant, job.id) {
                return Waited::NotNeeded;
            }
            let looking = pin!(race(ports.sleep(LOOK_EVERY), ports.room_changed(&mut waiting)));
            match race(looking, ports.stopping()).await {
                Raced::Left(_) => {}
                Raced::Right(()) => return Waited::Stopping(reason),
            }
        }
    }
}
