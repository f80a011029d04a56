//! The end of a delivery: record, publish, then the confirmed acknowledgement, in this order. The only
//! place where an outcome becomes an acknowledgement.

use std::sync::Arc;

use base64::Engine as _;
use schemas::codec::{CONTENT_TYPE, DecodeError};
use schemas::{
    Assignment, AttemptFacts, AttemptRecord, AttemptState, DeadLetter, Event, Fact, Failure, FailureCode,
    JobState, Outcome, Parked, SCHEMA_VERSION, subjects,
};

use crate::claim::Held;
use crate::host::Shared;
use crate::machine::{self, Ended, Settlement};
use runtime::clock;
use runtime::publish::{Message, PublishError};

type Delivered = async_nats::jetstream::Message;

/// What is being settled.
pub(crate) struct Settling<'a> {
    pub(crate) assignment: &'a Assignment,
    pub(crate) message: &'a Delivered,
    pub(crate) outcome: &'a Outcome,
    pub(crate) started_at_ms: Option<i64>,
    pub(crate) called: bool,
}

/// Settles a delivery. On an error nothing was acknowledged, and a redelivery says the same again.
pub(crate) async fn settle(
    shared: &Arc<Shared>,
    settling: Settling<'_>,
    held: Option<Held>,
) -> Result<(), String> {
    let Settling { assignment, message, outcome, .. } = settling;
    let has_ended = match settlement(shared, &settling) {
        Settlement::HandBack => return Err("left at the provider, to be resumed".to_owned()),
        Settlement::Complete(facts) => {
            record_held(shared, held, outcome).await?;
            complete(shared, assignment, outcome, facts).await?;
            true
        }
        Settlement::Dead(letter) => {
            record_held(shared, held, outcome).await?;
            Box::pin(dead(shared, letter)).await?;
            false
        }
    };
    // Confirmed where a repeat would cost money. Of free work a lost acknowledgement is a repeat that changes
    // nothing: ComfyUI still knows the prompt, and the job has ended.
    if assignment.is_paid() {
        return Box::pin(message.double_ack()).await.map_err(|error| format!("acknowledging: {error}"));
    }
    let Some(reply) = message.reply.clone().filter(|_| has_ended) else {
        // At once: the next attempt may be on its way to the same place in the queue.
        return Box::pin(message.ack()).await.map_err(|error| format!("acknowledging: {error}"));
    };
    let sequence = message.info().map_or(0, |info| info.stream_sequence);
    shared.broker.acknowledger.acknowledge(sequence, reply).await;
    Ok(())
}

fn settlement(shared: &Shared, settling: &Settling<'_>) -> Settlement {
    let Settling { assignment, outcome, started_at_ms, called, .. } = *settling;
    machine::settle(&Ended {
        assignment,
        worker: Some(&shared.worker),
        simulated: shared.simulated,
        started_at_ms,
        finished_at_ms: clock::now_ms(),
        outcome,
        price_micro_usd: price(shared, assignment, outcome, started_at_ms),
        called,
    })
}

fn price(
    shared: &Shared,
    assignment: &Assignment,
    outcome: &Outcome,
    started_at_ms: Option<i64>,
) -> Option<schemas::MicroUsd> {
    if !assignment.is_paid() || outcome.usage.is_empty() {
        return None;
    }
    let prices = shared.config.borrow().prices.clone();
    let at_ms = started_at_ms.unwrap_or_else(clock::now_ms);
    let price =
        policy::cost::price_of(&outcome.usage, &assignment.backend, &assignment.model, &prices, at_ms);
    price
        .inspect_err(
            |error| tracing::error!(job = %assignment.job.id, %error, "no price: booked as possibly paid"),
        )
        .ok()
}

/// Free work has no claim to write into.
async fn record_held(shared: &Shared, held: Option<Held>, outcome: &Outcome) -> Result<(), String> {
    match held {
        Some(held) => Box::pin(record(shared, held, outcome)).await,
        None => Ok(()),
    }
}

/// Writes the outcome into the claim, so that a redelivery tells it again instead of asking the provider.
/// An outcome that is not in its claim must not be told: whoever gets the assignment next reads another
/// claim, and would tell another outcome of the same attempt.
async fn record(shared: &Shared, mut held: Held, outcome: &Outcome) -> Result<(), String> {
    let record = AttemptRecord {
        state: AttemptState::Settled,
        provider_id: outcome.provider_id.clone(),
        outcome: Some(outcome.clone()),
        ..AttemptRecord::clone(&held.record)
    };
    let attempt = record.id();
    let written = shared.claims.write_patiently(&mut held, record).await;
    written.map_err(|error| format!("the outcome was not recorded: {error}"))?;
    shared.spool.remove(attempt);
    Ok(())
}

async fn complete(
    shared: &Shared,
    assignment: &Assignment,
    outcome: &Outcome,
    facts: Box<AttemptFacts>,
) -> Result<(), String> {
    let ended = ended(assignment, outcome, &facts);
    match shared.broker.publisher.publish(&ended).await {
        Ok(_) => Ok(()),
        // Free work has no money to tell of, and must not speak for a paid attempt of the same number.
        Err(PublishError::Occupied { .. }) if !assignment.is_paid() => Ok(()),
        Err(PublishError::Occupied { .. }) => Box::pin(charge(shared, assignment, facts)).await,
        Err(error) => Err(error.to_string()),
    }
}

fn ended(assignment: &Assignment, outcome: &Outcome, facts: &AttemptFacts) -> Message {
    let mut attempts = assignment.history.clone();
    attempts.push(facts.clone());
    let fact = Fact::Ended {
        facts: assignment.facts(),
        state: JobState::Completed,
        artifacts: outcome.artifacts.clone(),
        failure: None,
        attempts,
    };
    Message::event(&event(assignment, facts.finished_at_ms, fact))
}

/// The job ended otherwise in the meantime: the artifacts stay unannounced, the money is told.
async fn charge(shared: &Shared, assignment: &Assignment, facts: Box<AttemptFacts>) -> Result<(), String> {
    tracing::info!(job = %assignment.job.id, attempt = assignment.attempt, "the job had ended before");
    let finished_at_ms = facts.finished_at_ms;
    let charged = Fact::Charged { facts: assignment.facts(), ended_attempt: *facts };
    let message = Message::event(&event(assignment, finished_at_ms, charged));
    shared.broker.publisher.publish(&message).await.map(|_| ()).map_err(|error| error.to_string())
}

fn event(assignment: &Assignment, time_ms: i64, fact: Fact) -> Event {
    let job = &assignment.job;
    Event::new(time_ms, job.tenant.clone(), job.id, assignment.attempt, fact)
}

async fn dead(shared: &Shared, letter: Box<DeadLetter>) -> Result<(), String> {
    let assignment = &letter.assignment;
    let failure = letter.ended_attempt.failure.as_ref();
    tracing::info!(
        job = %assignment.job.id,
        attempt = assignment.attempt,
        code = failure.map_or("", |failure| failure.code.as_str()),
        reason = failure.map_or("", |failure| failure.message.as_str()),
        "attempt failed"
    );
    let subject = subjects::dead(&assignment.backend, assignment.job.id);
    let message = Message::new(subject, format!("{}.dead", assignment.id()), &letter);
    shared.broker.publisher.publish(&message).await.map(|_| ()).map_err(|error| error.to_string())
}

/// An assignment that cannot be read goes to the operator's inbox with its bytes, then it is acknowledged.
pub(crate) async fn park_unreadable(shared: &Shared, message: &Delivered, error: &DecodeError) {
    let content_type = message.headers.as_ref().and_then(|headers| headers.get(CONTENT_TYPE));
    let job = match subjects::parse(&message.subject) {
        Some(subjects::Subject::Work(_, _, job)) => Some(job),
        _ => None,
    };
    let parked = Parked {
        schema_version: SCHEMA_VERSION,
        time_ms: clock::now_ms(),
        failure: Failure::new(FailureCode::InvalidJob, format!("an assignment cannot be read: {error}")),
        subject: message.subject.to_string(),
        content_type: content_type.map(|value| value.as_str().to_owned()),
        payload_base64: base64::engine::general_purpose::STANDARD.encode(&message.payload),
        attempts: Vec::new(),
    };
    let sequence = message.info().map_or(0, |info| info.stream_sequence);
    let subject = subjects::parked(None, FailureCode::InvalidJob, job);
    let parking = Message::new(subject, format!("work.{sequence}.parked"), &parked);
    match shared.broker.publisher.publish(&parking).await {
        Ok(_) => {
            let _ = message.double_ack().await;
        }
        Err(error) => tracing::error!(%error, "an unreadable assignment could not be parked; it stays"),
    }
}
