//! Jobs while they run: bars on a terminal, lines elsewhere.

use super::moments::stamp;
use crate::exit::DoesNotHold;
use crate::screen::draws_bars;
use crate::words;
use anyhow::Context as _;
use client::follow::{self, JobView, Since, Tracker};
use futures::StreamExt as _;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use runtime::broker::Broker;
use runtime::clock::now_ms;
use runtime::escape;
use schemas::codec::{self, CONTENT_TYPE};
use schemas::{Event, JobId, JobState, Progress, subjects};
use std::collections::BTreeMap;
use std::time::Duration;

/// Jobs that get a bar of their own; more get one bar for all.
const BARS_MAX: usize = 20;

/// A bar for all jobs, with how long they have been followed.
const ONE_FOR_ALL: &str = "{bar:30} {pos}/{len} ended {elapsed}";
/// A job's bar, with how long ago it was submitted.
const ONE_EACH: &str = "{prefix} {elapsed:>4} {bar:20} {msg}";

/// The time goes on while nothing else happens.
const TICK: Duration = Duration::from_secs(1);

/// Follows jobs until all have ended, showing them on standard error.
pub(crate) async fn follow_to_the_end(
    broker: &Broker,
    ids: &[JobId],
    quiet: bool,
) -> anyhow::Result<Tracker> {
    let mut tracker = follow_until_over(broker, ids, quiet).await?;
    let others = tracker.same_as();
    if !others.is_empty() {
        tracker.resolve(follow_until_over(broker, &others, quiet).await?);
    }
    Ok(tracker)
}

async fn follow_until_over(broker: &Broker, ids: &[JobId], quiet: bool) -> anyhow::Result<Tracker> {
    let mut tracker = Tracker::of(ids.iter().copied());
    let view = View::new(ids, quiet);
    let mut progress = broker.client.subscribe(subjects::PROGRESS_FILTER).await.context("progress")?;
    let mut events = Box::pin(follow::events(&broker.jetstream, ids, Since::Ever).await?);
    while !tracker.is_done() {
        tokio::select! {
            event = events.next() => {
                let event = event.context("stream EVENTS ended")??;
                if tracker.note(&event) {
                    view.event(&event, &tracker);
                }
            }
            Some(message) = progress.next() => {
                let header = message.headers.as_ref().and_then(|all| Some(all.get(CONTENT_TYPE)?.as_str()));
                // Progress is a courtesy: what cannot be read is not shown.
                if let Ok(step) = codec::decode::<Progress>(header, &message.payload) {
                    view.progress(&step);
                }
            }
        }
    }
    view.close();
    Ok(tracker)
}

/// All completed, or the exit code that says otherwise.
pub(crate) fn verdict(tracker: &Tracker) -> anyhow::Result<()> {
    let failed: Vec<String> = tracker
        .jobs()
        .iter()
        .filter(|(_, view)| view.state != JobState::Completed && view.same_as.is_none())
        .map(|(job, view)| format!("{job} {}", in_words(view)))
        .collect();
    if failed.is_empty() { Ok(()) } else { Err(DoesNotHold(failed.join("; ")).into()) }
}

/// A job's state with where it is and why it failed.
pub(crate) fn in_words(view: &JobView) -> String {
    if let Some(job) = view.same_as {
        return format!("is the same as job {job}");
    }
    let at = view.backend.as_ref().map(|backend| format!(" at {backend}")).unwrap_or_default();
    let why = view.failure.as_ref();
    let why = why.map(|failure| {
        let words = words::provider_words(failure);
        format!(": {} ({}){words}", failure.message, failure.code.as_str())
    });
    format!("{}{at}{}", view.state.as_str(), why.unwrap_or_default())
}

enum View {
    Quiet,
    Lines,
    Bars(BTreeMap<JobId, ProgressBar>),
    OneBar(ProgressBar),
}

impl View {
    fn new(ids: &[JobId], quiet: bool) -> Self {
        if quiet {
            return Self::Quiet;
        }
        if !draws_bars() {
            return Self::Lines;
        }
        if ids.len() > BARS_MAX {
            let bar = ProgressBar::new(ids.len() as u64).with_style(style(ONE_FOR_ALL));
            bar.enable_steady_tick(TICK);
            return Self::OneBar(bar);
        }
        let all = MultiProgress::new();
        let style = style(ONE_EACH);
        let bars = ids.iter().map(|id| {
            let bar = all.add(ProgressBar::new(0).with_style(style.clone()));
            bar.set_prefix(id.to_string());
            bar.set_message("submitted");
            let ago_ms = id.time_ms().map_or(0, |made_ms| now_ms() - made_ms);
            bar.set_elapsed(Duration::from_millis(u64::try_from(ago_ms).unwrap_or_default()));
            bar.enable_steady_tick(TICK);
            (*id, bar)
        });
        Self::Bars(bars.collect())
    }

    fn event(&self, event: &Event, tracker: &Tracker) {
        let Some(job) = tracker.jobs().get(&event.job) else { return };
        match self {
            Self::Quiet => {}
            Self::Lines => {
                eprintln!("{}", escape::line(&format!("{}  {} {}", stamp(event), event.job, in_words(job))));
            }
            Self::OneBar(bar) => bar.set_position(tracker.ended() as u64),
            Self::Bars(bars) => {
                let Some(bar) = bars.get(&event.job) else { return };
                bar.set_message(escape::line(&in_words(job)).into_owned());
                if job.is_over() {
                    bar.set_length(bar.length().unwrap_or_default().max(1));
                    bar.set_position(bar.length().unwrap_or_default());
                    bar.abandon();
                }
            }
        }
    }

    fn progress(&self, step: &Progress) {
        let Self::Bars(bars) = self else { return };
        let Some(bar) = bars.get(&step.job).filter(|bar| !bar.is_finished()) else { return };
        bar.set_length(step.steps.into());
        bar.set_position(step.step.into());
        let detail = step.detail.as_deref().unwrap_or_default();
        let words = format!("at {} {:?} {detail}", step.backend, step.phase).to_lowercase();
        bar.set_message(escape::line(&words).into_owned());
    }

    fn close(&self) {
        if let Self::OneBar(bar) = self {
            bar.abandon();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are ours, and a test draws them.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::{Failure, FailureCode};

    #[test]
    fn a_failed_job_quotes_its_provider() {
        let failure = Failure::new(FailureCode::UnusableResult, "no file in it").with_words("not today");
        let view = JobView {
            state: JobState::Failed,
            attempt: 1,
            backend: None,
            artifacts: Vec::new(),
            manifest: None,
            failure: Some(failure),
            same_as: None,
        };
        let words = "failed: no file in it (unusable_result); the provider says: not today";
        assert_eq!(in_words(&view), words);
    }

    #[test]
    fn the_templates_are_templates() {
        for template in [ONE_FOR_ALL, ONE_EACH] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
