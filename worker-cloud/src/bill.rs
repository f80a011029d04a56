//! Reads the endpoint's bill and publishes it for the ledger: what was billed, and what start and idle are estimated at until then.
//!
//! A worker that is killed between the provider's answer and the write loses nothing: it, or another worker of the
//! endpoint, asks again, and the bill of a day is one document that only grows. What it saw of starts and idle since its
//! last write is lost with it, and so is a part of the estimate, until the bill is known.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::jetstream::{self, kv};
use runtime::bills;
use runtime::clock::now_ms;
use runtime::exit::Fault;
use runtime::fleet_config::FleetConfig;
use schemas::bill::{EndpointBill, utc_day};
use schemas::{MicroUsd, WorkerId};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use worker_host::overhead::{BillUpdate, cost_of_time, standby_ms};

use crate::backend::worker_time::WorkerTime;
use crate::config::{ConfigError, RunPodConfig};
use crate::runpod::client::Client;

/// The days that are asked for: a bill is completed a while after its day is over.
const DAYS: u32 = 3;
/// The budget of the next day holds the estimate so long before it begins, milliseconds.
const AHEAD_MS: i64 = 10 * 60_000;

/// Who asks, and for what.
pub struct Billing {
    client: Client,
    config: RunPodConfig,
    time: Arc<WorkerTime>,
    fleet: watch::Receiver<FleetConfig>,
    worker: WorkerId,
    simulated: bool,
    unsure: Mutex<Unsure>,
}

/// Updates whose answer was lost, by day: each may be in the bill, and is published again as it was before anything is added.
#[derive(Debug, Default)]
struct Unsure {
    updates: BTreeMap<i32, BillUpdate>,
    /// The number of the last update.
    last: i64,
}

impl Billing {
    /// The bill of the configured endpoint, and what its worker saw.
    ///
    /// # Errors
    /// The configuration cannot work.
    pub fn new(
        config: RunPodConfig,
        time: Arc<WorkerTime>,
        fleet: watch::Receiver<FleetConfig>,
        worker: WorkerId,
        simulated: bool,
    ) -> Result<Self, ConfigError> {
        let client = Client::new(&config)?;
        Ok(Self { client, config, time, fleet, worker, simulated, unsure: Mutex::default() })
    }

    /// Publishes until stopped. The estimate is published before the bill is read, so that it is held before work starts.
    ///
    /// # Errors
    /// Never: whatever is away is asked again.
    pub async fn run(self, jetstream: jetstream::Context, stop: CancellationToken) -> Result<(), Fault> {
        let publishing = async {
            let store = self.open(&jetstream).await;
            self.publish(&store, &BTreeMap::new()).await;
            loop {
                let billed = self.fetch().await;
                self.publish(&store, &billed).await;
                tokio::time::sleep(self.config.bill_every()).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            () = publishing => Ok(()),
        }
    }

    async fn open(&self, jetstream: &jetstream::Context) -> kv::Store {
        loop {
            match bills::open(jetstream).await {
                Ok(store) => return store,
                Err(fault) => tracing::warn!(error = %fault, "the bill cannot be published"),
            }
            tokio::time::sleep(self.config.bill_every()).await;
        }
    }

    /// What the endpoint was billed, and when that was asked; nothing when the provider does not say.
    pub async fn fetch(&self) -> BTreeMap<i32, (MicroUsd, i64)> {
        let asked_at_ms = now_ms();
        let reply = match self.client.bill(DAYS).await {
            Ok(reply) => reply,
            Err(error) => {
                tracing::warn!(%error, "no bill from the provider: start and idle stay estimated");
                return BTreeMap::new();
            }
        };
        match reply.by_day(&self.config.endpoint) {
            // A day without a record may be one whose bill is late: it stays estimated.
            Ok(days) => days.into_iter().map(|(day, amount)| (day, (amount, asked_at_ms))).collect(),
            Err(error) => {
                tracing::warn!(%error, "the provider's bill cannot be read: start and idle stay estimated");
                BTreeMap::new()
            }
        }
    }

    /// Adds to each day what is new about it.
    pub async fn publish(&self, store: &kv::Store, billed: &BTreeMap<i32, (MicroUsd, i64)>) {
        let now_ms = now_ms();
        let mut seen = self.time.take();
        let (unsure, number) = self.begin(now_ms);
        let days = [utc_day(now_ms), utc_day(now_ms + AHEAD_MS)].into_iter();
        for day in days.chain(billed.keys().copied()).chain(unsure.keys().copied()) {
            seen.entry(day).or_default();
        }
        for (day, ms) in seen {
            let of_day = EndpointBill::new(
                self.config.backend.clone(),
                self.config.endpoint.clone(),
                day,
                self.simulated,
            );
            if let Some(before) = unsure.get(&day) {
                if let Err(error) = bills::publish(store, &of_day, before).await {
                    tracing::warn!(%error, key = of_day.key(), "the bill is not published yet");
                    self.time.put_back(day, ms);
                    continue;
                }
                self.unsure().updates.remove(&day);
            }
            let is_over = day < utc_day(now_ms);
            let standby = if is_over { 0 } else { standby_ms(self.config.scaling()) };
            let update = BillUpdate {
                worker: Some(self.worker.clone()),
                billed: billed.get(&day).copied(),
                seen_micro_usd: self.cost(ms, now_ms),
                standby_micro_usd: self.cost(standby, now_ms),
                number,
            };
            if let Err(error) = bills::publish(store, &of_day, &update).await {
                tracing::warn!(%error, key = of_day.key(), "the bill is not published yet");
                self.unsure().updates.insert(day, update);
            }
        }
    }

    /// The updates that may be in the bill, and the number of the next: greater than that of any before, also of the process
    /// before this one.
    fn begin(&self, now_ms: i64) -> (BTreeMap<i32, BillUpdate>, i64) {
        let mut unsure = self.unsure();
        unsure.last = now_ms.max(unsure.last + 1);
        (unsure.updates.clone(), unsure.last)
    }

    fn unsure(&self) -> MutexGuard<'_, Unsure> {
        self.unsure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cost(&self, ms: u64, at_ms: i64) -> MicroUsd {
        if ms == 0 {
            return MicroUsd::ZERO;
        }
        let prices = Arc::clone(&self.fleet.borrow().prices);
        cost_of_time(ms, &self.config.backend, &prices, at_ms).unwrap_or_else(|error| {
            tracing::warn!(%error, "start and idle have no price: nothing is held for them");
            MicroUsd::ZERO
        })
    }
}
