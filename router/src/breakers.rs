//! Breakers of providers: fed by what attempts say as they end, kept in bucket `BREAKERS`, so that a router that starts
//! knows all of them and a person can close one.

use async_nats::Subscriber;
use async_nats::jetstream::kv;
use futures::StreamExt;
use policy::breakers::Success;
use policy::fleet::Fleet;
use protocol::Ports as _;
use protocol::router::RouterPorts as _;
use runtime::clock;
use runtime::exit::{Exit, Fault};
use runtime::telemetry;
use runtime::trouble::Trouble;
use runtime::watched;
use schemas::breaker::BreakerRecord;
use schemas::{DeadLetter, Event, Fact, JobState, codec, subjects};

use crate::shared::Router;
use crate::waits::next_of;

/// Reads all breakers once, so that the first job is not planned onto what is known to be out.
///
/// # Errors
/// The bucket cannot be read.
pub async fn look_once(router: &Router) -> Result<(), Fault> {
    let absent = |reason: String| Fault::new(Exit::BrokerAbsent, format!("reading breakers: {reason}"));
    let store = router.breakers.store();
    let mut keys = store.keys().await.map_err(|error| absent(telemetry::chain(&error)))?;
    while let Some(key) = keys.next().await {
        let key = key.map_err(|error| absent(telemetry::chain(&error)))?;
        let entry = store.entry(key).await.map_err(|error| absent(telemetry::chain(&error)))?;
        entry.iter().for_each(|entry| take(router, entry));
    }
    Ok(())
}

fn take(router: &Router, entry: &kv::Entry) {
    router.breakers.know(&entry.key, entry.revision);
    if entry.operation != kv::Operation::Put {
        return;
    }
    match codec::decode::<BreakerRecord>(None, &entry.value) {
        Ok(record) => router.change_fleet(|fleet| fleet.take_breaker(&record)),
        Err(error) => tracing::warn!(key = entry.key, %error, "a breaker cannot be read"),
    }
}

/// Follows the bucket until stopped.
///
/// # Errors
/// Never while the broker lives or comes back.
pub async fn follow(router: Router) -> Result<(), Fault> {
    let (store, stop) = (router.breakers.store().clone(), router.soft.clone());
    watched::follow(store, "following breakers", stop, |entry| take(&router, entry)).await
}

/// Feeds the breakers with what attempts of the fleet say as they end: all failures, and successes for as long as some
/// backend is in trouble, since nothing else is mended by them. Plain subscriptions: what one router misses while it is
/// away, or just before it listens, is a breaker that opens one failure or closes one success later.
///
/// # Errors
/// Never while the broker lives or comes back.
pub async fn follow_outcomes(router: Router) -> Result<(), Fault> {
    let mut trouble = Trouble::new("listening to outcomes");
    while !router.soft.is_cancelled() {
        let wait = tokio::select! {
            () = router.soft.cancelled() => return Ok(()),
            reason = follow_outcomes_once(&router) => trouble.failed(&reason),
        };
        router.rest(wait).await;
    }
    Ok(())
}

async fn follow_outcomes_once(router: &Router) -> String {
    let client = &router.broker.client;
    let mut failures = match client.subscribe(subjects::DEAD_FILTER).await {
        Ok(failures) => failures,
        Err(error) => return telemetry::chain(&error),
    };
    let mut ends: Option<Subscriber> = None;
    loop {
        let troubled = router.with_fleet(Fleet::is_troubled);
        if !troubled {
            ends = None;
        } else if ends.is_none() {
            ends = match client.subscribe(subjects::ENDED_FILTER).await {
                Ok(subscribed) => Some(subscribed),
                Err(error) => return telemetry::chain(&error),
            };
        }
        tokio::select! {
            message = failures.next() => match message {
                Some(message) => failed(router, &message.payload).await,
                None => break,
            },
            message = next_of(&mut ends), if ends.is_some() => match message {
                Some(message) => ended(router, &message.payload).await,
                None => break,
            },
        }
    }
    "the subscription closed".to_owned()
}

async fn failed(router: &Router, payload: &[u8]) {
    let Ok(letter) = codec::decode::<DeadLetter>(None, payload) else { return };
    let (job, policy) = (letter.assignment.job.id, router.config().policy);
    let opened = router
        .change_fleet(|fleet| fleet.attempt_failed(job, &letter.ended_attempt, &policy, clock::now_ms()));
    if let Some(record) = opened {
        write(router, record).await;
    }
}

async fn ended(router: &Router, payload: &[u8]) {
    let Ok(event) = codec::decode::<Event>(None, payload) else { return };
    let Fact::Ended { state: JobState::Completed, attempts, .. } = event.fact else { return };
    let Some(last) = attempts.last() else { return };
    let closed = router.change_fleet(|fleet| fleet.attempt_succeeded(&Success::of(last), clock::now_ms()));
    for record in closed {
        write(router, record).await;
    }
}

/// A breaker that could not be written holds in this router, and is written when it opens again.
async fn write(router: &Router, record: BreakerRecord) {
    let record = BreakerRecord { by: router.id.clone(), ..record };
    if let Err(error) = router.breakers.write(&record).await {
        tracing::warn!(key = record.key(), error = telemetry::chain(&*error), "a breaker was not written");
    }
}
