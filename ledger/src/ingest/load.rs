//! What is known already about the jobs of a batch.

use ledger_read::stored_event;
use std::collections::{BTreeMap, HashMap};

use schemas::{Event, Fact};
use sqlx::PgConnection;
use uuid::Uuid;

use super::columns::{Key, attempt, column};
use crate::Error;
use crate::fold::Request;

/// Granted reservations by job and attempt.
pub(super) type Requests = HashMap<Uuid, BTreeMap<u32, Request>>;

/// The keys of all events of the jobs.
pub(super) async fn keys(connection: &mut PgConnection, jobs: &[Uuid]) -> Result<Vec<Key>, Error> {
    let rows = sqlx::query!("select job, attempt, kind from events where job = any($1)", jobs)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|row| (row.job, row.attempt, Fact::kind_named(&row.kind))).collect())
}

/// Events by their keys.
pub(super) async fn events(connection: &mut PgConnection, keys: &[Key]) -> Result<Vec<Event>, Error> {
    let rows = sqlx::query!(
        r#"select e.job, e.attempt, e.kind, e.body
        from unnest($1::uuid[], $2::integer[], $3::text[]) as n (job, attempt, kind)
        join events e on e.job = n.job and e.attempt = n.attempt and e.kind = n.kind"#,
        &column(keys, |key| key.0),
        &column(keys, |key| key.1),
        &column(keys, |key| key.2) as &[&str],
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| Ok(stored_event(&row.body, row.job, row.attempt, &row.kind)?)).collect()
}

/// What was granted for the jobs.
pub(super) async fn requests(connection: &mut PgConnection, jobs: &[Uuid]) -> Result<Requests, Error> {
    let rows = sqlx::query!(
        r#"select job, attempt, backend, requested_micro_usd as "amount!", to_ms(requested_at) as "at_ms!"
        from charges where job = any($1) and requested_micro_usd is not null"#,
        jobs,
    )
    .fetch_all(connection)
    .await?;
    let mut requests = Requests::new();
    for row in rows {
        let request = Request { backend: row.backend, amount_micro_usd: row.amount, at_ms: row.at_ms };
        requests.entry(row.job).or_default().insert(attempt(row.attempt), request);
    }
    Ok(requests)
}
