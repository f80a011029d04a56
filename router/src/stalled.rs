//! Looks for consumers that do not deliver again what nobody has in hand ([`protocol::router::stalled`]), and has the
//! broker choose another leader for each.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use async_nats::jetstream::consumer::Info;
use async_nats::jetstream::response::Response;
use policy::fleet::{BackendView, Known};
use protocol::Ports as _;
use protocol::router::RouterPorts as _;
use protocol::router::history;
use protocol::router::orphans::STREAMS;
use protocol::router::stalled::{Seen, Stall, Stalled};
use protocol::{PortError, StoredMessage};
use runtime::exit::Fault;
use runtime::trouble::Trouble;
use runtime::{clock, metrics};
use schemas::api::StalledConsumer;
use schemas::subjects::{self, Subject};
use schemas::topology::stream;
use schemas::{Fact, Health, JobId, Queue, codec};
use serde::Deserialize;

use crate::shared::Router;
use crate::streams::consumers;
use crate::waiting;

/// How often to look.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Messages in delivery of one consumer that are looked at, the oldest first.
const EACH_MAX: usize = 100;

/// Routers are asked for a job or a failed attempt once it has been in delivery for this time, milliseconds.
const ASKED_AFTER_MS: i64 = 30_000;

/// Routers are asked for this many messages of one consumer in one look.
const ASKED_MAX: usize = 20;

/// Looks again and again until stopped.
///
/// # Errors
/// Never.
pub(crate) async fn watch(router: Router) -> Result<(), Fault> {
    let (mut stalled, mut floors) = (Stalled::default(), BTreeMap::new());
    let mut trouble = Trouble::new("looking at what is in delivery");
    while !router.is_stopping() {
        let mut wait = LOOK_EVERY;
        match look(&router, &stalled, &mut floors).await {
            Ok(seen) => {
                let stalls = stalled.look(seen, clock::now_ms());
                for stall in &stalls {
                    if stalled.is_to_step_down(stall, clock::now_ms()) {
                        step_down(&router, stall).await;
                    }
                }
                tell(&router, stalls);
            }
            Err(error) => wait = wait.max(trouble.failed(&error)),
        }
        router.rest(wait).await;
    }
    Ok(())
}

/// Looks at the consumers whose oldest message in delivery is still the one of the last look: `floors` says up to which
/// everything was acknowledged then.
async fn look(
    router: &Router,
    stalled: &Stalled,
    floors: &mut BTreeMap<String, u64>,
) -> Result<Vec<Seen>, PortError> {
    let mut seen = Vec::new();
    for name in STREAMS {
        for info in consumers(router, name).await? {
            let floor = info.ack_floor.stream_sequence;
            let stays = floors.insert(info.name.clone(), floor) == Some(floor);
            if stays && info.num_ack_pending > 0 {
                seen.push(look_at(router, stalled, name, info).await?);
            }
        }
    }
    Ok(seen)
}

async fn look_at(
    router: &Router,
    stalled: &Stalled,
    stream: &'static str,
    info: Info,
) -> Result<Seen, PortError> {
    let consumer = (stream, info.name.clone());
    let filter = &info.config.filter_subject;
    let (mut from, mut asked, mut unheld) = (info.ack_floor.stream_sequence + 1, 0, Vec::new());
    for _ in 0..EACH_MAX {
        let Some(message) = router.next_message(stream, filter, from).await? else { break };
        if message.sequence > info.delivered.stream_sequence {
            break;
        }
        from = message.sequence + 1;
        let is_held = match stream {
            stream::WORK => !is_left_lying(router, &message.subject),
            _ if !is_old(stalled.since_ms(&consumer, message.sequence)) => false,
            // More than are asked for in one look count as held: a stall is noticed by the oldest.
            _ if asked == ASKED_MAX => true,
            _ => {
                asked += 1;
                waits(router, &message).await?
            }
        };
        if !is_held {
            unheld.push(message.sequence);
        }
    }
    let ack_wait_ms = u64::try_from(info.config.ack_wait.as_millis()).unwrap_or(u64::MAX);
    Ok(Seen { consumer, ack_wait_ms, unheld })
}

fn is_old(since_ms: Option<i64>) -> bool {
    since_ms.is_some_and(|since_ms| clock::now_ms() >= since_ms + ASKED_AFTER_MS)
}

/// Whether an assignment is in nobody's hands beside a worker that would take it.
fn is_left_lying(router: &Router, subject: &str) -> bool {
    let Some(Subject::Work(backend, queue, job)) = subjects::parse(subject) else { return false };
    let max_age_ms = router.config().policy.offer_max_age_ms;
    router.with_fleet(|fleet| {
        fleet
            .view(&backend)
            .is_some_and(|view| is_left_lying_at(view, &queue, job, max_age_ms, clock::now_ms()))
    })
}

fn is_left_lying_at(
    view: &BackendView,
    queue: &Queue,
    job: JobId,
    offer_max_age_ms: u64,
    now_ms: i64,
) -> bool {
    let fresh = || view.offers.iter().filter(|offer| offer.is_fresh(offer_max_age_ms, now_ms));
    let would_take =
        |offer: &Known| offer.health == Health::Healthy && offer.free_slots > 0 && offer.reads(queue);
    fresh().any(would_take) && !fresh().any(|offer| offer.may_have(job))
}

/// Whether a router has a job or a failed attempt in hand, or its time has not come.
async fn waits(router: &Router, message: &StoredMessage) -> Result<bool, PortError> {
    // What cannot be read is another step's.
    let Some(job) = job_of(message) else { return Ok(true) };
    if waiting::held_somewhere(router, None, job).await.is_some() {
        return Ok(true);
    }
    let history = history::read(router, job).await?;
    Ok(history.events.iter().any(|event| match &event.fact {
        Fact::Retrying { next_at_ms, .. } => *next_at_ms > clock::now_ms(),
        _ => false,
    }))
}

/// Which job a message of a lane is, or whose attempt failed.
fn job_of(message: &StoredMessage) -> Option<JobId> {
    #[derive(Deserialize)]
    struct Named {
        id: JobId,
    }
    #[derive(Deserialize)]
    struct Assigned {
        job: Named,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Waiting {
        Failed { assignment: Assigned },
        Job(Named),
    }
    match codec::decode(message.content_type.as_deref(), &message.payload).ok()? {
        Waiting::Failed { assignment } => Some(assignment.job.id),
        Waiting::Job(job) => Some(job.id),
    }
}

async fn step_down(router: &Router, stall: &Stall) {
    let Stall { stream, consumer, messages, .. } = stall;
    let asked =
        router.broker.jetstream.request(format!("CONSUMER.LEADER.STEPDOWN.{stream}.{consumer}"), &()).await;
    let answer = match asked {
        Ok(Response::<serde_json::Value>::Ok(_)) => "another leader is chosen".to_owned(),
        Ok(Response::Err { error }) => error.to_string(),
        Err(error) => error.to_string(),
    };
    metrics::ROUTER_STEPPED_DOWN.of([(*stream).into()]).increment(1);
    tracing::error!(
        stream,
        consumer,
        messages,
        answer,
        "what nobody has in hand is not delivered again: another leader is asked for"
    );
}

/// Makes what is stalled known to the commands and the metrics.
fn tell(router: &Router, stalls: Vec<Stall>) {
    for name in STREAMS {
        let messages: u64 =
            stalls.iter().filter(|stall| stall.stream == name).map(|stall| stall.messages).sum();
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::STALLED.of([name.into()]).set(messages as f64);
    }
    let told = stalls.into_iter().map(|stall| StalledConsumer {
        stream: stall.stream.to_owned(),
        consumer: stall.consumer,
        messages: stall.messages,
        since_ms: stall.since_ms,
    });
    *router.stalled.write().unwrap_or_else(PoisonError::into_inner) = told.collect();
}

#[cfg(test)]
mod tests {
    use policy::fleet::Fleet;
    use schemas::{Offer, RunningAttempt, samples};

    use super::*;

    #[test]
    fn what_lies_at_a_backend_table() {
        let job = samples::job().id;
        let other = JobId::from_parts(7, [7; 10]);
        let class = samples::offer().classes[0].class.clone();
        let queue = Queue::of_class(class.clone());
        let running = |job| RunningAttempt { job, attempt: 1, class: class.clone(), running_ms: 5 };
        let offer = |slots, free_slots, jobs: &[JobId]| Offer {
            slots,
            free_slots,
            running: jobs.iter().copied().map(running).collect(),
            ..samples::offer()
        };
        let cases = [
            (offer(2, 2, &[]), 0, true, "a slot is free, and nobody has it"),
            (offer(2, 1, &[job]), 0, false, "it runs"),
            (offer(2, 1, &[other]), 0, true, "another runs"),
            (offer(1, 0, &[other]), 0, false, "no slot is free"),
            (offer(3, 1, &[other]), 0, false, "a second that is not told may be it"),
            (offer(2, 2, &[]), 60_000, false, "the worker is silent"),
            (Offer { health: Health::Down, ..offer(2, 2, &[]) }, 0, false, "the worker takes nothing"),
            (Offer { classes: Vec::new(), ..offer(2, 2, &[]) }, 0, false, "it does not make it"),
        ];
        for (offer, age_ms, expected, what) in cases {
            let mut fleet = Fleet::default();
            let backend = offer.backend.clone();
            fleet.upsert_offer(offer, 0);
            let view = fleet.view(&backend).expect("it has an offer");
            assert_eq!(is_left_lying_at(view, &queue, job, 10_000, age_ms), expected, "{what}");
        }
    }

    #[test]
    fn the_job_of_a_message_is_read_in_both_encodings() {
        let (job, failed) = (samples::job(), samples::dead_letter());
        let stored = |content_type: Option<&str>, payload: Vec<u8>| StoredMessage {
            subject: "argosy.jobs.standard.default".to_owned(),
            content_type: content_type.map(str::to_owned),
            payload,
            sequence: 1,
        };
        let as_json = |value: serde_json::Value| stored(Some("application/json"), value.to_string().into());
        let id = job.id;
        let of_failed = failed.assignment.job.id;
        assert_eq!(job_of(&stored(None, codec::encode(&job))), Some(id));
        assert_eq!(job_of(&as_json(serde_json::to_value(&job).expect("JSON"))), Some(id));
        assert_eq!(job_of(&stored(None, codec::encode(&failed))), Some(of_failed));
        assert_eq!(job_of(&as_json(serde_json::to_value(&failed).expect("JSON"))), Some(of_failed));
        assert_eq!(job_of(&stored(None, b"{".to_vec())), None);
        assert_eq!(job_of(&as_json(serde_json::json!({"id": "no id"}))), None);
    }
}
