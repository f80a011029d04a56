//! A picture by `generateContent`: one request, and the picture is its answer.

use runtime::clock::now_ms;
use runtime::worker::{Attempt, Made, Stop};
use schemas::{Failure, Outcome, Phase};

use crate::backend::{GeminiBackend, failed, inputs, stopped_before_start};
use crate::gemini::wire::GenerateReply;
use crate::gemini::{errors, generate, sizes, usage};

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
            Ok(reply) => finished(attempt, &reply).await,
            Err(error) => {
                let id = attempt.id();
                tracing::warn!(job.id = %id.job, attempt.n = id.attempt, %error, "generate failed");
                failed(errors::start_failure(&error, model, now_ms()))
            }
        }
    }
}

async fn prepare(attempt: &Attempt) -> Result<Vec<u8>, Failure> {
    let files = inputs(attempt).await?;
    let job = &attempt.assignment.job;
    generate::request(job, &sizes::image(job, &attempt.catalog, &attempt.service), &files)
}

async fn finished(attempt: &Attempt, reply: &GenerateReply) -> Outcome {
    let made = generate::made(reply);
    let outcome = Outcome {
        usage: usage::of_generate(reply.usage_metadata.as_ref(), made.is_ok()),
        provider_id: reply.response_id.clone(),
        ..Outcome::default()
    };
    let made = match made {
        Ok(made) => made,
        Err(failure) => return Outcome { failure: Some(failure), ..outcome },
    };
    attempt.progress(Phase::Downloading, 0, 0, None);
    // Its only copy: Gemini does not keep it.
    attempt.keep(vec![Made { media_type: made.media_type, bytes: made.bytes }], outcome).await
}

/// Closing the connection does not stop the work and brings no bill: no usage, which says "unknown".
fn abandoned(attempt: &Attempt, stop: Stop) -> Outcome {
    let mut outcome = attempt.stopped_outcome(stop);
    outcome.failure =
        outcome.failure.map(|failure| failure.with_words("the request was in flight: possibly billed"));
    outcome
}
