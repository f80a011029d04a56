//! `argosy explain`: why there.

use super::session::Session;
use super::unknown::unknown;
use super::whose::Whose;
use crate::exit::DoesNotHold;
use crate::say::{say, say_json};
use crate::table::{Align, Table};
use crate::text::Text;
use crate::tone::{self, Tone};
use crate::words;
use clap::Args;
use client::api;
use schemas::api::{ExplainReply, JobRequest};
use schemas::{Candidate, Decision, JobId};

/// Why a job went where it went: for each attempt every backend, what filtered it out or what it scored
/// term by term, what it would have cost, and why the winner won.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    argosy explain 01990000-0000-7000-8000-000000000001\n  \
    argosy explain 01990000-0000-7000-8000-000000000001 --json | jq '.decisions[].reason'")]
pub struct Explain {
    /// Which job
    job: JobId,
    #[command(flatten)]
    whose: Whose,
}

impl Explain {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let broker = session.broker().await?;
        let request = JobRequest::of(self.job);
        let tenant = self.whose.tenant.as_ref();
        let reply: ExplainReply = api::request_as(&broker.client, tenant, "explain", &request).await?;
        if session.json {
            say_json(&reply)?;
            return if reply.known { Ok(()) } else { Err(unknown(session, self.job, tenant).await) };
        }
        say(text(&reply));
        if !reply.known {
            return Err(unknown(session, self.job, tenant).await);
        }
        if reply.decisions.is_empty() && reply.failure.is_none() && reply.waiting.is_none() {
            return Err(DoesNotHold(format!("nothing was decided for job {} yet", self.job)).into());
        }
        Ok(())
    }
}

/// The whole answer for people.
fn text(reply: &ExplainReply) -> Text {
    let state = if reply.known { reply.state.as_str() } else { "unknown" };
    let mut text = Text::default();
    text.toned([(format!("{}  ", reply.job), Tone::Plain), (state.to_owned(), tone::of_state(state))]);
    for decision in &reply.decisions {
        text.gap();
        text.append(decision_text(decision));
    }
    if let Some(failure) = &reply.failure {
        text.gap();
        text.quoted(&format!("{}: ", failure.code.as_str()), &failure.message);
        text.quoted("provider: ", failure.provider_words.as_deref().unwrap_or_default());
    }
    let warnings = reply.warnings.iter().map(|warning| format!("warning: {warning}"));
    let waits = reply.waiting.iter().map(|wait| format!("waits: {}", wait.sentence));
    for line in warnings.chain(waits) {
        text.gap();
        text.line(line);
    }
    text
}

/// A whole decision for people.
#[must_use]
pub fn decision_text(decision: &Decision) -> Text {
    let columns = [
        ("backend", Align::Left),
        ("score", Align::Right),
        ("priority", Align::Right),
        ("cost", Align::Right),
        ("speed", Align::Right),
        ("queue", Align::Right),
        ("expected", Align::Right),
        ("reserve", Align::Right),
        ("wait", Align::Right),
        ("done in", Align::Right),
        ("backlog", Align::Right),
        ("slots", Align::Right),
        ("rejected because", Align::Flow),
    ];
    let weights = decision.weights;
    let term = |value: f64| format!("{value:.3}");
    let mut rows = vec![vec![
        "(weight)".to_owned(),
        String::new(),
        term(weights.priority),
        term(weights.cost),
        term(weights.speed),
        term(weights.queue),
    ]];
    rows.extend(decision.candidates.iter().map(candidate_row));
    let choice = decision.choice.as_ref().map_or("nobody", schemas::Backend::as_str);
    let mut text = Text::default();
    text.line(format!("attempt {}, class {}: {choice}", decision.attempt, decision.class));
    text.line(&*decision.reason);
    text.line(format!("consent to spend: {}", decision.consent));
    if let Some(cost) = decision.second_best_micro_usd {
        text.line(format!("second best would have cost {cost}"));
    }
    text.table(Table::new(&columns, rows));
    text
}

fn candidate_row(candidate: &Candidate) -> Vec<String> {
    let rejections: Vec<String> = candidate
        .rejections
        .iter()
        .map(|rejection| format!("{}: {}", rejection.reason.as_str(), rejection.detail))
        .collect();
    let simulated = if candidate.simulated { " (simulated)" } else { "" };
    let term = |value: f64| if candidate.is_eligible() { format!("{value:.3}") } else { "-".to_owned() };
    vec![
        format!("{}{simulated}", candidate.backend),
        term(candidate.score),
        term(candidate.terms.priority),
        term(candidate.terms.cost),
        term(candidate.terms.speed),
        term(candidate.terms.queue),
        candidate.expected_micro_usd.to_string(),
        candidate.reserve_micro_usd.to_string(),
        words::duration(candidate.wait_ms),
        words::duration(candidate.completion_ms),
        candidate.backlog.to_string(),
        candidate.slots.to_string(),
        rejections.join("; "),
    ]
}
