//! Rows of what was not there before: copied in, which costs less than an upsert does. The caller holds the ingest
//! lock and has seen that no event of these jobs was there, so neither is a row.

use sqlx::PgConnection;

use super::columns::{key, number};
use super::copy::Copy;
use crate::Error;
use crate::event_check::Checked;
use crate::fold::Folded;

pub(super) async fn events(connection: &mut PgConnection, events: &[&Checked]) -> Result<(), Error> {
    let statement = "copy events (job, attempt, kind, occurred_at, body) from stdin (format binary)";
    let mut rows = Copy::begin(connection, statement, 5).await?;
    for Checked { event, body } in events {
        let (job, attempt, kind) = key(event);
        rows.row().await?.uuid(job).integer(attempt).text(kind).at_ms(event.time_ms).text(body);
    }
    Ok(rows.end().await?)
}

pub(super) async fn jobs(connection: &mut PgConnection, folded: &[Folded]) -> Result<(), Error> {
    if folded.is_empty() {
        return Ok(());
    }
    let statement = "copy jobs (id, tenant, lane, kind, class, form, labels, submitted_at, max_cost_micro_usd, \
        deadline_at, state, state_at, ended_at, failure_code, failure, artifacts, elsewhere) \
        from stdin (format binary)";
    let mut rows = Copy::begin(connection, statement, 17).await?;
    for Folded { job, .. } in folded {
        let facts = &job.facts;
        rows.row()
            .await?
            .uuid(job.id.0)
            .text(&job.tenant)
            .text(facts.lane.as_str())
            .text(facts.kind.as_str())
            .maybe(facts.class.as_ref(), |row, class| row.text(class.as_str()))
            .text(&facts.form)
            .jsonb(&facts.labels)
            .at_ms(facts.submitted_at_ms)
            .maybe(facts.max_cost_micro_usd, |row, money| row.bigint(money.0))
            .maybe(facts.deadline_ms, Copy::at_ms)
            .text(job.state.as_str())
            .at_ms(job.state_at_ms)
            .maybe(job.ended_at_ms, Copy::at_ms)
            .maybe(job.failure_code, Copy::text)
            .maybe(job.failure.as_ref(), Copy::jsonb)
            .jsonb(&job.artifacts)
            .jsonb(&job.elsewhere);
    }
    Ok(rows.end().await?)
}

pub(super) async fn attempts(connection: &mut PgConnection, folded: &[Folded]) -> Result<(), Error> {
    if folded.iter().all(|folded| folded.attempts.is_empty()) {
        return Ok(());
    }
    let statement = "copy attempts (job, attempt, backend, class, model, worker, simulated, assigned_at, \
        started_at, finished_at, provider_id, usage, energy_mj, failure_code, failure, disposition, next_at, \
        reason, expected_micro_usd) from stdin (format binary)";
    let mut rows = Copy::begin(connection, statement, 19).await?;
    for Folded { job, attempts, .. } in folded {
        for attempt in attempts {
            rows.row()
                .await?
                .uuid(job.id.0)
                .integer(number(attempt.attempt))
                .text(&attempt.backend)
                .maybe(attempt.class.as_deref(), Copy::text)
                .maybe(attempt.model.as_deref(), Copy::text)
                .maybe(attempt.worker.as_deref(), Copy::text)
                .boolean(attempt.simulated)
                .at_ms(attempt.assigned_at_ms)
                .maybe(attempt.started_at_ms, Copy::at_ms)
                .maybe(attempt.finished_at_ms, Copy::at_ms)
                .maybe(attempt.provider_id.as_deref(), Copy::text)
                .jsonb(&attempt.usage)
                .maybe(attempt.energy_mj, Copy::bigint)
                .maybe(attempt.failure_code, Copy::text)
                .maybe(attempt.failure.as_ref(), Copy::jsonb)
                .maybe(attempt.disposition.as_deref(), Copy::text)
                .maybe(attempt.next_at_ms, Copy::at_ms)
                .maybe(attempt.reason.as_deref(), Copy::text)
                .maybe(attempt.expected_micro_usd, Copy::bigint);
        }
    }
    Ok(rows.end().await?)
}
