//! Jobs for analysts: what is told of each, and what should be counted of it, worked out without SQL.

use std::collections::BTreeMap;

use ledger_read::{CostBy, Window};
use schemas::{Charge, Event, Fact, Failure, FailureCode, JobId, JobState, MicroUsd};
use serde_json::json;

use crate::rollup::earlier;
use crate::story::{Story, T};

/// An attempt that ended so long after its job's beginning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Try {
    pub(crate) backend: &'static str,
    pub(crate) model: &'static str,
    pub(crate) ended_ms: i64,
    pub(crate) posted: i64,
    pub(crate) is_possibly_paid: bool,
}

/// What becomes of a job in the end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// It ends in this state, so long after its beginning.
    At(i64, JobState),
    /// Another attempt was placed at the cloud ten milliseconds after the beginning, with so much set aside.
    Open(i64),
    /// It never was a job.
    Refused,
}

/// A job. `begins_ms` is after [`T`], and mostly before it.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) number: u8,
    pub(crate) begins_ms: i64,
    pub(crate) tenant: &'static str,
    pub(crate) lane: &'static str,
    pub(crate) project: Option<&'static str>,
    pub(crate) tries: Vec<Try>,
    pub(crate) end: End,
}

const fn local(ended_ms: i64) -> Try {
    Try { backend: "local", model: "sdxl", ended_ms, posted: 0, is_possibly_paid: false }
}

const fn cloud(ended_ms: i64, posted: i64) -> Try {
    Try { backend: "cloud", model: "flux", ended_ms, posted, is_possibly_paid: false }
}

const fn gemini(ended_ms: i64, posted: i64) -> Try {
    Try { backend: "gemini", model: "imagen", ended_ms, posted, is_possibly_paid: false }
}

pub(crate) const HOUR_MS: i64 = 3_600_000;
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;

/// Forty jobs over two weeks and a half, of three tenants, three lanes and three models: free, paid, retried, failed
/// over to free and to paid, cancelled and expired while they wait, failed and perhaps paid, refused, or running.
pub(crate) fn lives() -> Vec<Life> {
    (0..40).map(life).collect()
}

fn life(number: u8) -> Life {
    let nth = i64::from(number);
    let paid = 1_000 + nth;
    let done = |tries: Vec<Try>| {
        let end = tries.last().map_or(5, |last| last.ended_ms) + 5;
        (tries, End::At(end, JobState::Completed))
    };
    let (tries, end) = match number % 10 {
        0 | 1 => done(vec![local(900)]),
        2 => done(vec![cloud(4_000, paid)]),
        // Its second attempt ends a day later.
        3 => done(vec![cloud(2_000, paid), cloud(DAY_MS, paid * 2)]),
        4 => done(vec![cloud(2_000, paid), local(2 * HOUR_MS)]),
        5 => done(vec![local(700), gemini(9_000, paid * 50)]),
        6 => (Vec::new(), End::At(30_000, JobState::Cancelled)),
        7 => (Vec::new(), End::At(60_000, JobState::Expired)),
        8 if number < 20 => (Vec::new(), End::Refused),
        8 => (vec![local(50)], End::Open(900 + nth)),
        _ => {
            let maybe = Try { is_possibly_paid: true, ..gemini(8_000, paid) };
            (vec![maybe], End::At(8_005, JobState::Failed))
        }
    };
    Life {
        number,
        // Eleven hours and twenty-two minutes between two: every hour of the day is met.
        begins_ms: -100 * DAY_MS + nth * (11 * HOUR_MS + 22 * 60_000),
        tenant: ["studio-a", "studio-b", "studio-c"][usize::from(number / 2) % 3],
        lane: ["interactive", "standard", "batch"][usize::from(number) % 3],
        project: [Some("harbour"), Some("for\"est, green"), None][usize::from(number / 3) % 3],
        tries,
        end,
    }
}

impl Life {
    pub(crate) fn story(&self) -> Story {
        let job = JobId::from_parts(T + self.begins_ms, [self.number; 10]);
        Story { job, tenant: self.tenant.parse().expect("a name") }
    }

    /// What the fleet tells of it.
    pub(crate) fn events(&self) -> Vec<Event> {
        let story = self.story();
        let told = |(at, one): (usize, &Try)| {
            let charge = match (one.posted, one.is_possibly_paid) {
                (0, _) => Charge::VOIDED,
                (posted, false) => Charge::posted(MicroUsd(posted)),
                (posted, true) => Charge::possibly_paid(MicroUsd(posted)),
            };
            let attempt = u32::try_from(at + 1).expect("few");
            let is_made = at + 1 == self.tries.len() && matches!(self.end, End::At(_, JobState::Completed));
            let mut facts = if is_made {
                story.attempt(one.ended_ms, attempt, one.backend, charge)
            } else {
                story.failed(one.ended_ms, attempt, one.backend, charge)
            };
            one.model.clone_into(&mut facts.model);
            facts.assigned_at_ms = T + one.ended_ms - 20;
            if self.has_decision() { Story::untold(facts) } else { facts }
        };
        let attempts: Vec<_> = self.tries.iter().enumerate().map(told).collect();
        let goes_on = match self.end {
            End::At(..) => attempts.len().saturating_sub(1),
            _ => attempts.len(),
        };
        let followed = attempts.iter().zip(&self.tries).take(goes_on);
        let mut events: Vec<Event> = followed
            .map(|(facts, one)| story.retrying(one.ended_ms + 5, facts.clone(), "failover"))
            .collect();
        events.push(match self.end {
            End::At(after_ms, state) => story.ended(after_ms, state, attempts),
            End::Open(reserved) => {
                let attempt = u32::try_from(attempts.len() + 1).expect("few");
                story.assigned(10, attempt, "cloud", reserved)
            }
            End::Refused => {
                let failure = Failure::new(FailureCode::InvalidJob, "no prompt");
                Event::new(T + 3, story.tenant.clone(), story.job, 0, Fact::Refused { failure })
            }
        });
        events.iter().map(|event| self.recast(&earlier(event, -self.begins_ms))).collect()
    }

    /// The lane and the labels of this job, and the code of its end.
    pub(crate) fn recast(&self, event: &Event) -> Event {
        let mut value = serde_json::to_value(event).expect("plain data");
        if let Some(facts) = value["fact"].get_mut("facts") {
            facts["lane"] = json!(self.lane);
            facts["labels"] =
                self.project.map_or(json!({}), |project| json!({ "project": project, "all": "yes" }));
        }
        if let End::At(_, JobState::Expired) = self.end {
            value["fact"]["failure"]["code"] = json!("expired");
        }
        serde_json::from_value(value).expect("an event still")
    }

    fn last_place(&self) -> (&'static str, &'static str) {
        match (self.end, self.tries.last()) {
            (End::Open(_), _) => ("cloud", "sdxl"),
            (_, Some(last)) => (last.backend, last.model),
            (_, None) => ("", ""),
        }
    }

    /// Why it was placed is known, and so what it would have cost elsewhere.
    pub(crate) fn has_decision(&self) -> bool {
        self.number % 4 != 1
    }

    pub(crate) fn spent(&self) -> i64 {
        self.tries.iter().map(|one| one.posted).sum()
    }

    /// What is counted of it: a moment, a place, and figures.
    fn items(&self) -> Vec<Item> {
        let at = |after_ms: i64| T + self.begins_ms + after_ms;
        if matches!(self.end, End::Refused) {
            return Vec::new();
        }
        let mut items = Vec::new();
        for one in &self.tries {
            let possibly = if one.is_possibly_paid { one.posted } else { 0 };
            let figures = [0, 0, 0, 1, i64::from(one.posted > 0), one.posted, possibly, 0];
            items.push(Item { at_ms: at(one.ended_ms), place: (one.backend, one.model), figures });
        }
        let (ended_ms, completed, open) = match self.end {
            End::At(after_ms, state) => (after_ms, i64::from(state == JobState::Completed), 0),
            End::Open(reserved) => (10, 0, reserved),
            End::Refused => unreachable!("it is no job"),
        };
        if open > 0 {
            items.push(Item {
                at_ms: at(10),
                place: ("cloud", "sdxl"),
                figures: [0, 0, 0, 1, 1, 0, 0, open],
            });
        }
        let free = i64::from(self.spent() == 0 && open == 0);
        let figures = [1, completed, free, 0, 0, 0, 0, 0];
        items.push(Item { at_ms: at(ended_ms), place: self.last_place(), figures });
        items
    }
}

/// Jobs, completed and free ones, attempts, charges; posted, possibly paid and open micro-dollars.
pub(crate) type Figures = [i64; 8];

struct Item {
    at_ms: i64,
    place: (&'static str, &'static str),
    figures: Figures,
}

/// What a window holds by what is asked for.
pub(crate) fn expected(lives: &[Life], by: &[CostBy], window: Window) -> BTreeMap<Vec<String>, Figures> {
    let mut sums: BTreeMap<Vec<String>, Figures> = BTreeMap::new();
    for life in lives {
        for item in life.items().into_iter().filter(|item| window.contains(item.at_ms)) {
            let time = utc(item.at_ms);
            let key = |by: &CostBy| match by {
                CostBy::Day => time[..10].to_owned(),
                CostBy::Hour => format!("{}:00Z", &time[..13]),
                CostBy::Backend => item.place.0.to_owned(),
                CostBy::Model => item.place.1.to_owned(),
                CostBy::Tenant => life.tenant.to_owned(),
                CostBy::Lane => life.lane.to_owned(),
                CostBy::Label(label) => match (label.as_str(), life.project) {
                    ("project", Some(project)) => project.to_owned(),
                    ("all", Some(_)) => "yes".to_owned(),
                    _ => String::new(),
                },
            };
            let sum = sums.entry(by.iter().map(key).collect()).or_default();
            sum.iter_mut().zip(item.figures).for_each(|(sum, figure)| *sum += figure);
        }
    }
    sums
}

/// `2026-11-30T14:02` of a moment.
fn utc(time_ms: i64) -> String {
    let (year, month, day) = schemas::calendar::date_of(time_ms.div_euclid(DAY_MS));
    let minute = time_ms.rem_euclid(DAY_MS) / 60_000;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}", minute / 60, minute % 60)
}
