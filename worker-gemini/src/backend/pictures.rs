//! Pictures by `generateContent`: one request, and the pictures are its answer.

use bytes::Bytes;
use runtime::clock::now_ms;
use schemas::{Failure, FailureCode, Kind, Outcome, Phase};
use worker_host::{Attempt, Made, Stop};

use crate::backend::background::left_out;
use crate::backend::{GeminiBackend, failed, inputs, stopped_before_start};
use crate::gemini::wire::GenerateReply;
use crate::gemini::{bounds, errors, generate, sizes, usage};

impl GeminiBackend {
    pub(super) async fn picture(&self, attempt: &Attempt) -> Outcome {
        let body = match prepare(attempt).await {
            Ok(body) => body,
            Err(failure) => return failed(failure),
        };
        if let Err(stop) = attempt.may_start().await {
            return stopped_before_start(attempt, stop);
        }
        attempt.progress(Phase::Running, 0, 0, None);
        let model = &attempt.service.model;
        let call = self.client.generate(model, body);
        tokio::pin!(call);
        let reply = tokio::select! {
            biased;
            reply = &mut call => reply,
            stop = attempt.stopped() => match stop {
                // Paid as it is: a drain has time for it, and leaving would lose it.
                Stop::Drain => call.await,
                stop => return abandoned(attempt, stop),
            },
        };
        match reply {
            Ok(reply) => self.finished(attempt, &reply).await,
            Err(error) => {
                let id = attempt.id();
                tracing::warn!(job = %id.job, attempt = id.attempt, %error, "generate failed");
                failed(errors::start_failure(&error, model, now_ms()))
            }
        }
    }

    async fn finished(&self, attempt: &Attempt, reply: &GenerateReply) -> Outcome {
        let media = generate::media(reply);
        let usage = usage::of_tokens(reply.tokens.as_ref(), Kind::Image, !media.is_empty());
        let failure = media.is_empty().then(|| errors::charged(generate::failure(reply), &usage));
        let outcome =
            Outcome { usage, provider_id: reply.response_id.clone(), failure, ..Outcome::default() };
        if outcome.failure.is_some() {
            return outcome;
        }
        attempt.progress(Phase::Downloading, 0, 0, None);
        let (mut files, mut damaged) = (Vec::new(), None);
        for file in media {
            match self.bytes_of(&file).await {
                Ok(Ok(bytes)) => files.push(made(file.media_type(&bytes, Kind::Image), bytes)),
                Ok(Err(failure)) => damaged = Some(left_out(attempt, failure)),
                // Gemini does not answer the same request twice: what cannot be fetched now never can.
                Err(failure) => damaged = Some(Failure { code: FailureCode::NotStored, ..failure }),
            }
        }
        match damaged {
            Some(failure) if files.is_empty() => Outcome { failure: Some(failure), ..outcome },
            // Their only copy: Gemini does not keep them.
            _ => attempt.keep(files, outcome).await,
        }
    }
}

fn made(media_type: impl Into<String>, bytes: Bytes) -> Made {
    Made { media_type: media_type.into(), bytes }
}

async fn prepare(attempt: &Attempt) -> Result<Vec<u8>, Failure> {
    let (job, service) = (&attempt.assignment.job, &attempt.service);
    bounds::check(job, service)?;
    let files = inputs(attempt).await?;
    let size = sizes::image(job, &attempt.catalog, service);
    generate::request(job, &size, &files, bounds::output_max(service))
}

/// Closing the connection does not stop the work and brings no bill: no usage, which says "unknown".
fn abandoned(attempt: &Attempt, stop: Stop) -> Outcome {
    let mut outcome = attempt.stopped_outcome(stop);
    outcome.failure =
        outcome.failure.map(|failure| failure.with_words("the request was in flight: possibly billed"));
    outcome
}
