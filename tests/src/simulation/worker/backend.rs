//! The three backends over the simulated providers, one call to the outside world each step.

use std::future::poll_fn;
use std::task::Poll;

use protocol::Ports as _;
use protocol::worker::{AttemptControl as _, SharedClaim, Stop, claim, may_start};
use schemas::{
    Artifact, ArtifactRef, Assignment, AttemptId, DeliveredResult, Failure, FailureCode, Input, Outcome,
    Unit, Usage, WorkerId,
};

use super::attempt::SimulatedAttempt;
use crate::simulation::mutation::Mutation;
use crate::simulation::ports::{SimulatedPorts, claim_key};
use crate::simulation::provider::{Look, Start};
use crate::simulation::setting::{CLOUD, GEMINI, LOCAL};

/// How often a silent provider is asked again, milliseconds.
const ASK_AGAIN_MS: i64 = 2_000;
/// Work that takes longer than this hangs, milliseconds.
const HANGS_MS: i64 = 60_000;
/// Looks without an answer after which the outcome is unknown.
const UNANSWERED_MAX: u32 = 20;
/// How long a provider keeps a result, milliseconds.
const RESULTS_KEPT_MS: i64 = 30 * 60_000;

impl SimulatedPorts {
    /// Runs an attempt at its backend's provider.
    pub(crate) async fn run_at_provider(&self, attempt: &SimulatedAttempt) -> Outcome {
        let backend = self.world(|world| world.setting.backend_number(&attempt.assignment.backend));
        let run = match &attempt.resume_id {
            // A picture's request cannot be taken up again.
            Some(_) if backend == GEMINI => return failed(lost()),
            Some(id) => number_of(id),
            None => match self.start_at_provider(attempt, backend).await {
                Ok(run) => Some(run),
                Err(outcome) => return outcome,
            },
        };
        let Some(run) = run else { return failed(lost()) };
        match self.follow(attempt, backend, run).await {
            Ended::Stopped(stop) => self.stop_there(attempt, backend, run, stop),
            Ended::Lost => failed(lost()),
            Ended::Gone if backend == LOCAL => {
                let words = "the server does not have the work any more";
                failed(Failure { while_running: true, ..Failure::new(FailureCode::BackendDown, words) })
            }
            Ended::Gone => Outcome { provider_id: Some(name_of(&attempt.assignment, run)), ..failed(lost()) },
            Ended::Done { usage, failure } => self.finish(attempt, backend, run, usage, failure).await,
        }
    }

    /// Why an attempt is not started: a file that it needs is gone, and its server does not have it from before.
    fn missing_input(&self, assignment: &Assignment) -> Option<Failure> {
        self.world(|world| {
            let is_gone =
                |input: &Input| world.upload_of(input).is_some_and(|until_ms| until_ms <= world.now_ms);
            let is_known = world.providers[LOCAL].find(claim_key(assignment.id())).is_some();
            let is_missing = !is_known && assignment.job.body.inputs.iter().any(is_gone);
            is_missing.then(|| Failure::invalid("body.inputs", "the file is not there".to_owned()))
        })
    }

    async fn start_at_provider(&self, attempt: &SimulatedAttempt, backend: usize) -> Result<usize, Outcome> {
        let assignment = &attempt.assignment;
        let (id, paid) = (assignment.id(), backend != LOCAL);
        let stop = if paid {
            let is_still_ours = claim::is_still_ours(self, &attempt.held, id);
            may_start(|| attempt.stop_reason(), assignment.is_paid(), is_still_ours).await.err()
        } else {
            attempt.stop_reason()
        };
        let failure = stop.map(Stop::failure).or_else(|| self.missing_input(assignment));
        if let Some(failure) = failure {
            // Nothing was asked of the provider: the usage is known, and zero.
            let unit = if backend == CLOUD { Unit::ExecutionMs } else { Unit::InputToken };
            let usage = if paid { vec![Usage { unit, quantity: 0 }] } else { Vec::new() };
            return Err(Outcome { usage, ..failed(failure) });
        }
        let started = self.world(|world| {
            let (key, seed, now_ms) = (claim_key(id), world.seed, world.now_ms);
            // Our own server knows the work by a name of ours.
            if !paid
                && now_ms >= world.providers[LOCAL].down_until_ms
                && let Some(run) = world.providers[LOCAL].find(key)
            {
                return Start::Accepted(run);
            }
            let mut started = world.providers[backend].start(seed, key, now_ms);
            if matches!(started, Start::Lost) {
                world.figures.lost_answers += 1;
                if world.mutation == Mutation::RetryThePaidCall && paid {
                    started = world.providers[backend].start(seed, key, now_ms);
                }
            }
            if backend == CLOUD
                && let Some(run) = world.providers[CLOUD].taken_on(key)
            {
                world.plan_report(key, run);
            }
            if let Some(in_hand) = self.in_hand {
                world.watch_start(self.process, backend, assignment, in_hand.job, in_hand.delivered_ms);
            }
            started
        });
        match started {
            Start::Accepted(run) => {
                self.world(|world| {
                    let hangs = world.providers[backend].runs[run].done_ms > world.now_ms + HANGS_MS;
                    if backend == LOCAL && hangs {
                        world.lose(self.process, claim_key(id).0);
                    }
                });
                self.moment().await;
                if backend == CLOUD {
                    let name = name_of(assignment, run);
                    let recorded = claim::record_started(self, &attempt.held, id, &name).await;
                    match recorded {
                        Ok(()) => self.watch_named(id),
                        Err(_) => self.watch_unrecorded(id, &name),
                    }
                    recorded.map_err(|failure| Outcome { provider_id: Some(name), ..failed(failure) })?;
                }
                Ok(run)
            }
            Start::Lost if !paid => {
                self.moment().await;
                Err(failed(Failure::new(FailureCode::BackendDown, "no answer")))
            }
            Start::Lost => {
                let wait_ms = self.world(|world| world.chance.between(500, 8_000));
                self.pause(wait_ms).await;
                Err(failed(lost()))
            }
            Start::Refused(failure) => {
                self.moment().await;
                Err(failed(failure))
            }
        }
    }

    /// Looks at a piece of work until it has ended, or has to end.
    async fn follow(&self, attempt: &SimulatedAttempt, backend: usize, run: usize) -> Ended {
        let mut silent = 0;
        loop {
            // A picture is paid as it is: a drain waits for it.
            let stop = attempt.stop_reason().filter(|stop| !(*stop == Stop::Drain && backend == GEMINI));
            if let Some(stop) = stop {
                return Ended::Stopped(stop);
            }
            let (look, gone, done_ms, now_ms) = self.world(|world| {
                let provider = &world.providers[backend];
                let found = provider.runs.get(run);
                let (gone, done_ms) = found.map_or((true, 0), |found| (found.gone, found.done_ms));
                (provider.look(run, world.now_ms), gone, done_ms, world.now_ms)
            });
            // A picture's answer is its request's: it comes by itself, or it is lost with the server.
            if backend == GEMINI && gone {
                return Ended::Lost;
            }
            let again_ms = match look {
                _ if backend == GEMINI && now_ms < done_ms => done_ms,
                Look::Running => {
                    silent = 0;
                    done_ms + self.world(|world| world.moment())
                }
                Look::Silent if silent < UNANSWERED_MAX && backend != LOCAL => {
                    silent += 1;
                    now_ms + ASK_AGAIN_MS
                }
                Look::Silent | Look::Gone => return Ended::Gone,
                Look::Ended { usage, failure } => return Ended::Done { usage, failure },
            };
            self.wait(attempt, backend, run, again_ms).await;
        }
    }

    /// Waits for the end of the work, or for what comes before it.
    async fn wait(&self, attempt: &SimulatedAttempt, backend: usize, run: usize, until_ms: i64) {
        let (stopped, gone) = (attempt.stop_reason(), self.is_gone(backend, run));
        poll_fn(|_| {
            if attempt.stop_reason() != stopped || self.is_gone(backend, run) != gone {
                return Poll::Ready(());
            }
            self.world(|world| {
                if world.now_ms >= until_ms {
                    return Poll::Ready(());
                }
                world.look_again_at(until_ms);
                Poll::Pending
            })
        })
        .await;
    }

    fn is_gone(&self, backend: usize, run: usize) -> bool {
        self.world(|world| world.providers[backend].runs.get(run).is_none_or(|found| found.gone))
    }

    /// Stops the work there and reads what it cost; a drain leaves alone what can be resumed.
    fn stop_there(&self, attempt: &SimulatedAttempt, backend: usize, run: usize, stop: Stop) -> Outcome {
        let id = Some(name_of(&attempt.assignment, run));
        if stop == Stop::Drain && backend != LOCAL {
            return Outcome { provider_id: id, ..failed(stop.failure()) };
        }
        // Closing the connection does not stop a picture and brings no bill.
        if backend == GEMINI {
            return failed(stop.failure());
        }
        let look = self.world(|world| {
            world.providers[backend].cancel(run, world.now_ms);
            world.providers[backend].look(run, world.now_ms)
        });
        let usage = if let Look::Ended { usage, .. } = look { usage } else { Vec::new() };
        Outcome { usage, provider_id: id, ..failed(stop.failure()) }
    }

    /// What a piece of work that ended made: fetched by its id from a provider that keeps it, spooled first where it
    /// came in the answer.
    async fn finish(
        &self,
        attempt: &SimulatedAttempt,
        backend: usize,
        run: usize,
        usage: Vec<Usage>,
        failure: Option<FailureCode>,
    ) -> Outcome {
        let id = Some(name_of(&attempt.assignment, run));
        if let Some(code) = failure {
            let failure = Some(Failure::new(code, "it failed there"));
            return Outcome { usage, provider_id: id, failure, ..Outcome::default() };
        }
        let at_ms = self.now_ms();
        let delivered = DeliveredResult {
            at_ms,
            kept_until_ms: at_ms + RESULTS_KEPT_MS,
            spooled_by: None,
            usage: usage.clone(),
            provider_id: id.clone(),
        };
        let attempt_id = attempt.assignment.id();
        let spooled_by = if backend == GEMINI { self.spool(attempt_id, &delivered).await } else { None };
        self.deliver_once(
            &attempt.delivered,
            &attempt.held,
            attempt_id,
            DeliveredResult { spooled_by, ..delivered },
        )
        .await;
        // Fetched and stored.
        self.moment().await;
        if backend == CLOUD && self.world(|world| world.chance.per_mille(30)) {
            let failure = Failure::new(FailureCode::Transient, "the result was not fetched");
            return Outcome { provider_id: id, ..failed(failure) };
        }
        let artifacts = vec![artifact(&attempt.assignment)];
        Outcome { artifacts, usage, provider_id: id, ..Outcome::default() }
    }

    async fn deliver_once(
        &self,
        delivered: &std::cell::RefCell<Option<DeliveredResult>>,
        held: &SharedClaim,
        attempt: AttemptId,
        result: DeliveredResult,
    ) {
        if delivered.borrow().is_some() {
            return;
        }
        *delivered.borrow_mut() = Some(result.clone());
        claim::record_delivered(self, held, attempt, &result).await;
    }

    /// Writes a result to the disk of the worker's machine.
    async fn spool(&self, attempt: AttemptId, delivered: &DeliveredResult) -> Option<WorkerId> {
        let worker = self.worker.as_ref().clone();
        self.world(|world| {
            let spooled = DeliveredResult { spooled_by: Some(worker.clone()), ..delivered.clone() };
            world.spools[self.process].insert(attempt, spooled);
            let found = &mut world.processes[self.process];
            found.spooled_in_hand.insert(attempt);
            if let Some(for_ms) = found.severed_ms.take() {
                world.cut(self.process, for_ms);
            }
            world.lose(self.process, claim_key(attempt).0);
        });
        self.doings.spooled.set(true);
        self.moment().await;
        Some(worker)
    }
}

/// How a piece of work was found to be over.
enum Ended {
    Stopped(Stop),
    Lost,
    Gone,
    Done { usage: Vec<Usage>, failure: Option<FailureCode> },
}

/// The file that an attempt makes.
pub(crate) fn artifact(assignment: &Assignment) -> Artifact {
    artifact_of(assignment.id())
}

/// The same, by the attempt's id.
pub(crate) fn artifact_of(attempt: AttemptId) -> Artifact {
    Artifact {
        at: ArtifactRef::new("ARTIFACTS", format!("out/{}/{}/0.png", attempt.job, attempt.attempt)),
        media_type: "image/png".to_owned(),
        bytes: 1,
        ..schemas::samples::artifact()
    }
}

fn failed(failure: Failure) -> Outcome {
    Outcome { failure: Some(failure), ..Outcome::default() }
}

fn lost() -> Failure {
    Failure::new(FailureCode::OutcomeUnknown, "what came of the call to the provider cannot be found out")
}

/// The provider's id of a piece of work, and back.
fn name_of(assignment: &Assignment, run: usize) -> String {
    format!("{}-{run}", assignment.backend)
}

fn number_of(id: &str) -> Option<usize> {
    id.rsplit_once('-')?.1.parse().ok()
}
