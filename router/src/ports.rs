//! The ports of the protocol's steps over NATS: each does one thing and decides nothing.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::Subject;
use async_nats::jetstream::AckKind;
use async_nats::jetstream::kv::CreateErrorKind;
use policy::fleet::Fleet;
use policy::inbox::{InboxShare, UseOf};
use protocol::router::room::Room;
use protocol::router::too_new::Limits;
use protocol::router::{BucketEntry, KeysLeft, LastAssigned, LedgerAway, Queued, RouterPorts};
use protocol::{
    Answer, ClaimError, ClaimStore, Claimed, FleetConfig, Held, Note, PortError, Ports, PublishError,
    Published, Record, StoredMessage,
};
use runtime::clock;
use runtime::publish::Message;
use schemas::reserve::{Grant, Reservation};
use schemas::topology::{bucket, stream};
use schemas::{
    Assignment, AttemptId, AttemptRecord, Backend, CancelRequest, DeadLetter, Event, Input, JobId, KeyRecord,
    Lane, Queue, Tenant, codec, subjects,
};

use crate::message::QueueMessage;
use crate::shared::Router;
use crate::streams::{self, away, unreadable};

impl Ports for Router {
    type Message = Message;

    fn now_ms(&self) -> i64 {
        clock::now_ms()
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn is_stopping(&self) -> bool {
        self.soft.is_cancelled()
    }

    async fn stopping(&self) {
        self.soft.cancelled().await;
    }

    fn is_cancelled(&self, tenant: &Tenant, job: JobId) -> bool {
        self.cancels.contains(tenant, job)
    }

    fn config(&self) -> FleetConfig {
        self.config.borrow().clone()
    }

    fn message(&self, record: Record<'_>) -> Message {
        Message::record(record)
    }

    async fn publish(&self, message: &Message) -> Result<Published, PublishError> {
        self.broker.publisher.publish(message).await
    }

    async fn create_claim(&self, record: AttemptRecord) -> Result<Claimed, ClaimError> {
        self.claims.create(record).await
    }

    async fn read_claim(&self, attempt: AttemptId) -> Result<Option<Held>, ClaimError> {
        self.claims.read(attempt).await
    }

    async fn write_claim(&self, held: &mut Held, record: AttemptRecord) -> Result<(), ClaimError> {
        self.claims.write(held, record).await
    }

    async fn claim_store(&self) -> Result<ClaimStore, PortError> {
        self.claims.store().await
    }

    fn note(&self, note: Note<'_>) {
        self.count(note);
    }
}

impl RouterPorts for Router {
    type Delivery = QueueMessage;

    async fn answer(&self, message: &QueueMessage, answer: Answer) {
        use protocol::router::Delivery as _;
        let Some(reply) = message.reply.clone() else { return };
        match answer {
            Answer::Acknowledge if message.may_be_late => {
                self.broker.acknowledger.acknowledge(message.sequence(), reply).await;
            }
            Answer::Acknowledge => self.say(reply, AckKind::Ack).await,
            Answer::HandBack(wait) => self.say(reply, AckKind::Nak(wait)).await,
            Answer::Extend => self.say(reply, AckKind::Progress).await,
        }
    }

    fn with_fleet<T>(&self, read: impl FnOnce(&Fleet) -> T) -> T {
        read(&self.fleet.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change_fleet<T>(&self, change: impl FnOnce(&mut Fleet) -> T) -> T {
        change(&mut self.fleet.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_ledger_available(&self) -> bool {
        self.reserver.is_available()
    }

    fn is_short_of_room_for_events(&self) -> bool {
        self.events_short.load(Ordering::Relaxed)
    }

    async fn reserve(&self, reservation: Reservation) -> Result<Grant, LedgerAway> {
        self.reserver.reserve(reservation).await
    }

    fn room(&self) -> &Room {
        &self.room
    }

    fn schemas(&self) -> &Limits {
        &self.schemas
    }

    async fn queued(&self, job: JobId) -> Result<Option<Assignment>, PortError> {
        Ok(streams::all(self, stream::WORK, &subjects::work_of_job(job)).await?.pop())
    }

    async fn failed(&self, job: JobId) -> Result<Option<DeadLetter>, PortError> {
        Ok(streams::all(self, stream::DEAD, &subjects::dead_of_job(job)).await?.pop())
    }

    async fn events(&self, job: JobId) -> Result<Vec<Event>, PortError> {
        streams::all(self, stream::EVENTS, &subjects::events_of_job(job)).await
    }

    async fn last_assigned(&self, tenant: &Tenant, job: JobId) -> Result<Option<LastAssigned>, PortError> {
        let events = streams::open(&self.broker.jetstream, stream::EVENTS).await?;
        let subject = subjects::event(tenant, job, "assigned");
        let Some(message) = streams::last(&events, stream::EVENTS, &subject).await? else { return Ok(None) };
        let event: Event = codec::decode(None, &message.payload).map_err(unreadable("an assigned event"))?;
        Ok(Some(LastAssigned { sequence: message.sequence, attempt: event.attempt }))
    }

    async fn last_ended(&self, tenant: &Tenant, job: JobId) -> Result<Option<Event>, PortError> {
        let events = streams::open(&self.broker.jetstream, stream::EVENTS).await?;
        let subject = subjects::event(tenant, job, "ended");
        let Some(message) = streams::last(&events, stream::EVENTS, &subject).await? else { return Ok(None) };
        codec::decode(None, &message.payload).map(Some).map_err(unreadable("an ended event"))
    }

    async fn inbox_share(&self, tenant: Option<&Tenant>, use_of: UseOf) -> InboxShare {
        self.quotas.inbox_share(&self.broker.jetstream, tenant, use_of).await
    }

    async fn keys_left(&self, tenant: &Tenant) -> KeysLeft {
        self.quotas.keys_left(&self.broker.jetstream, tenant).await
    }

    async fn read_key(&self, name: &str) -> Result<Option<KeyRecord>, PortError> {
        const WHAT: &str = "an idempotency key";
        let Some(bytes) = self.keys.get(name).await.map_err(away(WHAT))? else { return Ok(None) };
        codec::decode(None, &bytes).map(Some).map_err(unreadable(WHAT))
    }

    async fn create_key(&self, name: &str, record: &KeyRecord) -> Result<Option<KeyRecord>, PortError> {
        const WHAT: &str = "an idempotency key";
        match self.keys.create(name, codec::encode(record).into()).await {
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {}
            Err(error) => return Err(away(WHAT)(error)),
        }
        // One that expired just now is not there.
        let bytes =
            self.keys.get(name).await.map_err(away(WHAT))?.ok_or(PortError::Missing { what: WHAT })?;
        codec::decode(None, &bytes).map(Some).map_err(unreadable(WHAT))
    }

    async fn input_kept(&self, input: &Input) -> Result<Option<(i64, i64)>, PortError> {
        streams::input_kept(self, &input.artifact).await
    }

    async fn next_entry(&self, bucket: &'static str, from: u64) -> Result<Option<BucketEntry>, PortError> {
        streams::next_entry(self, bucket, from).await
    }

    async fn remove_entry(&self, bucket: &'static str, entry: &BucketEntry) -> Result<(), PortError> {
        streams::remove_entry(self, bucket, entry).await
    }

    async fn request_cancel(&self, request: &CancelRequest) -> Result<(), PortError> {
        let requests = self.broker.jetstream.get_key_value(bucket::CANCELS).await;
        let requests = requests.map_err(away(bucket::CANCELS))?;
        for (key, value) in request.entries() {
            requests.put(key, value.into()).await.map_err(away(bucket::CANCELS))?;
        }
        self.cancels.request(request, clock::now_ms());
        Ok(())
    }

    async fn undelivered_from(&self, backend: &Backend, queue: &Queue) -> Result<Option<u64>, PortError> {
        streams::undelivered_from(self, backend, queue).await
    }

    async fn next_queued(
        &self,
        backend: &Backend,
        queue: &Queue,
        mut from: u64,
    ) -> Result<Option<Queued>, PortError> {
        let work = streams::open(&self.broker.jetstream, stream::WORK).await?;
        let filter = subjects::work_filter(backend, queue);
        loop {
            let Some(message) = streams::next(&work, stream::WORK, &filter, from).await? else {
                return Ok(None);
            };
            let sequence = message.sequence;
            match codec::decode::<Assignment>(None, &message.payload) {
                Ok(assignment) => return Ok(Some(Queued { sequence, assignment })),
                Err(_) => from = sequence + 1,
            }
        }
    }

    async fn queued_at(&self, sequence: u64) -> Result<Option<Assignment>, PortError> {
        let work = streams::open(&self.broker.jetstream, stream::WORK).await?;
        let Some(message) = streams::at(&work, stream::WORK, sequence).await? else { return Ok(None) };
        codec::decode(None, &message.payload).map(Some).map_err(unreadable("an assignment"))
    }

    async fn sequence_of(
        &self,
        backend: &Backend,
        queue: &Queue,
        job: JobId,
    ) -> Result<Option<u64>, PortError> {
        let work = streams::open(&self.broker.jetstream, stream::WORK).await?;
        let last = streams::last(&work, stream::WORK, &subjects::work(backend, queue, job)).await?;
        Ok(last.map(|message| message.sequence))
    }

    async fn purge_work(&self, job: JobId) -> Result<(), PortError> {
        streams::purge_work(self, job).await
    }

    async fn delete(&self, stream: &'static str, sequence: u64) -> Result<(), PortError> {
        streams::delete(self, stream, sequence).await
    }

    async fn waiting_in(&self, lane: Lane) -> Result<Vec<(String, usize)>, PortError> {
        streams::subjects_of(self, stream::JOBS, subjects::jobs_filter(lane)).await
    }

    async fn unread_subjects(&self) -> Result<Vec<String>, PortError> {
        streams::unread_subjects(self).await
    }

    async fn read_job(&self, subject: &str, from: u64) -> Result<Option<QueueMessage>, PortError> {
        let jobs = streams::open(&self.broker.jetstream, stream::JOBS).await?;
        Ok(streams::next(&jobs, stream::JOBS, subject, from).await?.map(QueueMessage::read))
    }

    async fn acknowledged_up_to(&self, stream: &'static str) -> Result<Vec<(String, u64)>, PortError> {
        streams::acknowledged_up_to(self, stream).await
    }

    async fn next_message(
        &self,
        stream: &'static str,
        filter: &str,
        from: u64,
    ) -> Result<Option<StoredMessage>, PortError> {
        let queue = streams::open(&self.broker.jetstream, stream).await?;
        Ok(streams::next(&queue, stream, filter, from).await?.map(streams::stored))
    }
}

impl Router {
    async fn say(&self, reply: Subject, word: AckKind) {
        if let Err(error) = self.broker.client.publish(reply, word.into()).await {
            tracing::debug!(%error, "answering the broker");
        }
    }
}
