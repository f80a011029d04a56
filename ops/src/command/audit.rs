//! `argosy audit`: do the promises hold?

use super::session::Session;
use crate::exit::DoesNotHold;
use crate::table::{self, Align};
use anyhow::Context as _;
use async_nats::jetstream;
use clap::Args;
use client::parked;
use futures::TryStreamExt as _;
use policy::invariants::{AuditReport, audit};
use schemas::topology::stream;
use schemas::{JobId, subjects};
use stack::audit::{at_rest_at, gather};
use std::collections::BTreeSet;

/// Check the promises over ledger, streams and (of simulators) invoices: nothing lost, nothing paid twice,
/// the ledger equal to the invoices. Exit code 1 when one is broken.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  argosy audit\n  argosy audit --json | jq '.findings[]'\n\n\
    While jobs are open only what is certain by now is judged; at rest, everything.")]
pub(crate) struct Audit {}

impl Audit {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let broker = session.broker().await?;
        let reader = session.reader().await?;
        let before = at_rest_at(&broker.jetstream).await?;
        // Read before the ledger: what is told meanwhile makes the ledger know more, never less.
        let known = jobs_in_events(&broker.jetstream).await?;
        let mut input = gather(&reader, None, false, &session.simulators()?).await?;
        let settled = before.is_some() && before == at_rest_at(&broker.jetstream).await?;
        input.settled = settled;
        input.parked = parked::too_new(&broker.jetstream).await?;
        let booked = input.jobs.iter().map(|job| job.job).chain(input.parked.iter().copied());
        let known = known.into_iter().filter(|_| settled);
        input.accepted = Some(booked.chain(known).collect());
        let report = audit(&input);
        if session.json {
            table::say_json(&report)?;
        } else {
            table::say(report_text(&report));
        }
        if report.holds() {
            return Ok(());
        }
        Err(DoesNotHold(format!("{} promises are broken", report.findings.len())).into())
    }
}

/// The jobs that were placed or ended, by the stream.
async fn jobs_in_events(jetstream: &jetstream::Context) -> anyhow::Result<BTreeSet<JobId>> {
    let events = jetstream.get_stream(stream::EVENTS).await.context("stream EVENTS")?;
    let mut counts = events.info_with_subjects(subjects::EVENTS_FILTER).await.context("stream EVENTS")?;
    let mut jobs = BTreeSet::new();
    while let Some((subject, _)) = counts.try_next().await.context("stream EVENTS")? {
        if let Some(subjects::Subject::Event(_, job, kind)) = subjects::parse(&subject)
            && ["assigned", "ended"].contains(&kind.as_str())
        {
            jobs.insert(job);
        }
    }
    Ok(jobs)
}

/// The report for people.
pub(crate) fn report_text(report: &AuditReport) -> String {
    let columns = [
        ("backend", Align::Left),
        ("attempts", Align::Right),
        ("ledger", Align::Right),
        ("invoice", Align::Right),
        ("only possibly paid", Align::Right),
        ("unexplained lines", Align::Right),
    ];
    let mut rows: Vec<Vec<String>> = report
        .per_backend
        .iter()
        .map(|(backend, audit)| {
            vec![
                backend.to_string(),
                audit.attempts.to_string(),
                audit.ledger_micro_usd.to_string(),
                audit.invoice_micro_usd.map_or("none shown".to_owned(), |amount| amount.to_string()),
                audit.possibly_paid_micro_usd.to_string(),
                audit.unexplained_invoice_lines.to_string(),
            ]
        })
        .collect();
    rows.push(vec![
        "total".to_owned(),
        String::new(),
        report.ledger_micro_usd.to_string(),
        report.invoice_micro_usd.to_string(),
        report.possibly_paid_micro_usd.to_string(),
        report.unexplained_invoice_lines.to_string(),
    ]);
    let mut text = format!(
        "{}\n\naccepted {}, ended {}, open {}, parked as too new {}, lost {}, ended twice {}, paid twice {}, \
         paid again {}, reservations open {}\n",
        table::render(&columns, &rows),
        report.accepted,
        report.ended,
        report.open,
        report.parked,
        report.lost,
        report.ended_twice,
        report.paid_twice,
        report.paid_again,
        report.pending_charges
    );
    for finding in &report.findings {
        text.push_str(&format!("broken: {finding}\n"));
    }
    text.push_str(if report.holds() { "the audit holds" } else { "THE AUDIT DOES NOT HOLD" });
    text
}
