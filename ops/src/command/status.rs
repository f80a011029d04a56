//! `argosy status`: one job.

use super::moments::{after, submitted_ms};
use super::session::Session;
use super::unknown::unknown;
use super::watch::what;
use super::whose::Whose;
use crate::say::{say, say_json};
use crate::table::{Align, Table};
use crate::text::Text;
use crate::tone::{self, Tone};
use crate::words::{between, time};
use clap::Args;
use client::api;
use runtime::clock::now_ms;
use schemas::api::{JobRequest, StatusReply};
use schemas::{Event, JobId, JobState};

/// Where a job is, and every event of it. Asks the routers: no database is needed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    argosy status 01990000-0000-7000-8000-000000000001\n  \
    argosy status 01990000-0000-7000-8000-000000000001 --json | jq -r .state")]
pub(crate) struct Status {
    /// Which job
    job: JobId,
    #[command(flatten)]
    whose: Whose,
}

impl Status {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let broker = session.broker().await?;
        let (tenant, request) = (self.whose.tenant.as_ref(), JobRequest::of(self.job));
        let reply: StatusReply = api::request_as(&broker.client, tenant, "status", &request).await?;
        if session.json {
            say_json(&reply)?;
        } else {
            say(text(&reply, now_ms()));
        }
        if reply.known {
            return Ok(());
        }
        Err(unknown(session, self.job, tenant).await)
    }
}

/// The whole answer for people. Times are of the broker's clock, in UTC.
#[must_use]
pub fn text(reply: &StatusReply, now_ms: i64) -> Text {
    let state = if reply.known { reply.state.as_str() } else { "unknown" };
    let since_ms = submitted_ms(reply.job, &reply.events).filter(|_| reply.known);
    let end = reply.events.iter().find(|event| event.state().is_some_and(JobState::is_terminal));
    let took = since_ms.map(|from_ms| match end {
        Some(end) => format!(" after {}", between(from_ms, end.time_ms)),
        None => format!(" for {} since it was submitted", between(from_ms, now_ms)),
    });
    let mut text = Text::default();
    text.toned([
        (format!("{}  ", reply.job), Tone::Plain),
        (state.to_owned(), tone::of_state(state)),
        (took.unwrap_or_default(), Tone::Plain),
    ]);
    if let Some(since_ms) = since_ms {
        let whose = reply.events.first().map(|event| format!(" by {}", event.tenant)).unwrap_or_default();
        text.line(format!("submitted {} UTC{whose}", time(since_ms)));
    }
    if !reply.events.is_empty() {
        let columns =
            [("utc", Align::Left), ("after", Align::Right), ("event", Align::Left), ("what", Align::Flow)];
        let row = |event: &Event| {
            let kind = event.fact.kind().to_owned();
            vec![time(event.time_ms), after(since_ms, event.time_ms), kind, what(event)]
        };
        text.table(Table::new(&columns, reply.events.iter().map(row).collect()));
    }
    reply.waiting.iter().for_each(|wait| text.line(format!("waits: {}", wait.sentence)));
    let facts = reply.events.iter().rev().find_map(|event| event.fact.facts());
    let warnings = facts.map(|facts| facts.warnings.as_slice()).unwrap_or_default();
    warnings.iter().for_each(|warning| text.line(format!("warning: {warning}")));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::samples;

    #[test]
    fn a_status_says_when_and_how_long() {
        let events: Vec<Event> = samples::events();
        let mut reply = StatusReply {
            job: events[0].job,
            state: JobState::Running,
            known: true,
            events: events.into_iter().filter(|event| event.state() == Some(JobState::Running)).collect(),
            waiting: None,
        };
        let since_ms = submitted_ms(reply.job, &reply.events).expect("it says so");
        let shown = text(&reply, since_ms + 90_000).to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[0].ends_with("  running for 1 min 30 s since it was submitted"), "{shown}");
        assert_eq!(lines[1], "submitted 2026-11-23 10:00:00 UTC by studio-a");
        assert!(lines[2].starts_with("UTC                    AFTER  EVENT"), "{shown}");
        assert!(lines[3].starts_with("2026-11-23 10:00:") && lines[3].contains("  running  at "), "{shown}");
        reply.known = false;
        reply.events.clear();
        assert_eq!(text(&reply, since_ms).to_string(), format!("{}  unknown", reply.job));
    }
}
