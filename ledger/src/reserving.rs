//! Answers to `argosy.fleet.reserve`: what is waiting is decided together, in one transaction.
//!
//! Routers of release 0.1.0 ask on `argosy.ledger.reserve`, and get the same answers.

use std::sync::Arc;

use async_nats::{Client, Message};
use futures::stream::select;
use futures::{FutureExt, Stream, StreamExt};
use runtime::exit::{Exit, Fault};
use runtime::fleet_config::FleetConfig;
use runtime::health::Health;
use runtime::{clock, metrics};
use schemas::codec::{self, CONTENT_TYPE};
use schemas::reserve::{Grant, Reservation, ReserveReply, ReserveRequest};
use schemas::{Encoding, SCHEMA_VERSION, TenantsConfig, subjects};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::consume::CONDITION;
use crate::reservation::check;
use crate::{RESERVE_MAX, Store};

/// Ledgers share the subject: each request is answered by one of them.
const QUEUE_GROUP: &str = "ledger";

/// Answers until stopped. The budgets are those of the newest configuration.
///
/// # Errors
/// The subject cannot be subscribed to.
pub async fn run(
    client: Client,
    store: Store,
    config: watch::Receiver<FleetConfig>,
    health: Health,
    shutdown: CancellationToken,
) -> Result<(), Fault> {
    let subscribe = async |subject: &'static str| {
        let subscribed = client.queue_subscribe(subject, QUEUE_GROUP.to_owned()).await;
        subscribed.map_err(|error| Fault::new(Exit::BrokerAbsent, error.to_string()))
    };
    let before = subscribe(subjects::FLEET_RESERVE_BEFORE).await?;
    let mut requests = select(subscribe(subjects::FLEET_RESERVE).await?, before);
    let mut noted: Option<Arc<TenantsConfig>> = None;
    loop {
        let first = tokio::select! {
            first = requests.next() => first,
            () = shutdown.cancelled() => return Ok(()),
        };
        let Some(first) = first else {
            return Err(Fault::new(Exit::BrokerAbsent, "the subscription for reservations ended"));
        };
        let waiting = Waiting::gather(first, &mut requests);
        let (tenants, unreadable) = {
            let config = config.borrow();
            (Arc::clone(&config.tenants), config.unreadable())
        };
        if noted.as_ref() != Some(&tenants) && note(&store, &tenants).await {
            noted = Some(Arc::clone(&tenants));
        }
        answer(&client, &store, &Terms { tenants: &tenants, unreadable }, &health, waiting).await;
    }
}

/// The copy for analysts is worth a line in the log, not a reservation.
async fn note(store: &Store, tenants: &TenantsConfig) -> bool {
    let noted = store.note_budgets(tenants).await;
    if let Err(error) = &noted {
        tracing::warn!(%error, "the budgets were not noted for the views");
    }
    noted.is_ok()
}

/// What reservations are decided by.
struct Terms<'a> {
    tenants: &'a TenantsConfig,
    /// A document whose newest revision cannot be read here: it may allow less than what is in force, so nothing is
    /// granted.
    unreadable: Option<&'static str>,
}

impl Terms<'_> {
    /// Why a reservation is refused before the books are asked, if so.
    fn against(&self, wanted: &Reservation, now_ms: i64) -> Option<String> {
        self.unreadable
            .map(|document| policy::funds::unreadable(document, "ledger"))
            .or_else(|| check(wanted, now_ms).err())
    }
}

/// Requests to be decided together, and those that cannot be.
#[derive(Default)]
struct Waiting {
    requests: Vec<(Message, usize)>,
    reservations: Vec<Reservation>,
    refused: Vec<(Message, String)>,
}

impl Waiting {
    /// Takes what lies in the subscription's buffer, up to one batch.
    fn gather(first: Message, requests: &mut (impl Stream<Item = Message> + Unpin)) -> Self {
        let mut waiting = Self::default();
        let mut next = Some(first);
        while let Some(message) = next {
            waiting.take(message);
            // A request may hold a whole batch: leave room for none but small ones.
            let room = waiting.reservations.len() < RESERVE_MAX / 2 && waiting.refused.len() < RESERVE_MAX;
            next = if room { requests.next().now_or_never().flatten() } else { None };
        }
        waiting
    }

    fn take(&mut self, message: Message) {
        let header = message.headers.as_ref().and_then(|headers| headers.get(CONTENT_TYPE));
        let decoded: Result<ReserveRequest, _> =
            codec::decode(header.map(async_nats::HeaderValue::as_str), &message.payload);
        match decoded {
            Err(error) => self.refused.push((message, error.to_string())),
            Ok(request) if self.reservations.len() + request.reservations.len() > RESERVE_MAX => {
                let words = format!("at most {} reservations in one request", RESERVE_MAX / 2);
                self.refused.push((message, words));
            }
            Ok(request) => {
                self.requests.push((message, request.reservations.len()));
                self.reservations.extend(request.reservations);
            }
        }
    }
}

async fn answer(client: &Client, store: &Store, terms: &Terms<'_>, health: &Health, waiting: Waiting) {
    for (message, error) in waiting.refused {
        reply(client, &message, Vec::new(), Some(error)).await;
    }
    if waiting.requests.is_empty() {
        return;
    }
    let now_ms = clock::now_ms();
    let unfit: Vec<Option<String>> =
        waiting.reservations.iter().map(|wanted| terms.against(wanted, now_ms)).collect();
    let pairs = waiting.reservations.into_iter().zip(&unfit);
    let fit: Vec<Reservation> =
        pairs.filter(|(_, refusal)| refusal.is_none()).map(|(wanted, _)| wanted).collect();
    match store.reserve(&fit, terms.tenants).await {
        Ok(grants) => {
            health.good(CONDITION);
            let mut decided = grants.into_iter();
            let mut grants = unfit.into_iter().filter_map(|refusal| match refusal {
                Some(_) => Some(Grant { granted: false, refusal }),
                None => decided.next(),
            });
            for (message, count) in waiting.requests {
                let own: Vec<Grant> = grants.by_ref().take(count).collect();
                let granted = own.iter().filter(|grant| grant.granted).count();
                metrics::LEDGER_RESERVATIONS
                    .of(["granted".into()])
                    .increment(u64::try_from(granted).unwrap_or_default());
                metrics::LEDGER_RESERVATIONS
                    .of(["refused".into()])
                    .increment(u64::try_from(count - granted).unwrap_or_default());
                reply(client, &message, own, None).await;
            }
        }
        Err(error) => {
            health.bad(CONDITION, error.to_string());
            metrics::LEDGER_DATABASE_ERRORS.increment(1);
            tracing::warn!(%error, "nothing was reserved, paid backends wait");
            for (message, _) in waiting.requests {
                reply(client, &message, Vec::new(), Some(error.to_string())).await;
            }
        }
    }
}

async fn reply(client: &Client, message: &Message, grants: Vec<Grant>, error: Option<String>) {
    let Some(subject) = message.reply.clone() else { return };
    let body = ReserveReply { schema_version: SCHEMA_VERSION, grants, error };
    let mut headers = async_nats::HeaderMap::new();
    headers.insert(CONTENT_TYPE, Encoding::MessagePack.content_type());
    let sent = client.publish_with_headers(subject, headers, codec::encode(&body).into()).await;
    if let Err(error) = sent {
        // Whoever asked asks again; the same attempt replaces what was granted.
        tracing::warn!(%error, "a reservation's answer was not sent");
    }
}
