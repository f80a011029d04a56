//! An interaction, followed by its id until it ends or has to be stopped.

use std::time::Duration;

use bytes::Bytes;
use runtime::artifacts::ARTIFACT_MAX_BYTES;
use runtime::clock::now_ms;
use schemas::{Artifact, Failure, FailureCode, Outcome, Phase};
use worker_host::{Attempt, Stop};

use crate::backend::{GeminiBackend, failed, inputs, stopped_before_start};
use crate::gemini::errors::{self, CallError};
use crate::gemini::interactions::{self, Wanted};
use crate::gemini::media::{self, MediaRef, Source};
use crate::gemini::wire::{Interaction, Status};
use crate::gemini::{bounds, download, sizes, usage};

/// So many looks in a row without a usable answer, and we no longer know (five minutes at 5 s each).
const UNANSWERED_MAX: u32 = 60;
/// So many "unknown interaction" in a row are believed: right after a start one may be early.
const GONE_LOOKS: u32 = 3;
/// How often the state is read after asking to stop.
const LOOKS_AFTER_CANCEL: u32 = 6;
/// How often a file is looked at before it must be ready.
const FILE_LOOKS_MAX: u32 = 60;
/// How often a download is tried.
const DOWNLOADS_MAX: u32 = 3;

impl GeminiBackend {
    pub(super) async fn background(&self, attempt: &Attempt, resume_id: Option<&str>) -> Outcome {
        let id = match resume_id {
            Some(id) => id.to_owned(),
            None => match self.start(attempt).await {
                Ok(id) => id,
                Err(outcome) => return outcome,
            },
        };
        let outcome = tokio::select! {
            biased;
            stop = attempt.stopped() => self.stop(attempt, &id, stop).await,
            outcome = self.follow(attempt, &id, resume_id.is_some()) => outcome,
        };
        Outcome { provider_id: Some(id), ..outcome }
    }

    /// Starts the interaction and makes its id durable; nothing may come between the two.
    async fn start(&self, attempt: &Attempt) -> Result<String, Outcome> {
        let body = prepare(attempt).await.map_err(failed)?;
        if let Err(stop) = attempt.may_start().await {
            return Err(stopped_before_start(attempt, stop));
        }
        // Not given up when a stop comes: the answer has the id by which the work can be stopped.
        let reply = self.client.interact(body).await.map_err(|error| {
            tracing::warn!(job = %attempt.id().job, attempt = attempt.id().attempt, %error, "start failed");
            failed(errors::start_failure(&error, &attempt.service.model, now_ms()))
        })?;
        match attempt.started(&reply.id).await {
            Ok(()) => Ok(reply.id),
            Err(failure) => Err(Outcome { provider_id: Some(reply.id), ..failed(failure) }),
        }
    }

    /// Looks until it ends. May be dropped at any point.
    async fn follow(&self, attempt: &Attempt, id: &str, look_at_once: bool) -> Outcome {
        let (mut gone, mut unanswered) = (0, 0);
        let mut told = Status::Unknown;
        if !look_at_once {
            self.pause().await;
        }
        loop {
            match self.client.interaction(id).await {
                Ok(reply) if reply.status.is_terminal() => return self.ended(attempt, &reply).await,
                Ok(reply) => {
                    (gone, unanswered) = (0, 0);
                    if reply.status != told {
                        let waits = reply.status == Status::Queued;
                        attempt.progress(if waits { Phase::Queued } else { Phase::Running }, 0, 0, None);
                    }
                    told = reply.status;
                }
                Err(error @ CallError::TooLarge(_)) => return failed(result_lost(&error)),
                Err(error) if error.status() == Some(404) => {
                    gone += 1;
                    if gone >= GONE_LOOKS {
                        let message =
                            "Gemini no longer knows the interaction; whether it was billed is unknown";
                        return failed(Failure::new(FailureCode::OutcomeUnknown, message));
                    }
                }
                Err(error) => {
                    unanswered += 1;
                    if let Some(failure) = hopeless(&error, unanswered) {
                        return failed(failure);
                    }
                }
            }
            self.pause().await;
        }
    }

    async fn ended(&self, attempt: &Attempt, reply: &Interaction) -> Outcome {
        let kind = attempt.assignment.job.body.kind;
        let media = interactions::media(reply, kind);
        let usage = usage::of_interaction(reply, kind, !media.is_empty());
        if media.is_empty() {
            let failure = errors::charged(interactions::failure(reply), &usage);
            return Outcome { usage, ..failed(failure) };
        }
        attempt.delivered(&usage).await;
        attempt.progress(Phase::Downloading, 0, 0, None);
        match self.collect(attempt, media).await {
            Ok(artifacts) => Outcome { artifacts, usage, ..Outcome::default() },
            Err(failure) => Outcome { usage, ..failed(failure) },
        }
    }

    /// Stores every file of an answer. A damaged one among good ones is left out; the others are paid too.
    pub(super) async fn collect(
        &self,
        attempt: &Attempt,
        media: Vec<MediaRef<'_>>,
    ) -> Result<Vec<Artifact>, Failure> {
        let kind = attempt.assignment.job.body.kind;
        let (mut artifacts, mut damaged) = (Vec::new(), None);
        for file in media {
            match self.bytes_of(&file).await? {
                Ok(bytes) => {
                    let media_type = file.media_type(&bytes, kind);
                    artifacts.push(attempt.save(artifacts.len(), &media_type, bytes).await?);
                }
                Err(failure) => damaged = Some(left_out(attempt, failure)),
            }
        }
        match damaged {
            Some(failure) if artifacts.is_empty() => Err(failure),
            _ => Ok(artifacts),
        }
    }

    /// The bytes of one file of an answer, or in what way it is damaged.
    ///
    /// # Errors
    /// It cannot be fetched.
    pub(super) async fn bytes_of(&self, file: &MediaRef<'_>) -> Result<Result<Bytes, Failure>, Failure> {
        match file.source {
            Source::Uri(uri) => self.fetch(uri).await.map(Ok),
            Source::Data(data) => Ok(media::decode(data)),
        }
    }

    /// Waits until a file is ready, then downloads it.
    async fn fetch(&self, uri: &str) -> Result<Bytes, Failure> {
        if let Some(id) = download::file_id(uri) {
            self.file_ready(&id).await?;
        }
        let mut tries = 0;
        loop {
            let error = match self.client.download(uri, ARTIFACT_MAX_BYTES).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => error,
            };
            tries += 1;
            let hopeless =
                matches!(&error, CallError::TooLarge(_) | CallError::Refused { status: 400..500, .. });
            if hopeless || tries >= DOWNLOADS_MAX {
                return Err(result_lost(&error));
            }
            self.pause().await;
        }
    }

    async fn file_ready(&self, id: &str) -> Result<(), Failure> {
        for _ in 0..FILE_LOOKS_MAX {
            match self.client.file(id).await {
                Ok(file) if file.state == "ACTIVE" => return Ok(()),
                // It was made and charged, and so would the next one be.
                Ok(file) if file.state == "FAILED" => {
                    let words = file.error.map(|error| error.message).unwrap_or_default();
                    let message = "Gemini could not process the file that it made";
                    return Err(Failure::new(FailureCode::UnusableResult, message).with_words(&words));
                }
                Err(error @ CallError::Refused { status: 401 | 403 | 404, .. }) => {
                    return Err(result_lost(&error));
                }
                Ok(_) | Err(_) => self.pause().await,
            }
        }
        Err(Failure::new(FailureCode::NotStored, "the file that Gemini made did not become ready"))
    }

    /// Ends the attempt early. A drain leaves the work alone: the next worker goes on by its id. Everything
    /// else stops it there, and reads the bill; no usage when there is none to read.
    async fn stop(&self, attempt: &Attempt, id: &str, stop: Stop) -> Outcome {
        let kind = attempt.assignment.job.body.kind;
        let reply = if stop == Stop::Drain { None } else { self.cancel(id).await };
        let Some(reply) = reply else { return attempt.stopped_outcome(stop) };
        let made = !interactions::media(&reply, kind).is_empty();
        // Made before the limit could stop it: it is paid and kept, so the limit is no reason to pay for another.
        if stop == Stop::Timeout && made {
            return self.ended(attempt, &reply).await;
        }
        Outcome { usage: usage::of_interaction(&reply, kind, made), ..attempt.stopped_outcome(stop) }
    }

    /// Stops the work; how it ended, or nothing when the provider does not tell in time.
    async fn cancel(&self, id: &str) -> Option<Interaction> {
        for _ in 0..LOOKS_AFTER_CANCEL {
            if let Err(error) = self.client.cancel(id).await {
                tracing::debug!(provider_id = id, %error, "cancel");
            }
            if let Ok(reply) = self.client.interaction(id).await
                && reply.status.is_terminal()
            {
                return Some(reply);
            }
            self.pause().await;
        }
        tracing::warn!(provider_id = id, "the work did not stop when asked");
        None
    }

    async fn pause(&self) {
        tokio::time::sleep(Duration::from_millis(self.config.poll_ms)).await;
    }
}

async fn prepare(attempt: &Attempt) -> Result<Vec<u8>, Failure> {
    let (job, catalog, service) = (&attempt.assignment.job, &attempt.catalog, &attempt.service);
    bounds::check(job, service)?;
    let files = inputs(attempt).await?;
    let wanted = match sizes::is_video(job) {
        true => Wanted::Video(sizes::video(job, catalog, service)?),
        false => Wanted::Image {
            size: sizes::image(job, catalog, service),
            output_max: bounds::output_max(service),
        },
    };
    let webhook = attempt.report_url.as_deref();
    interactions::request(job, attempt.id(), &service.model, &wanted, &files, webhook)
}

/// The failure of asking about running work, once it is no use to go on asking. A refused key counts as no
/// answer: the work goes on, and a worker with the new key takes it up.
fn hopeless(error: &CallError, times: u32) -> Option<Failure> {
    if matches!(error, CallError::TooLarge(_)) {
        return Some(errors::too_large(error));
    }
    (times >= UNANSWERED_MAX).then(|| {
        let message = format!("Gemini gave no usable answer about the work {times} times in a row");
        Failure::new(FailureCode::OutcomeUnknown, message).with_words(&error.to_string())
    })
}

/// Notes that a damaged file is left out of an answer.
pub(super) fn left_out(attempt: &Attempt, failure: Failure) -> Failure {
    tracing::warn!(job = %attempt.id().job, reason = %failure.message, "a file is left out");
    failure
}

/// Made and paid, and not to be had now, or ever: files are kept for 48 hours only, and the store takes no larger one.
fn result_lost(error: &CallError) -> Failure {
    // Unreadable is an address that must not be followed.
    let is_final = matches!(error, CallError::TooLarge(_) | CallError::Unreadable(_))
        || matches!(error.status(), Some(403 | 404 | 410));
    let code = if is_final { FailureCode::NotStored } else { FailureCode::Transient };
    Failure::new(code, "Gemini made the file and it could not be fetched").with_words(&error.to_string())
}
