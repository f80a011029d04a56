//! What a job waits for, whichever router holds it.
//!
//! All routers hear a question on a subject without a queue group, and only the one that holds the job answers. What no
//! router holds lies in its lane, or waits at a backend, and any router sees that.

use std::time::Duration;

use async_nats::Message;
use futures::StreamExt as _;
use policy::plan::Plan;
use policy::waiting;
use protocol::Ports as _;
use protocol::router::history::History;
use protocol::router::{RouterPorts as _, place, schedule};
use runtime::exit::{Exit, Fault};
use runtime::lanes::{self, LookError, Lying, Search};
use runtime::{clock, telemetry};
use schemas::api::{JobRequest, JobWait, RouterPresence};
use schemas::config::Scoring;
use schemas::{Fact, JobId, JobState, Tenant, codec, subjects};

use crate::shared::Router;

/// How long the other routers may take to say that they hold a job.
const ANSWER_WITHIN: Duration = Duration::from_millis(400);

/// Jobs in hand are looked at again at the latest after this time, milliseconds.
const LOOK_EVERY_MS: i64 = 300;

/// Answers for the jobs that this router holds, and for itself, until stopped.
///
/// # Errors
/// The subscriptions cannot be made.
pub(crate) async fn answer(router: Router) -> Result<(), Fault> {
    let client = &router.broker.client;
    let fault = |error: async_nats::SubscribeError| {
        Fault::new(Exit::Crashed, format!("listening to routers: {}", telemetry::chain(&error)))
    };
    let mut asked = client.subscribe(subjects::FLEET_WAITING).await.map_err(fault)?;
    let mut counted = client.subscribe(subjects::FLEET_PRESENCE).await.map_err(fault)?;
    loop {
        tokio::select! {
            () = router.soft.cancelled() => return Ok(()),
            message = asked.next() => match message {
                Some(message) => answer_wait(&router, message).await,
                None => break,
            },
            message = counted.next() => match message {
                Some(message) => answer_presence(&router, message).await,
                None => break,
            },
        }
    }
    Err(Fault::new(Exit::Crashed, "the subscriptions to routers ended"))
}

async fn answer_wait(router: &Router, message: Message) {
    let Ok(JobRequest { job, tenant }) = codec::decode(None, &message.payload) else { return };
    if let Some(wait) = held(router, tenant.as_ref(), job) {
        reply(router, message, codec::encode(&wait)).await;
    }
}

async fn answer_presence(router: &Router, message: Message) {
    let presence = RouterPresence {
        router: router.id.clone(),
        started_at_ms: router.started_at_ms,
        clock_skew_ms: clock::skew_ms(),
    };
    reply(router, message, codec::encode(&presence)).await;
}

async fn reply(router: &Router, message: Message, bytes: Vec<u8>) {
    let Some(reply) = message.reply else { return };
    if let Err(error) = router.broker.client.publish(reply, bytes.into()).await {
        tracing::debug!(%error, "answering a router");
    }
}

/// What a job waits for that this router holds.
fn held(router: &Router, whose: Option<&Tenant>, job: JobId) -> Option<JobWait> {
    let now_ms = router.now_ms();
    let is_whose = |tenant: &Tenant| whose.is_none_or(|whose| whose == tenant);
    if let Some(wait) = router.room.wait_of(job, now_ms).filter(|wait| is_whose(&wait.tenant)) {
        return Some(waiting::held(
            &wait.waits_for,
            wait.since_ms,
            Some(wait.next_look_ms),
            wait.lane,
            now_ms,
        ));
    }
    let admitted = router.room.find(job).filter(|admitted| is_whose(&admitted.job.tenant))?;
    let scheduled = match router.config().policy.scoring {
        Scoring::Weighted => None,
        Scoring::Schedule => schedule::why_it_waits(router, &admitted.job),
    };
    let waits_for = scheduled.unwrap_or_else(|| match place::weigh(router, &admitted.first_attempt(), &[]) {
        Plan::Defer { why, .. } => why,
        plan => plan.decision().reason.clone(),
    });
    let waits_for = match admitted.inputs.warning(now_ms) {
        Some(warning) => format!("{waits_for}; {warning}"),
        None => waits_for,
    };
    let (since_ms, lane) = (admitted.submitted_at_ms, admitted.job.lane);
    Some(waiting::held(&waits_for, since_ms, Some(now_ms + LOOK_EVERY_MS), lane, now_ms))
}

/// What a look for a job that waits came to.
pub(crate) enum Look {
    /// It waits.
    Waits(JobWait),
    /// It waits nowhere.
    WaitsNowhere,
    /// It is not where its id says that it should lie, and there is more in the lanes than can be looked at.
    NotFound,
}

/// What a job waits for, if it waits. To one tenant a job of another does not.
pub(crate) async fn of(
    router: &Router,
    whose: Option<&Tenant>,
    job: JobId,
    history: &History,
) -> Result<Look, LookError> {
    match held_or_placed(router, whose, job, history).await {
        Some(wait) => Ok(Look::Waits(wait)),
        None if history.events.is_empty() => in_lane(router, whose, job).await,
        None => Ok(Look::WaitsNowhere),
    }
}

async fn held_or_placed(
    router: &Router,
    whose: Option<&Tenant>,
    job: JobId,
    history: &History,
) -> Option<JobWait> {
    let now_ms = router.now_ms();
    match history.state() {
        JobState::Submitted => held_somewhere(router, whose, job).await,
        JobState::Assigned => {
            let event = history.last_assigned()?;
            let Fact::Assigned { backend, class, .. } = &event.fact else { return None };
            let backlog =
                router.with_fleet(|fleet| fleet.view(backend).map_or(0, |view| view.backlog_of(class)));
            Some(waiting::at_backend(backend, class, backlog, event.time_ms, now_ms))
        }
        JobState::Retrying => {
            let retrying = history.events.iter().rev().find_map(|event| match &event.fact {
                Fact::Retrying { ended_attempt, next_at_ms, .. } => Some((event, ended_attempt, *next_at_ms)),
                _ => None,
            });
            let (event, ended, next_at_ms) = retrying?;
            if next_at_ms <= now_ms
                && let Some(wait) = held_somewhere(router, whose, job).await
            {
                return Some(wait);
            }
            let code = ended.failure.as_ref().map_or("unknown", |failure| failure.code.as_str());
            let why = format!("{code} at {}", ended.backend);
            let next_look_ms = (next_at_ms > now_ms).then_some(next_at_ms);
            Some(waiting::next_attempt(&why, event.time_ms, next_look_ms, now_ms))
        }
        _ => None,
    }
}

pub(crate) async fn held_somewhere(router: &Router, whose: Option<&Tenant>, job: JobId) -> Option<JobWait> {
    if let Some(wait) = held(router, whose, job) {
        return Some(wait);
    }
    let question = codec::encode(&JobRequest { job, tenant: whose.cloned() });
    let asking = router.broker.client.request(subjects::FLEET_WAITING, question.into());
    let answer = tokio::time::timeout(ANSWER_WITHIN, asking).await.ok()?.ok()?;
    codec::decode(None, &answer.payload).ok()
}

async fn in_lane(router: &Router, whose: Option<&Tenant>, job: JobId) -> Result<Look, LookError> {
    // One look at a time: a lane may hold thousands.
    let _turn = router.looks_at_lanes.lock().await;
    let is_it = |lying: &Lying| whose.is_none_or(|whose| *whose == lying.tenant) && lying.id() == Some(job);
    Ok(match lanes::find_job(&router.broker.client, job.time_ms(), lanes::LOOKED_AT_MAX, is_it).await? {
        Search::Found(found) => {
            let ahead = (found.ahead, found.is_counted);
            Look::Waits(waiting::in_lane(found.lane, ahead, found.accepted_at_ms, router.now_ms()))
        }
        Search::Absent => Look::WaitsNowhere,
        Search::NotFound { .. } => Look::NotFound,
    })
}
