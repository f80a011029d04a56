//! `argosy explain`: why there.

use super::session::Session;
use super::unknown::unknown;
use super::whose::Whose;
use crate::exit::DoesNotHold;
use crate::table::{self, Align};
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
            table::say_json(&reply)?;
            return if reply.known { Ok(()) } else { Err(unknown(self.job)) };
        }
        let state = if reply.known { reply.state.as_str() } else { "unknown" };
        table::say(format!("{}  {state}", reply.job));
        for decision in &reply.decisions {
            table::say(format!("\n{}", decision_text(decision)));
        }
        if let Some(failure) = &reply.failure {
            table::say(format!("\n{}: {}", failure.code.as_str(), table::escaped(&failure.message)));
            if let Some(words) = &failure.provider_words {
                table::say(format!("provider: {}", table::escaped_lines(words)));
            }
        }
        reply.warnings.iter().for_each(|warning| table::say(format!("\nwarning: {warning}")));
        reply.waiting.iter().for_each(|wait| table::say(format!("\nwaits: {}", wait.sentence)));
        if !reply.known {
            return Err(unknown(self.job));
        }
        if reply.decisions.is_empty() && reply.failure.is_none() && reply.waiting.is_none() {
            return Err(DoesNotHold(format!("nothing was decided for job {} yet", self.job)).into());
        }
        Ok(())
    }
}

/// A whole decision for people.
#[must_use]
pub fn decision_text(decision: &Decision) -> String {
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
        ("rejected because", Align::Left),
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
    for row in &mut rows {
        row.resize(columns.len(), String::new());
    }
    let choice = decision.choice.as_ref().map_or("nobody", schemas::Backend::as_str);
    let second = decision.second_best_micro_usd;
    let second = second.map(|cost| format!("\nsecond best would have cost {cost}")).unwrap_or_default();
    format!(
        "attempt {}, class {}: {choice}\n{}\nconsent to spend: {}{second}\n{}",
        decision.attempt,
        decision.class,
        decision.reason,
        decision.consent,
        table::render(&columns, &rows)
    )
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
        table::duration(candidate.wait_ms),
        table::duration(candidate.completion_ms),
        candidate.backlog.to_string(),
        candidate.slots.to_string(),
        rejections.join("; "),
    ]
}
