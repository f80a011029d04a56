//! Makes room in the stream of events: the ledger knows what is booked, by the floor of its own consumer.

use std::convert::Infallible;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use futures::StreamExt as _;
use policy::retention::{self, Limits, Log};
use protocol::make_room::{LogPorts, Made, StoredFact, make_room};
use protocol::{PortError, PublishError, StepError, StoredMessage};
use runtime::broker::Broker;
use runtime::clock;
use runtime::metrics;
use runtime::publish::Message;
use schemas::codec::CONTENT_TYPE;
use schemas::topology::{LEDGER_CONSUMER, stream};
use schemas::{Event, JobId, Tenant, subjects};
use tokio_util::sync::CancellationToken;

/// How often the stream is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How much larger a full stream is made for a moment, so that markers find room, bytes.
const LENT_BYTES: i64 = 4 * 1024 * 1024;

/// What errors name.
const EVENTS: &str = "stream EVENTS";

/// Makes room until stopped. Whatever may pass is tried again.
///
/// # Errors
/// Never.
pub async fn run(broker: Broker, limits: Limits, stop: CancellationToken) -> Result<(), Infallible> {
    let events = Events { broker };
    let mut lent_on: Option<i64> = None;
    let mut in_vain = 0;
    loop {
        let rest = match make_room(&events, &limits).await {
            Ok(None) => LOOK_EVERY,
            Ok(Some(made)) => {
                count(made);
                in_vain = if made.is_in_vain() { in_vain + 1 } else { 0 };
                if in_vain == 0 { Duration::ZERO } else { events.rest(&limits, in_vain).await }
            }
            Err(StepError::Publish(PublishError::Refused { .. })) if lent_on.is_none() => {
                lent_on = events.lend().await;
                Duration::ZERO
            }
            Err(error) => {
                tracing::warn!(%error, "no room could be made in the stream of events");
                LOOK_EVERY
            }
        };
        if let Some(limit) = lent_on
            && events.take_back(limit).await
        {
            lent_on = None;
        }
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

fn count(made: Made) {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    metrics::LEDGER_FACTS_REMOVED.increment(number(made.removed));
    metrics::LEDGER_FACTS_KEPT.increment(number(made.markers + made.copies));
}

struct Events {
    broker: Broker,
}

fn away<E: std::error::Error + Send + Sync + 'static>(error: E) -> PortError {
    PortError::Away { what: EVENTS, source: error.into() }
}

impl Events {
    async fn stream(&self) -> Result<Stream, PortError> {
        self.broker.jetstream.get_stream(stream::EVENTS).await.map_err(away)
    }

    /// How long to rest after facts were only turned over.
    async fn rest(&self, limits: &Limits, in_vain: u32) -> Duration {
        match self.log().await {
            Ok(Some(log)) => Duration::from_millis(retention::rest_ms(&log, limits, in_vain)),
            Ok(None) | Err(_) => LOOK_EVERY,
        }
    }

    /// Makes a full stream a little larger; its limit before that.
    async fn lend(&self) -> Option<i64> {
        let mut config = self.stream().await.ok()?.cached_info().config.clone();
        let limit = config.max_bytes;
        if limit <= 0 {
            return None;
        }
        config.max_bytes = limit.saturating_add(LENT_BYTES);
        match self.broker.jetstream.update_stream(config).await {
            Ok(_) => {
                tracing::warn!("the stream of events is full: it is larger until room is made");
                Some(limit)
            }
            Err(error) => {
                tracing::error!(%error, "the stream of events is full, and the broker makes it no larger");
                None
            }
        }
    }

    /// Gives a stream the limit that it had, once it holds less; whether that is done.
    async fn take_back(&self, limit: i64) -> bool {
        let Ok(events) = self.stream().await else { return false };
        let info = events.cached_info();
        let mut config = info.config.clone();
        if config.max_bytes != limit.saturating_add(LENT_BYTES) {
            // An operator changed it meanwhile.
            return true;
        }
        if i64::try_from(info.state.bytes).unwrap_or(i64::MAX) > limit / 10 * 9 {
            return false;
        }
        config.max_bytes = limit;
        self.broker.jetstream.update_stream(config).await.is_ok()
    }
}

impl LogPorts for Events {
    fn now_ms(&self) -> i64 {
        clock::now_ms()
    }

    async fn log(&self) -> Result<Option<Log>, PortError> {
        let events = self.stream().await?;
        let info = events.cached_info();
        if info.state.messages == 0 {
            return Ok(None);
        }
        let consumer = events.consumer_info(LEDGER_CONSUMER).await.map_err(away)?;
        Ok(Some(Log {
            first_sequence: info.state.first_sequence,
            first_at_ms: clock::ms_of_ns(info.state.first_timestamp.unix_timestamp_nanos()),
            booked_up_to: consumer.ack_floor.stream_sequence,
            bytes: info.state.bytes,
            limit_bytes: u64::try_from(info.config.max_bytes).ok().filter(|limit| *limit > 0),
        }))
    }

    async fn first_facts(&self, up_to: u64, most: usize) -> Result<Vec<StoredFact>, PortError> {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::None,
            inactive_threshold: Duration::from_secs(30),
            memory_storage: true,
            ..pull::Config::default()
        };
        let events = self.stream().await?;
        let consumer = events.create_consumer(config).await.map_err(away)?;
        let mut batch = consumer.fetch().max_messages(most).messages().await.map_err(away)?;
        let mut facts = Vec::with_capacity(most);
        while let Some(message) = batch.next().await {
            let unread = |source: async_nats::Error| PortError::Away { what: EVENTS, source };
            let message = message.map_err(unread)?;
            let info = message.info().map_err(unread)?;
            let (sequence, at_ms) =
                (info.stream_sequence, clock::ms_of_ns(info.published.unix_timestamp_nanos()));
            if sequence > up_to {
                break;
            }
            let header = message.headers.as_ref().and_then(|headers| headers.get(CONTENT_TYPE));
            let message = StoredMessage {
                subject: message.subject.to_string(),
                content_type: header.map(|header| header.as_str().to_owned()),
                payload: message.payload.to_vec(),
                sequence,
            };
            facts.push(StoredFact { at_ms, message });
        }
        if let Err(error) = events.delete_consumer(&consumer.cached_info().name).await {
            tracing::debug!(%error, "deleting a consumer of events; it goes by itself");
        }
        Ok(facts)
    }

    async fn last_of(
        &self,
        tenant: &Tenant,
        job: JobId,
        kind: &'static str,
    ) -> Result<Option<u64>, PortError> {
        let events = self.broker.jetstream.get_stream_no_info(stream::EVENTS).await.map_err(away)?;
        match events.direct_get_last_for_subject(subjects::event(tenant, job, kind)).await {
            Ok(message) => Ok(Some(message.sequence)),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Err(error) => Err(away(error)),
        }
    }

    async fn oldest_open_ms(&self) -> Result<i64, PortError> {
        let mut oldest_ms = clock::now_ms();
        for name in [stream::JOBS, stream::WORK, stream::DEAD] {
            let queue = self.broker.jetstream.get_stream(name).await.map_err(away)?;
            let state = &queue.cached_info().state;
            if state.messages > 0 {
                oldest_ms = oldest_ms.min(clock::ms_of_ns(state.first_timestamp.unix_timestamp_nanos()));
            }
        }
        Ok(oldest_ms)
    }

    async fn store_marker(&self, marker: &Event, after: u64) -> Result<(), PublishError> {
        self.broker.publisher.publish(&Message::event(marker).after(after)).await.map(|_| ())
    }

    async fn store_again(&self, message: &StoredMessage, is_last: bool) -> Result<(), PublishError> {
        let StoredMessage { subject, content_type, payload, sequence } = message;
        // Its own id would be taken for a repeat, and the copy dropped.
        let id = format!("event-{sequence}.kept");
        let again = Message::original(subject.clone(), id, payload.clone(), content_type.as_deref());
        let again = if is_last { again.after(*sequence) } else { again };
        self.broker.publisher.publish(&again).await.map(|_| ())
    }

    async fn remove_up_to(&self, sequence: u64) -> Result<(), PortError> {
        let events = self.stream().await?;
        events.purge().sequence(sequence + 1).await.map(|_| ()).map_err(away)
    }
}
