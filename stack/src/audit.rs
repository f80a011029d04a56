//! Gathers what `policy::invariants` judges: the ledger's rows, the accepted jobs, the invoices.

use crate::Simulator;
use anyhow::Context as _;
use async_nats::jetstream::{self, consumer::pull};
use ledger_read::{Reader, Window};
use policy::invariants::{
    AuditAttempt, AuditInput, AuditJob, AuditOverhead, AuditReport, BilledDay, InvoiceLine, audit,
    is_delivered,
};
use schemas::topology::{LEDGER_CONSUMER, stream};
use schemas::{Backend, JobId, MicroUsd};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Jobs read at once.
const PAGE: i64 = 5_000;
/// How often the books are read again while they are not settled.
const READ_EVERY: Duration = Duration::from_millis(200);

/// Reads the books and the invoices.
///
/// # Errors
/// The database or a simulator does not answer.
pub async fn gather(
    reader: &Reader,
    accepted: Option<BTreeSet<JobId>>,
    settled: bool,
    simulators: &[Simulator],
) -> anyhow::Result<AuditInput> {
    let mut input = AuditInput { accepted, settled, ..AuditInput::default() };
    let mut after = None;
    loop {
        let page = reader.audit_rows(after, PAGE).await?;
        input.jobs.extend(page.jobs.into_iter().map(|job| AuditJob {
            job: job.job,
            ends: job.ends,
            state: Some(job.state),
            artifacts: job.artifacts,
        }));
        input.attempts.extend(page.attempts.into_iter().map(|attempt| AuditAttempt {
            job: attempt.job,
            attempt: attempt.attempt,
            backend: attempt.backend,
            provider_id: attempt.provider_id,
            delivered: attempt.succeeded
                || attempt.failure_code.as_deref().is_some_and(|code| is_delivered(Some(code))),
            succeeded: attempt.succeeded,
            usage: attempt.usage,
            reserved_micro_usd: attempt.reserved_micro_usd,
            charge: attempt.charge,
        }));
        after = page.next_after;
        if after.is_none() {
            break;
        }
    }
    input.invoices = invoices(simulators).await?;
    for row in reader.overhead(Window::default()).await? {
        input.overhead.push(AuditOverhead {
            backend: row.backend.parse()?,
            amount_micro_usd: MicroUsd(row.amount_micro_usd),
            estimated: row.is_estimated(),
            endpoint: row.endpoint,
            day: row.day,
        });
    }
    input.bills = bills(simulators).await?;
    Ok(input)
}

async fn bills(simulators: &[Simulator]) -> anyhow::Result<BTreeMap<Backend, Vec<BilledDay>>> {
    let mut all: BTreeMap<Backend, Vec<BilledDay>> = BTreeMap::new();
    for simulator in simulators {
        if let Some(days) = simulator.bill().await? {
            all.entry(Backend::new(&simulator.backend)?).or_default().extend(days);
        }
    }
    Ok(all)
}

/// No worker of a provider is up any more: idle time has run out, and bills are complete.
///
/// # Errors
/// A simulator does not answer.
pub async fn idle_has_run_out(simulators: &[Simulator]) -> anyhow::Result<bool> {
    for simulator in simulators {
        if simulator.workers_up().await? > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn invoices(simulators: &[Simulator]) -> anyhow::Result<BTreeMap<Backend, Vec<InvoiceLine>>> {
    let mut all: BTreeMap<Backend, Vec<InvoiceLine>> = BTreeMap::new();
    for simulator in simulators {
        let backend = Backend::new(&simulator.backend)?;
        all.entry(backend).or_default().extend(simulator.invoice().await?.audit_lines());
    }
    Ok(all)
}

/// Nothing waits anywhere, and the ledger has read all events.
///
/// # Errors
/// A stream is not there, or the broker does not answer.
pub async fn is_at_rest(jetstream: &jetstream::Context) -> anyhow::Result<bool> {
    Ok(unrest(jetstream).await?.is_empty())
}

/// The last sequences of the streams, if nothing waits anywhere: the same before and after a look at the books proves
/// that nothing went on meanwhile.
///
/// # Errors
/// As [`is_at_rest`].
pub async fn at_rest_at(jetstream: &jetstream::Context) -> anyhow::Result<Option<Vec<u64>>> {
    if !is_at_rest(jetstream).await? {
        return Ok(None);
    }
    let mut sequences = Vec::new();
    for name in [stream::JOBS, stream::WORK, stream::DEAD, stream::EVENTS] {
        let info = jetstream.get_stream(name).await.with_context(|| format!("stream {name}"))?;
        sequences.push(info.cached_info().state.last_sequence);
    }
    Ok(Some(sequences))
}

/// What still waits, in words, with the oldest message of each stream: it tells where a job is stuck.
///
/// # Errors
/// A stream is not there, or the broker does not answer.
pub async fn unrest(jetstream: &jetstream::Context) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for name in [stream::JOBS, stream::WORK, stream::DEAD] {
        let info = jetstream.get_stream(name).await.with_context(|| format!("stream {name}"))?;
        let state = &info.cached_info().state;
        if state.messages > 0 {
            let oldest = info.get_raw_message(state.first_sequence).await;
            let oldest = oldest.map_or_else(
                |_| "gone by now".to_owned(),
                |message| format!("{}, number {}, of {}", message.subject, message.sequence, message.time),
            );
            found.push(format!("{name} holds {} messages, the oldest {oldest}", state.messages));
        }
    }
    let consumer: jetstream::consumer::Consumer<pull::Config> = jetstream
        .get_consumer_from_stream(LEDGER_CONSUMER, stream::EVENTS)
        .await
        .with_context(|| format!("consumer {LEDGER_CONSUMER}"))?;
    let info = consumer.cached_info();
    let unread = info.num_pending + info.num_ack_pending as u64;
    if unread > 0 {
        found.push(format!("the ledger has {unread} events to read"));
    }
    Ok(found)
}

/// Waits until idle time has run out at every provider and the ledger has the whole bill of each, at most for so long.
/// Whether bills are final: idle time has run out, and whoever does not have the bill by now is late.
///
/// # Errors
/// The database or a simulator does not answer.
pub async fn bills_settle(
    reader: &Reader,
    simulators: &[Simulator],
    within: Duration,
) -> anyhow::Result<bool> {
    let deadline = Instant::now() + within;
    loop {
        let is_quiet = idle_has_run_out(simulators).await?;
        let billed: i64 = bills(simulators).await?.values().flatten().map(|day| day.amount_micro_usd.0).sum();
        let known: i64 =
            reader.overhead(Window::default()).await?.iter().filter_map(|row| row.billed_micro_usd).sum();
        if is_quiet && billed == known || Instant::now() >= deadline {
            return Ok(is_quiet);
        }
        tokio::time::sleep(READ_EVERY).await;
    }
}

/// Audits again and again until the promises hold with nothing open and idle time has run out at every provider, at most
/// for so long; the last report is the answer.
///
/// # Errors
/// The database or a simulator does not answer.
pub async fn settled(
    reader: &Reader,
    accepted: &BTreeSet<JobId>,
    simulators: &[Simulator],
    within: Duration,
) -> anyhow::Result<AuditReport> {
    let deadline = Instant::now() + within;
    loop {
        // Before the bill is read: it does not change any more.
        let is_quiet = idle_has_run_out(simulators).await?;
        let mut input = gather(reader, Some(accepted.clone()), true, simulators).await?;
        input.bills_final = true;
        let report = audit(&input);
        if is_quiet && report.holds() || Instant::now() >= deadline {
            return Ok(report);
        }
        tokio::time::sleep(READ_EVERY).await;
    }
}
