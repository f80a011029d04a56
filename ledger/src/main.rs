//! The ledger's process: consumes events, answers reservations, keeps partitions prepared and sums for views.
//!
//! `ledger migrate` applies the migrations to `ARGOSY_LEDGER__DATABASE_URL` and ends; it needs no broker.

use std::process::ExitCode;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use ledger::{Store, consume, overhead, reserving, rollup, room};
use policy::retention::Limits;
use runtime::config::Secret;
use runtime::escape;
use runtime::exit::{Exit, Fault};
use runtime::fleet_config;
use runtime::health::Health;
use runtime::process::{Context, Description, Threads};
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const DESCRIPTION: Description = Description {
    name: "ledger",
    about: "Reserves money, books events, keeps the tables. `ledger migrate` applies the migrations and ends.",
    sections: &["ledger"],
    threads: Threads::One,
};

/// How often the coming months' partitions are looked after.
const PARTITIONS_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// One for events, one for reservations, one for readiness, one for sums: none waits for another's transaction.
const CONNECTIONS_MIN: u32 = 4;

/// How often the database is asked whether it is there, for the readiness page.
const PING_EVERY: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Own {
    ledger: Config,
}

/// Section `[ledger]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// For example `postgres://user:password@host/argosy`; holds a password.
    database_url: Secret,
    /// Connections to the database at most.
    #[serde(default = "ten")]
    max_connections: u32,
    /// How long to go on trying to reach the database at start, milliseconds.
    #[serde(default = "thirty_seconds")]
    connect_patience_ms: u64,
    /// Booked facts that are older leave the stream of events, milliseconds.
    #[serde(default = "default_age_ms")]
    facts_age_ms: u64,
    /// Booked facts leave while the stream of events holds more than this share of its limit, percent.
    #[serde(default = "default_full_percent")]
    facts_full_percent: u64,
    /// Facts that are younger stay, milliseconds.
    #[serde(default = "default_young_ms")]
    facts_young_ms: u64,
}

impl Config {
    const fn retention(&self) -> Limits {
        Limits {
            full_percent: self.facts_full_percent,
            age_ms: self.facts_age_ms,
            young_ms: self.facts_young_ms,
        }
    }
}

fn default_age_ms() -> u64 {
    Limits::default().age_ms
}

fn default_full_percent() -> u64 {
    Limits::default().full_percent
}

fn default_young_ms() -> u64 {
    Limits::default().young_ms
}

const fn ten() -> u32 {
    10
}

const fn thirty_seconds() -> u64 {
    30_000
}

runtime::allocator!();

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("migrate") {
        return migrate();
    }
    runtime::process::run(DESCRIPTION, start)
}

fn migrate() -> ExitCode {
    let applied = || -> Result<(), Fault> {
        let (_, own): (_, Own) = runtime::config::Source::from_process(None)?.load(DESCRIPTION.sections)?;
        let threads = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let threads = threads.map_err(|error| Fault::new(Exit::Crashed, error.to_string()))?;
        threads.block_on(async {
            let store = connect(&own.ledger).await?;
            store.migrate().await.map_err(|error| database(&error))
        })
    };
    match applied() {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("ledger: {}", escape::lines(&fault.message));
            fault.exit.into()
        }
    }
}

async fn start(context: Context<Own>) -> Result<(), Fault> {
    let Context { config, broker, tasks, lifecycle, health, .. } = context;
    let store = connect(&config.ledger).await?;
    // A database that dies just now comes back.
    patiently(&config.ledger, || store.migrate()).await?;
    health.good(consume::CONDITION);
    let fleet = fleet_config::load(&broker.jetstream).await?;
    let (fleet, watched) = watch::channel(fleet);
    let soft = lifecycle.soft.clone();
    tasks.spawn("config", fleet_config::follow(broker.jetstream.clone(), fleet, soft.clone()));
    tasks.spawn("partitions", look_after_partitions(store.clone(), health.clone(), soft.clone()));
    tasks.spawn("database", watch_database(store.clone(), health.clone(), soft.clone()));
    tasks.spawn("rollup", rollup::run(store.clone(), soft.clone()));
    tasks.spawn("bills", overhead::run(broker.jetstream.clone(), store.clone(), soft.clone()));
    tasks.spawn("room", room::run(broker.clone(), config.ledger.retention(), soft.clone()));
    tasks.spawn("events", consume::run(broker.clone(), store.clone(), health.clone(), soft.clone()));
    tasks.spawn("reservations", reserving::run(broker.client, store, watched, health, soft));
    Ok(())
}

async fn connect(config: &Config) -> Result<Store, Fault> {
    if config.database_url.is_empty() {
        let message = "configuration key `ledger.database_url` is empty: set ARGOSY_LEDGER__DATABASE_URL";
        return Err(Fault::new(Exit::Config, message));
    }
    if config.max_connections < CONNECTIONS_MIN {
        let message = format!("configuration key `ledger.max_connections`: at least {CONNECTIONS_MIN}");
        return Err(Fault::new(Exit::Config, message));
    }
    patiently(config, || Store::connect(config.database_url.expose(), config.max_connections)).await
}

/// Tries for as long as the configuration says, while waiting may help.
async fn patiently<T, F: Future<Output = Result<T, ledger::Error>>>(
    config: &Config,
    attempt: impl Fn() -> F,
) -> Result<T, Fault> {
    let patience = Duration::from_millis(config.connect_patience_ms);
    let retry = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .with_total_delay(Some(patience))
        .without_max_times();
    let mut is_told = false;
    let tell = |error: &ledger::Error, _| {
        if !std::mem::replace(&mut is_told, true) {
            tracing::warn!("waiting for the database, up to {} s: {error}", patience.as_secs_f32());
        }
    };
    let tried = attempt.retry(retry).when(|error| error.is_passing()).notify(tell).await;
    tried.map_err(|error| database(&error))
}

fn database(error: &ledger::Error) -> Fault {
    if matches!(error, ledger::Error::Url(_)) {
        return Fault::new(Exit::Config, format!("configuration key `ledger.database_url`: {error}"));
    }
    Fault::new(Exit::DatabaseAbsent, format!("{error}; check ARGOSY_LEDGER__DATABASE_URL and the server"))
}

/// A month without a partition costs order, not data: rows go to the default one until this succeeds.
async fn look_after_partitions(
    store: Store,
    health: Health,
    stop: CancellationToken,
) -> Result<(), std::convert::Infallible> {
    loop {
        match store.prepare_partitions().await {
            Ok(()) => health.good("partitions"),
            Err(error) => tracing::warn!(%error, "the coming months' partitions are not prepared"),
        }
        tokio::select! {
            () = tokio::time::sleep(PARTITIONS_EVERY) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// Readiness follows the database also while nothing is asked of it.
async fn watch_database(
    store: Store,
    health: Health,
    stop: CancellationToken,
) -> Result<(), std::convert::Infallible> {
    loop {
        match store.ping().await {
            Ok(()) => health.good(consume::CONDITION),
            Err(error) => health.bad(consume::CONDITION, error.to_string()),
        }
        tokio::select! {
            () = tokio::time::sleep(PING_EVERY) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}
