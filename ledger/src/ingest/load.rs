//! What is known already about the jobs of a batch.

use std::collections::{BTreeMap, HashMap};

use schemas::Event;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Key;
use super::columns::{attempt, column};
use crate::Error;
use crate::fold::Request;

/// Granted reservations by job and attempt.
pub(super) type Requests = HashMap<Uuid, BTreeMap<u32, Request>>;

/// All events of the jobs but those just stored.
pub(super) async fn older_events(
    connection: &mut PgConnection,
    jobs: &[Uuid],
    fresh: &[Key],
) -> Result<Vec<Event>, Error> {
    let rows = sqlx::query!(
        r#"select e.job, e.attempt, e.kind, e.body
        from events e
        where e.job = any($1)
            and not exists (
                select from unnest($2::uuid[], $3::integer[], $4::text[]) as n (job, attempt, kind)
                where n.job = e.job and n.attempt = e.attempt and n.kind = e.kind)"#,
        jobs,
        &column(fresh, |key| key.0),
        &column(fresh, |key| key.1),
        &column(fresh, |key| key.2.clone()),
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            serde_json::from_value(row.body).map_err(|error| Error::Stored {
                id: format!("{}.{}.{}", row.job, row.attempt, row.kind),
                message: error.to_string(),
            })
        })
        .collect()
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
