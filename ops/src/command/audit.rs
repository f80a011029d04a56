//! `argosy audit`: do the promises hold?

mod abandoned;
mod lanes;

use super::session::Session;
use crate::exit::DoesNotHold;
use crate::say::{say, say_json};
use crate::show::demo::holds;
use crate::table::{Align, Table};
use crate::text::Text;
use anyhow::Context as _;
use async_nats::jetstream;
use clap::Args;
use client::parked;
use futures::TryStreamExt as _;
use policy::invariants::{AuditReport, audit};
use schemas::topology::stream;
use schemas::{JobId, subjects};
use stack::audit::{at_rest_at, bills_settle, gather};
use std::collections::BTreeSet;
use std::time::Duration;

/// Idle time of simulated providers runs out, and their last bill is booked, within this.
const BILLS_WITHIN: Duration = Duration::from_secs(15);

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
        // Read before all else: what leaves its lane meanwhile is found further on.
        let lanes = lanes::read(&broker.jetstream).await?;
        // Read before the ledger: what is told meanwhile makes the ledger know more, never less.
        let known = jobs_in_events(&broker.jetstream).await?;
        let simulators = session.simulators()?;
        let bills_final = before.is_some() && bills_settle(&reader, &simulators, BILLS_WITHIN).await?;
        let mut input = gather(&reader, None, false, &simulators).await?;
        let settled = before.is_some() && before == at_rest_at(&broker.jetstream).await?;
        input.settled = settled;
        input.bills_final = settled && bills_final;
        input.abandoned = abandoned::find(&broker.jetstream, &input, &lanes.jobs).await?;
        (input.waiting, input.waiting_unread) = (lanes.jobs, lanes.others);
        input.unreachable = lanes.unreachable;
        input.parked = parked::too_new(&broker.jetstream).await?;
        let booked = input.jobs.iter().map(|job| job.job).chain(input.parked.iter().copied());
        let known = known.into_iter().filter(|_| settled);
        input.accepted = Some(booked.chain(known).collect());
        let report = audit(&input);
        if session.json {
            say_json(&report)?;
        } else {
            say(report_text(&report));
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
pub(crate) fn report_text(report: &AuditReport) -> Text {
    let columns = [
        ("backend", Align::Left),
        ("attempts", Align::Right),
        ("ledger", Align::Right),
        ("invoice", Align::Right),
        ("start and idle", Align::Right),
        ("bill", Align::Right),
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
                audit.overhead_micro_usd.to_string(),
                audit.bill_micro_usd.map_or("none shown".to_owned(), |amount| amount.to_string()),
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
        report.overhead_micro_usd.to_string(),
        String::new(),
        report.possibly_paid_micro_usd.to_string(),
        report.unexplained_invoice_lines.to_string(),
    ]);
    let mut text = Text::from(Table::new(&columns, rows));
    text.gap();
    text.line(format!(
        "accepted {}, ended {}, open {}, waiting in lanes {}, parked as too new {}, abandoned {}, lost {}, \
         ended twice {}, paid twice {}, paid again {}, reservations open {}",
        report.accepted,
        report.ended,
        report.open,
        report.waiting,
        report.parked,
        report.abandoned,
        report.lost,
        report.ended_twice,
        report.paid_twice,
        report.paid_again,
        report.pending_charges
    ));
    report.findings.iter().for_each(|finding| text.line(format!("broken: {finding}")));
    text.append(holds(report.holds()));
    text
}
