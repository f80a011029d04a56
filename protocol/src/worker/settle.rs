//! The end of a delivery: record, publish, then the confirmed acknowledgement, in this order. The only
//! place where an outcome becomes an acknowledgement.

use std::time::Duration;

use schemas::{
    Assignment, AttemptFacts, AttemptRecord, AttemptState, DeadLetter, Event, Fact, Failure, FailureCode,
    JobState, MicroUsd, Outcome, Parked, subjects,
};

use super::claim;
use super::errors::Unsettled;
use super::machine::{self, Ended, Settlement};
use super::ports::{Unreadable, WorkerPorts};
use crate::errors::PublishError;
use crate::ports::{Answer, Held, Published, Record, StoredMessage};
use crate::race::{Raced, race};

/// How long an outcome rests that found no room, after the tries of one publish.
const NO_ROOM_REST: Duration = Duration::from_secs(2);

/// What is being settled.
pub(super) struct Settling<'a, P: WorkerPorts> {
    pub(super) assignment: &'a Assignment,
    pub(super) message: &'a P::Delivered,
    pub(super) outcome: &'a Outcome,
    pub(super) started_at_ms: Option<i64>,
    pub(super) called: bool,
}

/// Settles a delivery. On an error nothing was acknowledged, and a redelivery says the same again.
pub(super) async fn settle<P: WorkerPorts>(
    ports: &P,
    settling: Settling<'_, P>,
    held: Option<Held>,
) -> Result<(), Unsettled> {
    let Settling { assignment, message, outcome, .. } = settling;
    let has_ended = match settlement(ports, &settling) {
        Settlement::HandBack => return Err(Unsettled::LeftAtProvider),
        Settlement::Complete(facts) => {
            record_held(ports, held, outcome).await?;
            complete(ports, assignment, outcome, facts).await?;
            true
        }
        Settlement::Dead(letter) => {
            record_held(ports, held, outcome).await?;
            Box::pin(publish_failed(ports, letter)).await?;
            false
        }
    };
    // Confirmed where a repeat would cost money. Of free work a lost acknowledgement is a repeat that changes
    // nothing: ComfyUI still knows the prompt, and the job has ended.
    if assignment.is_paid() {
        return Ok(Box::pin(ports.acknowledge_confirmed(message)).await?);
    }
    if !has_ended {
        // At once: the next attempt may be on its way to the same place in the queue.
        return Ok(Box::pin(ports.answer(message, Answer::Acknowledge)).await?);
    }
    ports.acknowledge_late(message).await;
    Ok(())
}

fn settlement<P: WorkerPorts>(ports: &P, settling: &Settling<'_, P>) -> Settlement {
    let Settling { assignment, outcome, started_at_ms, called, .. } = *settling;
    machine::settle(&Ended {
        assignment,
        worker: Some(ports.worker()),
        simulated: ports.is_simulated(),
        started_at_ms,
        finished_at_ms: ports.now_ms(),
        outcome,
        price_micro_usd: price(ports, assignment, outcome, started_at_ms),
        called,
    })
}

fn price<P: WorkerPorts>(
    ports: &P,
    assignment: &Assignment,
    outcome: &Outcome,
    started_at_ms: Option<i64>,
) -> Option<MicroUsd> {
    if !assignment.is_paid() || outcome.usage.is_empty() {
        return None;
    }
    let prices = ports.config().prices;
    let at_ms = started_at_ms.unwrap_or_else(|| ports.now_ms());
    let price =
        policy::cost::price_of(&outcome.usage, &assignment.backend, &assignment.model, &prices, at_ms);
    price
        .inspect_err(
            |error| tracing::error!(job = %assignment.job.id, %error, "no price: booked as possibly paid"),
        )
        .ok()
}

/// Free work has no claim to write into.
async fn record_held<P: WorkerPorts>(
    ports: &P,
    held: Option<Held>,
    outcome: &Outcome,
) -> Result<(), Unsettled> {
    match held {
        Some(held) => Box::pin(record(ports, held, outcome)).await,
        None => Ok(()),
    }
}

/// Writes the outcome into the claim, so that a redelivery publishes it again instead of asking the provider.
/// An outcome that is not in its claim must not be published: the next delivery of the assignment reads another
/// claim, and would publish another outcome of the same attempt.
async fn record<P: WorkerPorts>(ports: &P, mut held: Held, outcome: &Outcome) -> Result<(), Unsettled> {
    let record = AttemptRecord {
        state: AttemptState::Settled,
        provider_id: outcome.provider_id.clone(),
        outcome: Some(outcome.clone()),
        ..AttemptRecord::clone(&held.record)
    };
    let attempt = record.id();
    claim::write_when_room(ports, &mut held, record).await.map_err(Unsettled::NotRecorded)?;
    ports.remove_spooled(attempt);
    ports.forget_claim(attempt);
    Ok(())
}

async fn complete<P: WorkerPorts>(
    ports: &P,
    assignment: &Assignment,
    outcome: &Outcome,
    facts: Box<AttemptFacts>,
) -> Result<(), Unsettled> {
    let ended = ended(ports, assignment, outcome, &facts);
    let published = match ports.publish(&ended).await {
        Err(PublishError::Refused { .. }) => Box::pin(publish_once_there_is_room(ports, &ended)).await,
        published => published,
    };
    match published {
        Ok(_) => Ok(()),
        // Free work has no money to book, and must not speak for a paid attempt of the same number.
        Err(PublishError::Occupied { .. }) if !assignment.is_paid() => Ok(()),
        Err(PublishError::Occupied { .. }) => Box::pin(charge(ports, assignment, facts)).await,
        Err(error) => Err(error.into()),
    }
}

/// The broker answered and did not store it: its stream is full. The outcome stays in hand, and the delivery with it: handed
/// back, it would be delivered again, and three of those are a job that kills its workers. A worker that is asked to stop
/// hands it back in the end.
async fn publish_once_there_is_room<P: WorkerPorts>(
    ports: &P,
    message: &P::Message,
) -> Result<Published, PublishError> {
    loop {
        let refused = match ports.publish(message).await {
            Err(refused @ PublishError::Refused { .. }) => refused,
            published => return published,
        };
        tracing::warn!(error = %refused, "an outcome waits in hand until the broker stores it");
        if let Raced::Right(()) = race(ports.sleep(NO_ROOM_REST), ports.hard_stopping()).await {
            return Err(refused);
        }
    }
}

fn ended<P: WorkerPorts>(
    ports: &P,
    assignment: &Assignment,
    outcome: &Outcome,
    facts: &AttemptFacts,
) -> P::Message {
    let mut attempts = assignment.history.clone();
    attempts.push(facts.clone());
    let fact = Fact::Ended {
        facts: assignment.facts(),
        state: JobState::Completed,
        artifacts: outcome.artifacts.clone(),
        manifest: outcome.manifest.clone(),
        failure: None,
        attempts,
    };
    ports.message(Record::Event(&event(assignment, facts.finished_at_ms, fact)))
}

/// The job ended otherwise in the meantime: the artifacts stay unannounced, the money is booked.
async fn charge<P: WorkerPorts>(
    ports: &P,
    assignment: &Assignment,
    facts: Box<AttemptFacts>,
) -> Result<(), Unsettled> {
    tracing::info!(job = %assignment.job.id, attempt = assignment.attempt, "the job had ended before");
    let finished_at_ms = facts.finished_at_ms;
    let charged = Fact::Charged { facts: assignment.facts(), ended_attempt: *facts };
    let charged = ports.message(Record::Event(&event(assignment, finished_at_ms, charged)));
    publish_once_there_is_room(ports, &charged).await?;
    Ok(())
}

fn event(assignment: &Assignment, time_ms: i64, fact: Fact) -> Event {
    let job = &assignment.job;
    Event::new(time_ms, job.tenant.clone(), job.id, assignment.attempt, fact)
}

async fn publish_failed<P: WorkerPorts>(ports: &P, letter: Box<DeadLetter>) -> Result<(), Unsettled> {
    let assignment = &letter.assignment;
    let failure = letter.ended_attempt.failure.as_ref();
    tracing::info!(
        job = %assignment.job.id,
        attempt = assignment.attempt,
        code = failure.map_or("", |failure| failure.code.as_str()),
        reason = failure.map_or("", |failure| failure.message.as_str()),
        "attempt failed"
    );
    let failed = ports.message(Record::Failed(&letter));
    publish_once_there_is_room(ports, &failed).await?;
    Ok(())
}

/// An assignment that cannot be read goes to the routers as it is, in the place of the failed attempt that it became:
/// they park its bytes and end its job. Then it is acknowledged.
pub(super) async fn pass_on_unreadable<P: WorkerPorts>(
    ports: &P,
    message: &P::Delivered,
    unreadable: Unreadable,
) {
    let Unreadable { error, subject, content_type, payload, sequence } = unreadable;
    tracing::warn!(%error, subject, sequence, "an assignment cannot be read: it goes to the routers");
    // The subject of a queue has these names: the broker would have delivered no other.
    let Some(subjects::Subject::Work(backend, _, job)) = subjects::parse(&subject) else {
        return park_unnamed(ports, message, Unreadable { error, subject, content_type, payload, sequence })
            .await;
    };
    let failed = StoredMessage { subject: subjects::dead(&backend, job), content_type, payload, sequence };
    let id = format!("work.{sequence}.unreadable");
    let stored = ports.store(Record::Copy { id: &id, message: &failed }).await;
    acknowledge_stored(ports, message, stored.map(|_| ())).await;
}

/// One whose subject names no job.
async fn park_unnamed<P: WorkerPorts>(ports: &P, message: &P::Delivered, unreadable: Unreadable) {
    let Unreadable { error, subject, content_type, payload, sequence } = unreadable;
    let failure = Failure::new(FailureCode::InvalidJob, format!("an assignment cannot be read: {error}"));
    let original = (subject.as_str(), content_type.as_deref(), payload.as_slice());
    let parked = Parked::new(ports.now_ms(), failure, original, Vec::new());
    let id = format!("work.{sequence}.parked");
    let stored = ports.store(Record::Parked { id: &id, tenant: None, job: None, parked: &parked }).await;
    acknowledge_stored(ports, message, stored.map(|_| ())).await;
}

async fn acknowledge_stored<P: WorkerPorts>(
    ports: &P,
    message: &P::Delivered,
    stored: Result<(), PublishError>,
) {
    match stored {
        // Not acknowledged, it is stored again under the same id.
        Ok(()) => {
            if let Err(error) = ports.acknowledge_confirmed(message).await {
                tracing::debug!(%error, "acknowledging what is passed on; the broker delivers it again");
            }
        }
        Err(error) => tracing::error!(%error, "an unreadable assignment could not be passed on; it stays"),
    }
}
