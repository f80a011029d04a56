//! Presence: what the provider offers is discovered again and again, and told in the `WORKERS` bucket.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::kv;
use schemas::text::cut;
use schemas::{Catalog, ClassOffer, Gpu, Health, Offer, SCHEMA_VERSION, codec};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::context::Shared;
use crate::{Backend, Discovery};
use runtime::clock;
use runtime::exit::Fault;
use runtime::telemetry;
use runtime::trouble::Trouble;

/// How often the offer is told when nothing changes: a third of the time after which it expires.
const TELL_EVERY: Duration = Duration::from_millis(schemas::topology::OFFER_TTL_MS / 5);

/// What runs changes with every job; the offer tells of it no more often than this. A first change after a while is told
/// at once.
const TELL_APART: Duration = Duration::from_millis(50);

/// How often the provider is looked at while it is healthy, and while it is not.
const DISCOVER_EVERY: Duration = Duration::from_secs(3);
const DISCOVER_UNWELL_EVERY: Duration = Duration::from_millis(500);

/// The longest offer: what fits into a message with the bucket's headers.
const OFFER_MAX_BYTES: usize = 1_000_000;
/// How much of a server's own words a long offer keeps.
const WORDS_MAX_BYTES: usize = 500;
/// How many of its devices.
const GPUS_MAX: usize = 64;

/// How long a discovery may take.
const DISCOVER_LIMIT: Duration = Duration::from_secs(10);

/// Keeps the discovery current.
pub(crate) async fn discover(
    shared: Arc<Shared>,
    backend: Arc<dyn Backend>,
    current: watch::Sender<Discovery>,
) -> Result<(), Fault> {
    let mut config = shared.config.clone();
    loop {
        config.mark_unchanged();
        let found = tokio::time::timeout(DISCOVER_LIMIT, backend.discover()).await;
        let mut found = found.unwrap_or_else(|_| {
            Discovery::unwell(Health::Down, format!("no answer within {} s", DISCOVER_LIMIT.as_secs()))
        });
        let catalog = shared.config.borrow().catalog.clone();
        found.classes.retain(|class| catalog.class(class).is_some());
        found.resting = found.classes.iter().filter(|class| shared.is_out(class)).cloned().collect();
        let is_well = found.health == Health::Healthy;
        let provider_says = found.health_reason.clone();
        let refused = || unread(&shared).or_else(|| no_room(&shared, &found, &catalog));
        if is_well && let Some(reason) = refused() {
            // Nothing is asked of the provider whose result could not be stored, or of which the operator may say
            // something else by now.
            (found.health, found.health_reason) = (Health::Down, Some(reason));
        }
        let rest = if is_well { rest(&shared) } else { None };
        let is_at_rest = rest.is_some();
        if let Some((until_ms, reason)) = rest {
            (found.health, found.health_reason) = (Health::Down, Some(reason));
            found.unavailable_until_ms = Some(until_ms);
        }
        found.capability = found.capability_now();
        current.send_if_modified(|discovery| {
            // One that does not answer is still what it was.
            found.capability = found.capability.or(discovery.capability);
            if discovery.health != found.health {
                let reason = found.health_reason.as_deref().unwrap_or_default();
                tracing::info!(health = ?found.health, reason, "provider");
            }
            let changed = *discovery != found;
            *discovery = found.clone();
            changed
        });
        if is_well {
            shared.health.good("provider");
        } else {
            shared.health.bad("provider", provider_says.unwrap_or_default());
        }
        let every = if is_well && !is_at_rest { DISCOVER_EVERY } else { DISCOVER_UNWELL_EVERY };
        tokio::select! {
            () = shared.lifecycle.hard.cancelled() => return Ok(()),
            () = shared.discover_now.notified() => {}
            Ok(()) = config.changed() => {}
            () = tokio::time::sleep(every) => {}
        }
        if shared.lifecycle.soft.is_cancelled() {
            return Ok(());
        }
    }
}

/// Until when the worker's own server is left alone after what failed there, and why.
fn rest(shared: &Shared) -> Option<(i64, String)> {
    let breaker = shared.server_breaker()?;
    let until_ms = breaker.open_until_ms.filter(|until_ms| *until_ms > clock::now_ms())?;
    let reason = breaker.reason.unwrap_or_default();
    Some((until_ms, format!("this server failed and rests: {reason}")))
}

/// Why nothing paid is to be started here while a document cannot be read, if so.
fn unread(shared: &Shared) -> Option<String> {
    let document = shared.config.borrow().unreadable().filter(|_| shared.paid)?;
    Some(policy::funds::unreadable(document, "worker"))
}

/// Why nothing is to be started here for want of room, if so. Free work needs no more than the store's margin: it
/// is many and small, and waits at no cost.
fn no_room(shared: &Shared, found: &Discovery, catalog: &Catalog) -> Option<String> {
    let sizes = found.classes.iter().map(|class| shared.room.expected(class, catalog));
    let bytes = if shared.is_paid() { sizes.max().unwrap_or_default() } else { 0 };
    shared.room.refuses(bytes)
}

/// Tells the offer until the drain is over, then takes it away.
pub(crate) async fn tell(
    shared: Arc<Shared>,
    store: kv::Store,
    mut discovery: watch::Receiver<Discovery>,
) -> Result<(), Fault> {
    let key = shared.worker.to_string();
    let mut trouble = Trouble::new("publishing the offer");
    let mut running = shared.running.subscribe();
    loop {
        let not_before = Instant::now() + TELL_APART;
        let offer = offer(&shared, &discovery.borrow_and_update());
        running.borrow_and_update();
        if let Err(error) = store.put(&key, written(&offer).into()).await {
            // The loop's own wait is short enough for what expires.
            let _ = trouble.failed(&telemetry::chain(&error));
        }
        if shared.lifecycle.soft.is_cancelled() && shared.is_idle() {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(TELL_EVERY) => {}
            _ = discovery.changed() => {}
            () = changed(&mut running, not_before) => {}
            () = shared.lifecycle.soft.cancelled(), if offer.health != Health::Draining => {}
            () = shared.lifecycle.hard.cancelled() => break,
        }
    }
    let _ = store.delete(&key).await;
    Ok(())
}

/// What runs has changed, and that moment has come.
async fn changed(running: &mut watch::Receiver<u32>, not_before: Instant) {
    // It ends with the process.
    let _ = running.changed().await;
    tokio::time::sleep_until(not_before).await;
}

/// The offer as it is put. A server can have more nodes and models than a message can name; then it names none, which is
/// read as "cannot tell": it gets the work, and says itself what it lacks.
fn written(offer: &Offer) -> Vec<u8> {
    let bytes = codec::encode(offer);
    if bytes.len() <= OFFER_MAX_BYTES {
        return bytes;
    }
    tracing::warn!("the offer has {} bytes, too long to name nodes and models: it names none", bytes.len());
    let short = |text: &String| cut(text, WORDS_MAX_BYTES).into_owned();
    codec::encode(&Offer {
        models: None,
        nodes: None,
        file_choices: None,
        health_reason: offer.health_reason.as_ref().map(short),
        gpus: offer
            .gpus
            .iter()
            .take(GPUS_MAX)
            .map(|gpu| Gpu { name: short(&gpu.name), ..gpu.clone() })
            .collect(),
        ..offer.clone()
    })
}

fn offer(shared: &Shared, discovery: &Discovery) -> Offer {
    let draining = shared.lifecycle.soft.is_cancelled();
    let classes = discovery.classes.iter();
    Offer {
        schema_version: SCHEMA_VERSION,
        worker: shared.worker.clone(),
        backend: shared.backend.clone(),
        time_ms: clock::now_ms(),
        started_at_ms: shared.started_at_ms,
        classes: classes
            .map(|class| ClassOffer { class: class.clone(), learned_ms: shared.learned(class) })
            .collect(),
        slots: shared.slots,
        free_slots: shared.slots.saturating_sub(*shared.running.borrow()),
        health: if draining { Health::Draining } else { discovery.health },
        health_reason: discovery.health_reason.clone(),
        unavailable_until_ms: discovery.unavailable_until_ms,
        models: discovery.models.clone(),
        nodes: discovery.nodes.clone(),
        file_choices: discovery.file_choices.clone(),
        capability: discovery.capability,
        gpus: discovery.gpus.clone(),
        simulated: shared.simulated,
        paid: Some(shared.paid),
        clock_skew_ms: clock::skew_ms(),
        breaker: shared.server_breaker(),
        running: shared.running_attempts(),
    }
}

#[cfg(test)]
mod tests {
    use schemas::samples;

    use super::*;

    #[test]
    fn an_offer_fits_into_a_message_whatever_its_server_lists() {
        let names = |count: usize, bytes: usize| {
            Some(
                (0..count)
                    .map(|n| format!("{n:06}{}", "x".repeat(bytes)))
                    .collect::<std::collections::BTreeSet<_>>(),
            )
        };
        let usual = Offer { models: names(2_000, 54), nodes: names(5_000, 24), ..samples::offer() };
        assert_eq!(codec::decode::<Offer>(None, &written(&usual)).as_ref(), Ok(&usual));
        let gpu = Gpu { name: "g".repeat(100_000), ..samples::offer().gpus[0].clone() };
        for large in [
            Offer { models: names(20_000, 60), ..samples::offer() },
            Offer { nodes: names(3, 500_000), ..samples::offer() },
            Offer { health_reason: Some("x".repeat(2_000_000)), ..samples::offer() },
            Offer { gpus: vec![gpu; 300], ..samples::offer() },
        ] {
            let bytes = written(&large);
            assert!(bytes.len() <= OFFER_MAX_BYTES, "{}", bytes.len());
            let told: Offer = codec::decode(None, &bytes).expect("an offer");
            assert_eq!((told.worker, told.models, told.nodes), (large.worker, None, None));
        }
    }
}
