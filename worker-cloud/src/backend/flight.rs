//! A job that runs at the provider, followed by its id until it ends or has to be stopped.

use std::time::{Duration, Instant};

use runtime::artifacts::ARTIFACT_MAX_BYTES;
use runtime::clock::now_ms;
use runtime::png_text;
use schemas::{Artifact, Failure, FailureCode, Outcome, Phase, SavedAs, Usage};
use worker_host::{Attempt, Stop};

use crate::backend::worker_time::WorkerTime;
use crate::config::RunPodConfig;
use crate::runpod::client::Client;
use crate::runpod::errors::{self, CallError};
use crate::runpod::jobs;
use crate::runpod::output::{self, Content, Files};
use crate::runpod::poll::Pauses;
use crate::runpod::request::Limits;
use crate::runpod::wire::{JobReply, Status};

/// So many looks in a row without a usable answer, and we no longer know (about five minutes).
const UNANSWERED_MAX: u32 = 60;
/// So many "unknown job" in a row are believed: right after a start one may be early.
const GONE_LOOKS: u32 = 3;
/// How often a stop is asked for before we give up on seeing it.
const CANCELS_MAX: u32 = 4;
/// How often the status is read after each request to stop.
const LOOKS_PER_CANCEL: u32 = 5;
/// How often a file's download is tried.
const DOWNLOADS_MAX: u32 = 3;

/// A job at the provider.
pub(super) struct Flight<'a> {
    client: &'a Client,
    time: &'a WorkerTime,
    pauses: Pauses,
    limits: Limits,
    id: String,
    since: Instant,
    /// How old it was already when we began to follow it, milliseconds.
    age_before_ms: u64,
    look_at_once: bool,
    seen_waiting: bool,
    seen_running: bool,
    unanswered: u32,
    gone: u32,
}

impl<'a> Flight<'a> {
    /// A job that has just been accepted.
    pub(super) fn started(
        client: &'a Client,
        config: &RunPodConfig,
        time: &'a WorkerTime,
        limits: Limits,
        id: String,
        seed: u64,
    ) -> Self {
        let pauses = Pauses { min_ms: config.poll_min_ms, max_ms: config.poll_max_ms, seed };
        Self {
            client,
            time,
            pauses,
            limits,
            id,
            since: Instant::now(),
            age_before_ms: 0,
            look_at_once: false,
            seen_waiting: false,
            seen_running: false,
            unanswered: 0,
            gone: 0,
        }
    }

    /// The same for a job that another worker, or this one before, started.
    pub(super) fn resumed(self, age_ms: u64) -> Self {
        Self { age_before_ms: age_ms, look_at_once: true, ..self }
    }

    /// Follows the job to its end.
    pub(super) async fn follow(&mut self, attempt: &Attempt) -> Outcome {
        let mut look = 0_u32;
        loop {
            let pause_ms = if self.look_at_once && look == 0 { 0 } else { self.pauses.after(look) };
            look = look.saturating_add(1);
            let asked = async {
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                self.client.status(&self.id).await
            };
            let reply = tokio::select! {
                biased;
                stop = attempt.stopped() => return self.stop(attempt, stop).await,
                reply = asked => reply,
            };
            match reply {
                Ok(reply) if reply.status.is_terminal() => return self.ended(attempt, &reply).await,
                Ok(reply) => self.note(attempt, &reply),
                Err(error) => {
                    if let Some(failure) = self.unanswered(&error) {
                        return self.outcome(Some(failure), Vec::new(), Vec::new());
                    }
                }
            }
        }
    }

    /// Remembers a state on the way, and tells watchers when it is a new one.
    fn note(&mut self, attempt: &Attempt, reply: &JobReply) {
        self.unanswered = 0;
        self.gone = 0;
        match reply.status {
            Status::InQueue => {
                if !self.seen_waiting {
                    attempt.progress(Phase::Queued, 0, 0, None);
                }
                self.seen_waiting = true;
            }
            Status::InProgress => {
                if !self.seen_running {
                    attempt.progress(Phase::Running, 0, 0, None);
                }
                self.seen_running = true;
            }
            other => {
                tracing::debug!(provider_id = self.id, provider_state = ?other, "an unknown state: still running");
            }
        }
    }

    /// A look that brought nothing; a failure once it is enough.
    fn unanswered(&mut self, error: &CallError) -> Option<Failure> {
        tracing::debug!(provider_id = self.id, %error, "no usable answer about a job");
        if let CallError::TooLarge(limit_bytes) = error {
            let message = format!("RunPod's answer is larger than the {limit_bytes} bytes that are read");
            return Some(Failure::new(FailureCode::NotStored, message));
        }
        if error.status() == Some(404) {
            self.gone += 1;
            let age_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
            let age_ms = age_ms.saturating_add(self.age_before_ms);
            let watched = self.seen_waiting || self.seen_running;
            return (self.gone >= GONE_LOOKS).then(|| errors::gone(age_ms, self.limits.ttl_ms, watched));
        }
        // The job ended, and the same answer would come again.
        if let CallError::TooLarge(max_bytes) = error {
            let message = format!("RunPod's answer with the result is larger than {max_bytes} bytes");
            return Some(Failure::new(FailureCode::NotStored, message));
        }
        // A refused key counts as no answer: the work goes on, and a worker with the new key takes it up.
        self.unanswered += 1;
        (self.unanswered >= UNANSWERED_MAX).then(|| errors::unanswered(error, self.unanswered))
    }

    async fn ended(&self, attempt: &Attempt, reply: &JobReply) -> Outcome {
        self.time.note(reply, now_ms());
        let never_ran = jobs::never_ran(reply, self.seen_waiting, self.seen_running);
        let usage = jobs::usage(reply, never_ran);
        if reply.status != Status::Completed {
            return self.outcome(Some(jobs::failure(reply, never_ran)), usage, Vec::new());
        }
        attempt.progress(Phase::Downloading, 0, 0, None);
        tokio::select! {
            biased;
            stop = attempt.stopped() => Outcome {
                usage, provider_id: Some(self.id.clone()), ..attempt.stopped_outcome(stop)
            },
            outcome = self.delivered(attempt, reply, usage.clone()) => outcome,
        }
    }

    /// Fetches and stores what a completed job made.
    async fn delivered(&self, attempt: &Attempt, reply: &JobReply, usage: Vec<Usage>) -> Outcome {
        match self.collect(attempt, reply).await {
            Ok(artifacts) => self.outcome(None, usage, artifacts),
            Err(failure) => self.outcome(Some(failure), usage, Vec::new()),
        }
    }

    async fn collect(&self, attempt: &Attempt, reply: &JobReply) -> Result<Vec<Artifact>, Failure> {
        let Files { files, remarks } = output::files(reply.output.as_ref())?;
        if !remarks.is_empty() {
            let said = remarks.join("; ");
            tracing::warn!(job = %attempt.id().job, provider_id = self.id, reason = said, "beside the files");
            attempt.progress(Phase::Downloading, 0, 0, Some(&said));
        }
        let mut artifacts = Vec::new();
        attempt.delivered(&jobs::usage(reply, false)).await;
        for (index, file) in files.into_iter().enumerate() {
            let bytes = match file.content {
                Content::Bytes(bytes) => bytes,
                Content::Url(url) => {
                    let bytes = self.download(&url).await?;
                    if output::is_web_page(file.name.as_deref(), &bytes) {
                        let message =
                            "RunPod completed the job, and its result's address leads to a web page";
                        return Err(Failure::new(FailureCode::UnusableResult, message));
                    }
                    bytes
                }
            };
            let bytes = png_text::as_asked(&attempt.assignment.job.body, bytes);
            let media_type = output::media_type(file.name.as_deref(), &bytes);
            let saved = attempt.save(index, media_type, bytes).await?;
            let file_name = file.name.map(|file_name| SavedAs { file_name, ..SavedAs::default() }.bounded());
            artifacts.push(Artifact { saved: file_name.map(Box::new), ..saved });
        }
        Ok(artifacts)
    }

    /// Downloads a file of a job that is paid. However that ends, it begins no new work.
    async fn download(&self, url: &str) -> Result<bytes::Bytes, Failure> {
        let mut tries = 0;
        loop {
            let error = match self.client.download(url, ARTIFACT_MAX_BYTES).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => error,
            };
            tries += 1;
            if !error.may_pass() || tries >= DOWNLOADS_MAX {
                tracing::warn!(provider_id = self.id, %error, "a result was not downloaded");
                return Err(error.failure("runpod.allowed_result_hosts"));
            }
            tokio::time::sleep(Duration::from_millis(self.pauses.after(tries))).await;
        }
    }

    /// Ends the attempt early. A drain leaves the job alone: the next worker goes on by its id. Everything
    /// else stops it at the provider, and reads what it cost until then. A job that completed before the limit could
    /// stop it is paid and kept: the limit is no reason to pay for another.
    async fn stop(&mut self, attempt: &Attempt, stop: Stop) -> Outcome {
        let reply = if stop == Stop::Drain { None } else { self.cancel(attempt).await };
        let usage = reply.as_ref().map_or_else(Vec::new, |reply| {
            self.time.note(reply, now_ms());
            jobs::usage(reply, jobs::never_ran(reply, self.seen_waiting, self.seen_running))
        });
        if let Some(reply) = &reply
            && stop == Stop::Timeout
            && reply.status == Status::Completed
        {
            return self.delivered(attempt, reply, usage).await;
        }
        Outcome { usage, provider_id: Some(self.id.clone()), ..attempt.stopped_outcome(stop) }
    }

    /// Stops the job; how it ended, or nothing when the provider does not tell in time.
    async fn cancel(&mut self, attempt: &Attempt) -> Option<JobReply> {
        for _ in 0..CANCELS_MAX {
            // A job that just ended answers with an error or its old state: the status tells.
            if let Err(error) = self.client.cancel(&self.id).await {
                tracing::debug!(provider_id = self.id, %error, "cancel");
            }
            for look in 0..LOOKS_PER_CANCEL {
                match self.client.status(&self.id).await {
                    Ok(reply) if reply.status.is_terminal() => return Some(reply),
                    Ok(reply) => self.note(attempt, &reply),
                    Err(error) if error.status() == Some(404) => return None,
                    Err(_) => {}
                }
                tokio::time::sleep(Duration::from_millis(self.pauses.after(look))).await;
            }
        }
        tracing::warn!(job = %attempt.id().job, provider_id = self.id, "the job did not stop when asked");
        None
    }

    fn outcome(&self, failure: Option<Failure>, usage: Vec<Usage>, artifacts: Vec<Artifact>) -> Outcome {
        if let Some(failure) = &failure
            && failure.code == FailureCode::OutcomeUnknown
        {
            tracing::warn!(provider_id = self.id, reason = failure.message, "outcome unknown");
        }
        Outcome { artifacts, usage, provider_id: Some(self.id.clone()), failure, ..Outcome::default() }
    }
}
