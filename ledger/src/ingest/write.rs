//! The events, and the upserts of rows that were there before. Two transactions never wait for each other crosswise:
//! whoever writes here holds the ingest lock, and the money lock for charges.

use ledger_read::clamp_ms;
use std::collections::HashSet;

use schemas::{Class, JobId};
use sqlx::PgConnection;

use super::columns::{Key, clamp, column, key, number};
use super::{fresh, load};
use crate::Error;
use crate::event_check::Checked;
use crate::fold::{AttemptRow, ChargeRow, Folded};

/// So many events are copied in; fewer are inserted ([`super::copy`] says why).
const EVENTS_COPIED_FROM: usize = 200;

/// A charge with its key and who pays.
pub(crate) struct Charged {
    pub(crate) job: JobId,
    pub(crate) attempt: u32,
    pub(crate) tenant: String,
    pub(crate) row: ChargeRow,
}

/// The keys of events.
#[derive(Debug, Default)]
pub(super) struct Booked {
    /// Those just stored.
    pub(super) fresh: Vec<Key>,
    /// Those that were there before, of the same jobs.
    pub(super) older: Vec<Key>,
}

/// Stores events that are not there yet, and says which those were, and which their jobs had before. The caller
/// holds the ingest lock: what is not there now does not come meanwhile.
pub(super) async fn events(connection: &mut PgConnection, events: &[Checked]) -> Result<Booked, Error> {
    let mut jobs = column(events, |checked| checked.event.job.0);
    jobs.sort_unstable();
    jobs.dedup();
    let older = load::keys(connection, &jobs).await?;
    let mut seen: HashSet<Key> = older.iter().copied().collect();
    let new: Vec<&Checked> = events.iter().filter(|checked| seen.insert(key(&checked.event))).collect();
    match new.len() {
        0 => {}
        1..EVENTS_COPIED_FROM => insert(connection, &new).await?,
        _ => fresh::events(connection, &new).await?,
    }
    Ok(Booked { fresh: new.iter().map(|checked| key(&checked.event)).collect(), older })
}

async fn insert(connection: &mut PgConnection, events: &[&Checked]) -> Result<(), Error> {
    let keys = column(events, |checked| key(&checked.event));
    sqlx::query!(
        r#"insert into events (job, attempt, kind, occurred_at, body)
        select job, attempt, kind, at_ms(occurred_at_ms), body
        from unnest($1::uuid[], $2::integer[], $3::text[], $4::bigint[], $5::text[])
            as n (job, attempt, kind, occurred_at_ms, body)"#,
        &column(&keys, |key| key.0),
        &column(&keys, |key| key.1),
        &column(&keys, |key| key.2) as &[&str],
        &column(events, |checked| clamp_ms(checked.event.time_ms)),
        &column(events, |checked| checked.body.as_str()) as &[&str],
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What is made of maps with texts for names always can be JSON.
fn json(value: Result<serde_json::Value, serde_json::Error>) -> serde_json::Value {
    value.unwrap_or_default()
}

/// The jobs' rows as they are now.
pub(super) async fn jobs(connection: &mut PgConnection, folded: &[Folded]) -> Result<(), Error> {
    if folded.is_empty() {
        return Ok(());
    }
    let rows = &column(folded, |folded| &folded.job);
    sqlx::query!(
        r#"insert into jobs as j (id, tenant, lane, kind, class, form, labels, submitted_at, max_cost_micro_usd,
            deadline_at, state, state_at, ended_at, failure_code, failure, artifacts, elsewhere)
        select id, tenant, lane, kind, class, form, labels, at_ms(submitted_at), max_cost, at_ms(deadline),
            state, at_ms(state_at), at_ms(ended_at), failure_code, failure, artifacts, elsewhere
        from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::jsonb[],
            $8::bigint[], $9::bigint[], $10::bigint[], $11::text[], $12::bigint[], $13::bigint[], $14::text[],
            $15::jsonb[], $16::jsonb[], $17::jsonb[])
            as n (id, tenant, lane, kind, class, form, labels, submitted_at, max_cost, deadline, state, state_at,
                ended_at, failure_code, failure, artifacts, elsewhere)
        on conflict (id) do update set
            tenant = excluded.tenant, lane = excluded.lane, kind = excluded.kind, class = excluded.class,
            form = excluded.form, labels = excluded.labels, submitted_at = excluded.submitted_at,
            max_cost_micro_usd = excluded.max_cost_micro_usd, deadline_at = excluded.deadline_at,
            state = excluded.state, state_at = excluded.state_at, ended_at = excluded.ended_at,
            failure_code = excluded.failure_code, failure = excluded.failure, artifacts = excluded.artifacts,
            elsewhere = excluded.elsewhere
        where (j.*) is distinct from (excluded.*)"#,
        &column(rows, |row| row.id.0),
        &column(rows, |row| row.tenant.as_str()) as &[&str],
        &column(rows, |row| row.facts.lane.as_str()) as &[&str],
        &column(rows, |row| row.facts.kind.as_str()) as &[&str],
        &column(rows, |row| row.facts.class.as_ref().map(Class::as_str)) as &[Option<&str>],
        &column(rows, |row| row.facts.form.as_str()) as &[&str],
        &column(rows, |row| json(serde_json::to_value(&row.facts.labels))),
        &column(rows, |row| clamp_ms(row.facts.submitted_at_ms)),
        &column(rows, |row| row.facts.max_cost_micro_usd.map(|money| money.0)) as &[Option<i64>],
        &column(rows, |row| clamp(row.facts.deadline_ms)) as &[Option<i64>],
        &column(rows, |row| row.state.as_str()) as &[&str],
        &column(rows, |row| clamp_ms(row.state_at_ms)),
        &column(rows, |row| clamp(row.ended_at_ms)) as &[Option<i64>],
        &column(rows, |row| row.failure_code) as &[Option<&str>],
        &column(rows, |row| row.failure.as_ref()) as &[Option<&serde_json::Value>],
        &column(rows, |row| json(serde_json::to_value(&row.artifacts))),
        &column(rows, |row| json(serde_json::to_value(&row.elsewhere))),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The rows of their attempts.
pub(super) async fn attempts(connection: &mut PgConnection, folded: &[Folded]) -> Result<(), Error> {
    let rows: &Vec<(uuid::Uuid, &AttemptRow)> =
        &folded.iter().flat_map(|f| f.attempts.iter().map(|row| (f.job.id.0, row))).collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"insert into attempts as a (job, attempt, backend, class, model, worker, simulated, assigned_at,
            started_at, finished_at, provider_id, usage, energy_mj, failure_code, failure, disposition, next_at,
            reason, expected_micro_usd)
        select job, attempt, backend, class, model, worker, simulated, at_ms(assigned_at), at_ms(started_at),
            at_ms(finished_at), provider_id, usage, energy_mj, failure_code, failure, disposition, at_ms(next_at),
            reason, expected
        from unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::text[], $6::text[], $7::boolean[],
            $8::bigint[], $9::bigint[], $10::bigint[], $11::text[], $12::jsonb[], $13::bigint[], $14::text[],
            $15::jsonb[], $16::text[], $17::bigint[], $18::text[], $19::bigint[])
            as n (job, attempt, backend, class, model, worker, simulated, assigned_at, started_at, finished_at,
                provider_id, usage, energy_mj, failure_code, failure, disposition, next_at, reason, expected)
        on conflict (job, attempt) do update set
            backend = excluded.backend, class = excluded.class, model = excluded.model, worker = excluded.worker,
            simulated = excluded.simulated, assigned_at = excluded.assigned_at, started_at = excluded.started_at,
            finished_at = excluded.finished_at, provider_id = excluded.provider_id, usage = excluded.usage,
            energy_mj = excluded.energy_mj, failure_code = excluded.failure_code, failure = excluded.failure,
            disposition = excluded.disposition, next_at = excluded.next_at, reason = excluded.reason,
            expected_micro_usd = excluded.expected_micro_usd
        where (a.*) is distinct from (excluded.*)"#,
        &column(rows, |row| row.0),
        &column(rows, |row| number(row.1.attempt)),
        &column(rows, |row| row.1.backend.as_str()) as &[&str],
        &column(rows, |row| row.1.class.as_deref()) as &[Option<&str>],
        &column(rows, |row| row.1.model.as_deref()) as &[Option<&str>],
        &column(rows, |row| row.1.worker.as_deref()) as &[Option<&str>],
        &column(rows, |row| row.1.simulated),
        &column(rows, |row| clamp_ms(row.1.assigned_at_ms)),
        &column(rows, |row| clamp(row.1.started_at_ms)) as &[Option<i64>],
        &column(rows, |row| clamp(row.1.finished_at_ms)) as &[Option<i64>],
        &column(rows, |row| row.1.provider_id.as_deref()) as &[Option<&str>],
        &column(rows, |row| json(serde_json::to_value(&row.1.usage))),
        &column(rows, |row| row.1.energy_mj) as &[Option<i64>],
        &column(rows, |row| row.1.failure_code) as &[Option<&str>],
        &column(rows, |row| row.1.failure.as_ref()) as &[Option<&serde_json::Value>],
        &column(rows, |row| row.1.disposition.as_deref()) as &[Option<&str>],
        &column(rows, |row| clamp(row.1.next_at_ms)) as &[Option<i64>],
        &column(rows, |row| row.1.reason.as_deref()) as &[Option<&str>],
        &column(rows, |row| row.1.expected_micro_usd) as &[Option<i64>],
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes charges as they are now; used by reservations too. The caller holds the money lock.
pub(crate) async fn charges(connection: &mut PgConnection, rows: &[Charged]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"insert into charges as c (job, attempt, tenant, backend, simulated, state, settled_by,
            requested_micro_usd, requested_at, reserved_micro_usd, posted_micro_usd, possibly_paid, budget_at,
            posted_at)
        select job, attempt, tenant, backend, simulated, state, settled_by, requested, at_ms(requested_at),
            reserved, posted, possibly_paid, at_ms(budget_at), at_ms(posted_at)
        from unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::boolean[], $6::text[], $7::text[],
            $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::boolean[], $13::bigint[],
            $14::bigint[])
            as n (job, attempt, tenant, backend, simulated, state, settled_by, requested, requested_at, reserved,
                posted, possibly_paid, budget_at, posted_at)
        on conflict (job, attempt) do update set
            tenant = excluded.tenant, backend = excluded.backend, simulated = excluded.simulated,
            state = excluded.state, settled_by = excluded.settled_by,
            requested_micro_usd = excluded.requested_micro_usd, requested_at = excluded.requested_at,
            reserved_micro_usd = excluded.reserved_micro_usd, posted_micro_usd = excluded.posted_micro_usd,
            possibly_paid = excluded.possibly_paid, budget_at = excluded.budget_at, posted_at = excluded.posted_at
        where (c.*) is distinct from (excluded.*)"#,
        &column(rows, |row| row.job.0),
        &column(rows, |row| number(row.attempt)),
        &column(rows, |row| row.tenant.as_str()) as &[&str],
        &column(rows, |row| row.row.backend.as_str()) as &[&str],
        &column(rows, |row| row.row.simulated),
        &column(rows, |row| row.row.state.as_str()) as &[&str],
        &column(rows, |row| row.row.settled_by) as &[Option<&str>],
        &column(rows, |row| row.row.request.as_ref().map(|r| r.amount_micro_usd)) as &[Option<i64>],
        &column(rows, |row| row.row.request.as_ref().map(|r| clamp_ms(r.at_ms))) as &[Option<i64>],
        &column(rows, |row| row.row.reserved_micro_usd),
        &column(rows, |row| row.row.posted_micro_usd),
        &column(rows, |row| row.row.possibly_paid),
        &column(rows, |row| row.row.budget_at_ms),
        &column(rows, |row| row.row.posted_at_ms) as &[Option<i64>],
    )
    .execute(connection)
    .await?;
    Ok(())
}
