//! Migrations that are not frozen yet do not stop a running fleet; made-up ones show that the check can fail.

use std::time::Duration;

use trials::made_up::MadeUp;
use trials::migrations::{Seen, apply_frozen, apply_under_load, with_made_up};

use crate::database::Database;

/// No lock is held, and no reservation waits, for longer.
const LIMIT: Duration = Duration::from_secs(1);
/// The attempts of the ordinary suite, and the charges that it adds.
const FEW: i64 = 5_000;
const CHARGES: i64 = 200_000;
/// With few rows a bad migration is over sooner: what it holds, it holds for longer than this.
const LIMIT_OF_FEW: Duration = Duration::from_millis(50);
/// The attempts of `make migrations-under-load`, where `ATTEMPTS` does not say otherwise.
const MANY: i64 = 10_000_000;
const UNTIL_MS: i64 = 1_795_000_000_000;

const ADDS: [&str; 2] = [
    "create table notes (job uuid primary key, note text not null);
    alter table charges add column weight bigint not null default 0,
        add constraint weighed check (weight >= 0) not valid;",
    "alter table jobs add column note text;",
];
const WRITES_ALL_ANEW: &str = "alter table charges add column chance double precision default random();";
const BUILDS_AN_INDEX: &str = "create index charges_tenant on charges (tenant, backend, requested_at);";
const LOCKS_ROWS: &str = "update budget_use set committed_micro_usd = committed_micro_usd;
    update charges set simulated = not simulated where job < '10000000-0000-0000-0000-000000000000';";

/// Books of one release with so many attempts.
async fn books(attempts: i64) -> anyhow::Result<Database> {
    let database = Database::start().await;
    apply_frozen(&database.url).await?;
    let made_up = MadeUp::connect(&database.url).await?;
    made_up.fill_rows(attempts, UNTIL_MS).await?;
    made_up.close().await;
    Ok(database)
}

/// Applies one made-up migration after the others, and returns what was seen of each.
async fn apply(database: &Database, made_up: &[&str]) -> anyhow::Result<Seen> {
    let seen = apply_under_load(&database.url, with_made_up(made_up)).await?;
    eprintln!("{}: {seen:?}", made_up.last().unwrap_or(&"the ledger's own"));
    anyhow::ensure!(seen.reservations > 10, "reservations go on: {seen:?}");
    Ok(seen)
}

/// The migrations that are not frozen pass, two that only add pass, and three bad ones are caught: what they hold,
/// they hold for longer than `bad_limit`.
async fn judge(database: &Database, bad_limit: Duration) -> anyhow::Result<()> {
    assert_eq!(apply(database, &[]).await?.complaints(LIMIT), Vec::<String>::new(), "the ledger's own");
    let mut all = ADDS.to_vec();
    assert_eq!(apply(database, &all).await?.complaints(LIMIT), Vec::<String>::new(), "{all:?}");

    all.push(WRITES_ALL_ANEW);
    let complaints = apply(database, &all).await?.complaints(bad_limit);
    assert!(complaints.iter().any(|it| it.starts_with("AccessExclusiveLock on charges")), "{complaints:?}");
    assert!(complaints.iter().any(|it| it.starts_with("a reservation waits")), "{complaints:?}");

    all.push(BUILDS_AN_INDEX);
    let complaints = apply(database, &all).await?.complaints(bad_limit);
    assert!(complaints.iter().any(|it| it.starts_with("ShareLock on charges")), "{complaints:?}");

    all.push(LOCKS_ROWS);
    let complaints = apply(database, &all).await?.complaints(bad_limit);
    assert!(complaints.iter().any(|it| it.starts_with("a reservation waits")), "{complaints:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_let_reservations_go_on() -> anyhow::Result<()> {
    let database = books(FEW).await?;
    let made_up = MadeUp::connect(&database.url).await?;
    made_up.fill_charges(CHARGES).await?;
    made_up.close().await;
    judge(&database, LIMIT_OF_FEW).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "ten million rows: make migrations-under-load"]
async fn migrations_let_reservations_go_on_beside_ten_million_rows() -> anyhow::Result<()> {
    let attempts = std::env::var("ATTEMPTS").ok().and_then(|text| text.parse().ok()).unwrap_or(MANY);
    judge(&books(attempts).await?, LIMIT).await
}
