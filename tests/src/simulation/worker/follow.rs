//! An attempt that runs at its provider: followed to its end, or stopped.

use schemas::{Artifact, ArtifactRef, Event, Fact, Failure, FailureCode, Outcome};

use super::{Attempting, Step, failed, lost, name_of};
use crate::simulation::provider::Look;
use crate::simulation::ports::event_message;
use crate::simulation::setting::{GEMINI, LOCAL};
use crate::simulation::task::Next;
use crate::simulation::world::World;

/// An attempt that takes longer than this is told as `running`, milliseconds.
const TELL_RUNNING_AFTER_MS: i64 = 250;
/// How often a silent provider is asked again, milliseconds.
const ASK_AGAIN_MS: i64 = 2_000;
/// Looks without an answer after which nobody knows.
const UNANSWERED_MAX: u32 = 20;

impl Attempting {
    pub(super) fn follow(&mut self, world: &mut World) -> Next {
        let begun_ms = *self.begun_ms.get_or_insert(world.now_ms);
        if !self.told_running && world.now_ms >= begun_ms + TELL_RUNNING_AFTER_MS {
            self.told_running = true;
            self.tell_running(world, begun_ms);
        }
        let Some(run) = self.run else { return self.end_with(world, failed(lost()), true) };
        if let Some(code) = self.stop_now(world) {
            // A picture is paid as it is: a drain waits for it.
            if !(code == FailureCode::Interrupted && self.backend == GEMINI) {
                self.stop = Some(code);
                return self.go(world, Step::Stop);
            }
        }
        let provider = &world.providers[self.backend];
        let found = &provider.runs[run];
        // A picture's answer is its request's: it comes by itself, or it is lost with the server.
        if self.backend == GEMINI {
            if found.gone {
                return self.end_with(world, failed(lost()), true);
            }
            if world.now_ms < found.done_ms {
                return self.wait(world, found.done_ms);
            }
        }
        match provider.look(run, world.now_ms) {
            Look::Running => {
                let done_ms = found.done_ms;
                self.tries = 0;
                self.wait(world, done_ms)
            }
            Look::Silent if self.tries < UNANSWERED_MAX && self.backend != LOCAL => {
                self.tries += 1;
                Next::After(ASK_AGAIN_MS)
            }
            Look::Silent | Look::Gone if self.backend == LOCAL => {
                let failure =
                    Failure::new(FailureCode::BackendDown, "the server does not have the work any more");
                self.end_with(world, failed(failure), true)
            }
            Look::Silent | Look::Gone => {
                let id = Some(name_of(&self.assignment, run));
                self.end_with(world, Outcome { provider_id: id, ..failed(lost()) }, true)
            }
            Look::Ended { usage, failure } => {
                let failure = failure.map(|code| Failure::new(code, "it failed there"));
                let artifacts = if failure.is_none() { vec![self.artifact()] } else { Vec::new() };
                let id = Some(name_of(&self.assignment, run));
                let outcome = Outcome { artifacts, usage, provider_id: id, energy_mj: None, failure };
                self.end_with(world, outcome, true)
            }
        }
    }

    /// Waits for the end of the work, or for what comes before it.
    fn wait(&self, world: &mut World, done_ms: i64) -> Next {
        let begun_ms = self.begun_ms.unwrap_or(world.now_ms);
        let mut until_ms = done_ms + world.moment();
        until_ms = until_ms.min(begun_ms + self.assignment.timeout_ms.cast_signed());
        if let Some(deadline_ms) = self.assignment.job.constraints.deadline_ms {
            until_ms = until_ms.min(deadline_ms);
        }
        if !self.told_running {
            until_ms = until_ms.min(begun_ms + TELL_RUNNING_AFTER_MS);
        }
        Next::After((until_ms - world.now_ms).max(1))
    }

    /// Told once; when that fails nobody tries again.
    fn tell_running(&self, world: &mut World, begun_ms: i64) {
        let job = &self.assignment.job;
        let fact = Fact::Running {
            facts: self.assignment.facts(),
            backend: self.assignment.backend.clone(),
            worker: world.processes[self.process].worker.clone(),
            started_at_ms: begun_ms,
        };
        let event = Event::new(world.now_ms, job.tenant.clone(), job.id, self.assignment.attempt, fact);
        let message = event_message(world.mutation, &event, None);
        let _ = world.publish(self.process, &message);
    }

    /// Stops the work there and reads what it cost; a drain leaves alone what can be resumed.
    pub(super) fn stop_there(&mut self, world: &mut World) -> Next {
        let (Some(run), Some(code)) = (self.run, self.stop) else { return self.go(world, Step::Settle) };
        let failure = Failure::new(code, "stopped while it ran");
        let id = Some(name_of(&self.assignment, run));
        if code == FailureCode::Interrupted && self.backend != LOCAL {
            return self.end_with(world, Outcome { provider_id: id, ..failed(failure) }, true);
        }
        // Closing the connection does not stop a picture and brings no bill.
        if self.backend == GEMINI {
            return self.end_with(world, failed(failure), true);
        }
        world.providers[self.backend].cancel(run, world.now_ms);
        let usage = match world.providers[self.backend].look(run, world.now_ms) {
            Look::Ended { usage, .. } => usage,
            _ => Vec::new(),
        };
        self.end_with(world, Outcome { usage, provider_id: id, ..failed(failure) }, true)
    }

    fn artifact(&self) -> Artifact {
        Artifact {
            at: ArtifactRef::new(
                "ARTIFACTS",
                format!("out/{}/{}/0.png", self.delivery.job, self.assignment.attempt),
            ),
            media_type: "image/png".to_owned(),
            bytes: 1,
            ..schemas::samples::artifact()
        }
    }
}
