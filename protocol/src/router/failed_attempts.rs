//! Failed attempts: `policy` says what follows, this carries it out.
//!
//! A wait before the next attempt is the failed attempt itself, handed back with a delay that counts from when the
//! broker took it in; so a router that dies in between changes nothing, and a worker whose clock is wrong neither.

use std::time::Duration;

use policy::admit::{self, admit};
use policy::dispose::{Disposition, carried, dispose, takes_servers_down};
use schemas::{AttemptFacts, DeadLetter, Event, Fact, Failure, FailureCode, Job, JobState, subjects};

use crate::errors::StepError;
use crate::note::Note;
use crate::ports::{Answer, Record};
use crate::router::ending::{self, End};
use crate::router::history;
use crate::router::job::Placement;
use crate::router::parking::{self, Original, Within};
use crate::router::place::{self, Placed};
use crate::router::ports::{Delivery, RouterPorts};
use crate::router::room::Wait;
use crate::router::too_new::Resting;
use crate::router::unended;

/// How long a failed attempt rests after the broker failed a router in between.
const TROUBLE_REST: Duration = Duration::from_secs(1);

/// Deliveries on which the `retrying` event is published: the first, and one more in case the first router died.
const EVENT_DELIVERIES: i64 = 2;

/// Settles one delivery, up to its answer.
pub async fn settle<P: RouterPorts>(ports: &P, resting: &Resting, message: &P::Delivery) {
    let schemas = ports.schemas();
    let followed = match message.failed_attempt() {
        // Its constraints may say what this router does not understand.
        Ok(failed) => match schemas.check(failed.assignment.job.schema_version.into()) {
            Some(failure) => too_new(ports, resting, message, failure).await,
            // Waits count from when the broker took it in, whatever its worker's clock said.
            None => {
                let failed = DeadLetter { time_ms: message.published_at_ms(), ..failed };
                follow_up(ports, &failed, message.deliveries()).await
            }
        },
        Err(error) => match schemas.check_letter(message.content_type(), message.payload()) {
            Some(failure) => too_new(ports, resting, message, failure).await,
            None => {
                let words = format!("an assignment or a failed attempt cannot be read: {error}");
                unreadable(ports, message, Failure::new(FailureCode::InvalidJob, words)).await
            }
        },
    };
    let answer = match followed {
        Ok(None) => Answer::Acknowledge,
        Ok(Some(at_ms)) => {
            let wait_ms = (at_ms - ports.now_ms()).max(1).unsigned_abs();
            Answer::HandBack(Some(Duration::from_millis(wait_ms)))
        }
        Err(error) => {
            tracing::warn!(%error, "handing a failed attempt back");
            Answer::HandBack(Some(TROUBLE_REST))
        }
    };
    ports.answer(message, answer).await;
}

/// Carries out what follows; a time when the failed attempt is to be looked at again.
async fn follow_up<P: RouterPorts>(
    ports: &P,
    failed: &DeadLetter,
    deliveries: i64,
) -> Result<Option<i64>, StepError> {
    let config = ports.config();
    let job = &failed.assignment.job;
    let disposition = if ports.is_cancelled(&job.tenant, job.id) {
        Disposition::End { state: JobState::Cancelled }
    } else {
        dispose(failed, &config.policy)
    };
    let code = failed.ended_attempt.failure.as_ref().map_or(FailureCode::Unknown, |failure| failure.code);
    if deliveries == 1 {
        ports.note(Note::Disposition { code, follows: disposition.as_str() });
    }
    let seen_before = deliveries > 1;
    let at_ms = match disposition {
        Disposition::End { state } => {
            let failure = takes_servers_down(failed).or_else(|| failed.ended_attempt.failure.clone());
            end(ports, failed, state, failure, seen_before).await?;
            return Ok(None);
        }
        Disposition::Retry { at_ms, .. }
        | Disposition::Failover { at_ms, .. }
        | Disposition::Snooze { at_ms }
        | Disposition::Reconcile { at_ms } => at_ms,
    };
    if deliveries <= EVENT_DELIVERIES {
        publish_retrying(ports, failed, &disposition, at_ms).await?;
    }
    if at_ms > ports.now_ms() {
        return Ok(Some(at_ms));
    }
    place_next(ports, failed, &disposition, seen_before).await
}

async fn place_next<P: RouterPorts>(
    ports: &P,
    failed: &DeadLetter,
    disposition: &Disposition,
    seen_before: bool,
) -> Result<Option<i64>, StepError> {
    let (job, config) = (&failed.assignment.job, ports.config());
    let submitted_at_ms = failed.assignment.submitted_at_ms;
    if job.constraints.deadline_ms.is_some_and(|deadline_ms| deadline_ms <= ports.now_ms()) {
        let failure = Failure::new(FailureCode::Expired, "its deadline passed before the next attempt");
        end(ports, failed, JobState::Expired, Some(failure), seen_before).await?;
        return Ok(None);
    }
    let admitted = match admit(job, &config.catalog, &config.policy, 0, submitted_at_ms) {
        Ok(admitted) => admitted,
        // The catalog changed under the job.
        Err(failure) => {
            end(ports, failed, JobState::Failed, Some(failure), seen_before).await?;
            return Ok(None);
        }
    };
    // Published with the attempt it was made for: what follows need not carry it.
    let history = carried(all_attempts(failed).iter().map(AttemptFacts::as_history).collect());
    let placement = Placement {
        job,
        admitted: &admitted,
        submitted_at_ms,
        attempt: failed.assignment.attempt + 1,
        counted_attempts: failed.assignment.counted_attempts + u32::from(disposition.is_counted()),
        history: &history,
    };
    let recovered = if seen_before {
        let history = history::read(ports, job.id).await?;
        // Its first deliveries went to routers of an older release, which handed it back.
        if !history.has_retried(failed.assignment.attempt) {
            publish_retrying(ports, failed, disposition, ports.now_ms()).await?;
        }
        place::recover_from(ports, &placement, &history).await?
    } else {
        None
    };
    let placed = match recovered {
        Some(placed) => placed,
        None => place::place(ports, placement).await?,
    };
    match placed {
        Placed::Done => Ok(None),
        Placed::Later { at_ms, why, .. } => {
            let (lane, since_ms) = (job.lane, failed.time_ms);
            let tenant = failed.assignment.job.tenant.clone();
            let wait = Wait { tenant, lane, waits_for: why, since_ms, next_look_ms: at_ms };
            ports.room().put_off(job.id, wait, ports.now_ms()).leave();
            Ok(Some(at_ms))
        }
        Placed::Over(state, failure) => {
            unended::end(ports, job.id, state, failure, None).await?;
            Ok(None)
        }
        Placed::Refused(failure) => {
            let state =
                if failure.code == FailureCode::Expired { JobState::Expired } else { JobState::Failed };
            end(ports, failed, state, Some(failure), false).await?;
            Ok(None)
        }
    }
}

async fn publish_retrying<P: RouterPorts>(
    ports: &P,
    failed: &DeadLetter,
    disposition: &Disposition,
    next_at_ms: i64,
) -> Result<(), StepError> {
    let job = &failed.assignment.job;
    let fact = Fact::Retrying {
        facts: failed.assignment.facts(),
        ended_attempt: failed.ended_attempt.clone(),
        disposition: disposition.as_str().to_owned(),
        next_at_ms,
    };
    let event = Event::new(failed.time_ms, job.tenant.clone(), job.id, failed.assignment.attempt, fact);
    ports.store(Record::Event(&event)).await?;
    Ok(())
}

/// Ends the job after this attempt. An earlier delivery may have placed the next one: whoever has that ends the job, and
/// where nobody has it, what it may have cost belongs to the end.
async fn end<P: RouterPorts>(
    ports: &P,
    failed: &DeadLetter,
    state: JobState,
    failure: Option<Failure>,
    seen_before: bool,
) -> Result<(), StepError> {
    let (job, attempt) = (&failed.assignment.job, failed.assignment.attempt);
    if seen_before {
        let history = history::read(ports, job.id).await?;
        if !history.is_over() && history.has_begun(attempt + 1) {
            if place::is_unassigned(ports, job.id, attempt + 1).await? {
                let failure = failure.unwrap_or_else(|| Failure::new(FailureCode::Cancelled, "cancelled"));
                let end = unended::end_of(ports, &history, &job.tenant, job.id, state, failure).await?;
                return finish(ports, job, end).await;
            }
            return Ok(());
        }
    }
    let end = End {
        tenant: job.tenant.clone(),
        job: job.id,
        attempt,
        facts: failed.assignment.facts(),
        state,
        failure,
        attempts: all_attempts(failed),
    };
    finish(ports, job, end).await
}

async fn finish<P: RouterPorts>(ports: &P, job: &Job, end: End) -> Result<(), StepError> {
    if end.state == JobState::Failed {
        parking::fail(ports, job, end, &Original::of(job)).await?;
    } else {
        ending::end(ports, end).await?;
    }
    Ok(())
}

/// Hands a failed attempt of a newer schema back, or puts it aside; its job does not end, unless the inbox is full.
async fn too_new<P: RouterPorts>(
    ports: &P,
    resting: &Resting,
    message: &P::Delivery,
    failure: Failure,
) -> Result<Option<i64>, StepError> {
    let now_ms = ports.now_ms();
    let resting_as = (message.published_at_ms(), message.payload().len());
    match resting.rest(ports.schemas(), resting_as, now_ms) {
        Some(rest) => {
            ports.note(Note::HandedBack(FailureCode::TooNew));
            Ok(Some(now_ms + i64::try_from(rest.as_millis()).unwrap_or_default()))
        }
        None => {
            if !park(ports, message, failure.clone(), Within::All).await? {
                end_unread(ports, message, admit::not_put_aside(&failure)).await?;
            }
            Ok(None)
        }
    }
}

/// Parks what cannot be read with its bytes, and ends its job: nothing else would.
async fn unreadable<P: RouterPorts>(
    ports: &P,
    message: &P::Delivery,
    failure: Failure,
) -> Result<Option<i64>, StepError> {
    park(ports, message, failure.clone(), Within::Share).await?;
    end_unread(ports, message, failure).await?;
    Ok(None)
}

async fn end_unread<P: RouterPorts>(
    ports: &P,
    message: &P::Delivery,
    failure: Failure,
) -> Result<(), StepError> {
    if let Some(subjects::Subject::Dead(_, job)) = subjects::parse(message.subject()) {
        unended::end(
            ports,
            job,
            JobState::Failed,
            failure,
            Some((message.content_type(), message.payload())),
        )
        .await?;
    }
    Ok(())
}

async fn park<P: RouterPorts>(
    ports: &P,
    message: &P::Delivery,
    failure: Failure,
    within: Within,
) -> Result<bool, StepError> {
    let job = match subjects::parse(message.subject()) {
        Some(subjects::Subject::Dead(_, job)) => Some(job),
        _ => None,
    };
    let original = Original {
        subject: message.subject().to_owned(),
        content_type: message.content_type().map(str::to_owned),
        payload: message.payload().to_vec(),
    };
    let what = if failure.code == FailureCode::TooNew { "too-new" } else { "parked" };
    let id = format!("dead.{}.{what}", message.sequence());
    Ok(parking::park(ports, &id, (None, job), failure, (&original, within), Vec::new()).await?)
}

fn all_attempts(failed: &DeadLetter) -> Vec<AttemptFacts> {
    let mut attempts: Vec<AttemptFacts> =
        failed.assignment.history.iter().map(AttemptFacts::as_history).collect();
    attempts.push(failed.ended_attempt.clone());
    attempts
}
