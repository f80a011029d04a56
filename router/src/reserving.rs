//! Asks the ledger for money before paid work is assigned, many attempts with one request.
//!
//! No ledger, no spending (promise P3): while it does not answer, plans are made with
//! `ledger_available = false`, so free backends go on and paid ones wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use protocol::router::LedgerAway;
use protocol::router::rhythm::{LEDGER_LOOK_EVERY, LEDGER_REPLY_LIMIT};
use runtime::broker::Broker;
use runtime::metrics;
use runtime::tasks::Tasks;
use runtime::telemetry;
use schemas::reserve::{Grant, Reservation, ReserveReply, ReserveRequest};
use schemas::{SCHEMA_VERSION, codec};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Reservations waiting for the next request: as many as all lanes may have in hand.
const WAITING_MAX: usize = 1_024;

/// Reservations in one request.
const BATCH_MAX: usize = 256;

type Asking = (Reservation, oneshot::Sender<Result<Grant, LedgerAway>>);

/// Asks the ledger.
#[derive(Clone)]
pub struct Reserver {
    asking: mpsc::Sender<Asking>,
    available: Arc<AtomicBool>,
}

impl Reserver {
    /// Starts the task that asks.
    #[must_use]
    pub fn start(broker: Broker, tasks: &Tasks, soft: CancellationToken) -> Self {
        let (asking, asked) = mpsc::channel(WAITING_MAX);
        let available = Arc::new(AtomicBool::new(false));
        let teller = Teller { broker, available: Arc::clone(&available) };
        tasks.spawn("reserving", teller.run(asked, soft));
        Self { asking, available }
    }

    /// The ledger answered last time.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.available.load(Ordering::Relaxed)
    }

    /// Asks for one attempt's money.
    ///
    /// # Errors
    /// [`LedgerAway`]: nothing was reserved as far as anybody knows; ask again later.
    pub async fn reserve(&self, reservation: Reservation) -> Result<Grant, LedgerAway> {
        let (reply, answer) = oneshot::channel();
        self.asking.send((reservation, reply)).await.map_err(|_| LedgerAway)?;
        answer.await.map_err(|_| LedgerAway)?
    }
}

struct Teller {
    broker: Broker,
    available: Arc<AtomicBool>,
}

impl Teller {
    async fn run(self, mut asked: mpsc::Receiver<Asking>, soft: CancellationToken) -> Result<(), LedgerAway> {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            tokio::select! {
                // What is asked is answered before the stop: placements finish first.
                count = asked.recv_many(&mut batch, BATCH_MAX) => if count == 0 { return Ok(()) },
                () = tokio::time::sleep(LEDGER_LOOK_EVERY), if !self.available.load(Ordering::Relaxed) => {}
                () = soft.cancelled(), if asked.is_empty() => return Ok(()),
            }
            let (reservations, replies): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
            let grants = self.ask(reservations).await;
            self.tell_available(grants.is_ok());
            let mut grants = grants.map(Vec::into_iter);
            for reply in replies {
                let grant =
                    grants.as_mut().map_err(|away| *away).and_then(|all| all.next().ok_or(LedgerAway));
                let _ = reply.send(grant);
            }
        }
    }

    fn tell_available(&self, now: bool) {
        metrics::ROUTER_LEDGER_AVAILABLE.set(if now { 1.0 } else { 0.0 });
        if self.available.swap(now, Ordering::Relaxed) != now {
            tracing::info!(available = now, "ledger");
        }
    }

    async fn ask(&self, reservations: Vec<Reservation>) -> Result<Vec<Grant>, LedgerAway> {
        let request = ReserveRequest { schema_version: SCHEMA_VERSION, reservations };
        let asking = runtime::ledger::ask(&self.broker.client, codec::encode(&request).into());
        let reply = match tokio::time::timeout(LEDGER_REPLY_LIMIT, asking).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => {
                tracing::debug!(error = telemetry::chain(&error), "asking the ledger");
                return Err(LedgerAway);
            }
            Err(_) => return Err(LedgerAway),
        };
        match codec::decode::<ReserveReply>(None, &reply.payload) {
            Ok(ReserveReply { error: None, grants, .. }) => Ok(grants),
            Ok(ReserveReply { error: Some(error), .. }) => {
                tracing::warn!(error, "the ledger cannot reserve");
                Err(LedgerAway)
            }
            Err(error) => {
                tracing::error!(%error, "the ledger's answer cannot be read");
                Err(LedgerAway)
            }
        }
    }
}
