//! Samples which locks the migrating connection holds, and whether the reserving one waits for it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use tokio_util::sync::CancellationToken;

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Locks of these modes make readers or writers of the ledger wait. A relation made by the migration itself has a
/// row in `pg_class` that nobody else sees yet, so this connection finds no name for it.
const LOOK: &str =
    "select c.oid::regclass::text as relation, l.mode from pg_locks l join pg_class c on c.oid = l.relation
    where l.pid = $1 and l.granted and l.locktype = 'relation' and c.relkind in ('r', 'p', 'i', 'I', 'v', 'm')
        and l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
        and c.relnamespace <> 'pg_catalog'::regnamespace and c.relname not like '\\_sqlx%'
    union all
    select 'reservation', 'waits' where $1 = any(pg_blocking_pids($2))";

/// A lock that was held on a table, view or index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its name.
    pub relation: String,
    /// Postgres's name of the lock.
    pub mode: String,
    /// The longest time between two samples that both saw it, with no sample between them that did not.
    pub longest: Duration,
}

/// What the samples saw.
#[derive(Debug, Default)]
pub struct Waits {
    /// Locks, the longest first.
    pub held: Vec<Held>,
    /// The longest that a reservation waited for the migration.
    pub reservation: Duration,
}

/// The server's process behind a connection.
pub(super) async fn pid_of(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar("select pg_backend_pid()").fetch_one(connection).await
}

/// One lock, or wait, over all samples.
#[derive(Debug, Clone, Copy)]
struct Span {
    since: Instant,
    until: Instant,
    longest: Duration,
}

/// Looks until it is over; `pids` are the migrating and the reserving connection's.
pub(super) async fn watch_until(
    connection: &mut PgConnection,
    pids: (i32, i32),
    over: &CancellationToken,
) -> anyhow::Result<Waits> {
    let mut spans: HashMap<(String, String), Span> = HashMap::new();
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    let mut before = Instant::now();
    while !over.is_cancelled() {
        ticks.tick().await;
        let asked = Instant::now();
        let seen: Vec<(String, String)> =
            sqlx::query_as(LOOK).bind(pids.0).bind(pids.1).fetch_all(&mut *connection).await?;
        for key in seen {
            let span =
                spans.entry(key).or_insert(Span { since: asked, until: asked, longest: Duration::ZERO });
            if span.until < before {
                span.since = asked;
            }
            span.until = asked;
            span.longest = span.longest.max(asked - span.since);
        }
        before = asked;
    }
    let mut waits = Waits::default();
    for ((relation, mode), Span { longest, .. }) in spans {
        if mode == "waits" {
            waits.reservation = longest;
        } else {
            waits.held.push(Held { relation, mode, longest });
        }
    }
    waits.held.sort_by_key(|held| std::cmp::Reverse(held.longest));
    Ok(waits)
}
