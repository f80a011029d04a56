//! Generators: other jobs for each seed, the same for the same seed.
//!
//! Durations are those of the simulators of `argosy demo`: a median and 0.75 to 1.35 of it. So neither the catalog's
//! expectation nor what workers learned is the truth.

use std::collections::BTreeMap;

use schemas::{Backend, Lane, MicroUsd};

use super::spec::Workload;
use crate::chance::Chance;
use crate::fleet::{FleetSpec, Outage, ServerSpec};
use crate::job::JobSpec;

/// A kind of workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generator {
    /// Arrivals at random, 67 % of what local can do.
    Steady,
    /// Waves and bursts, 87 % of local, patience of 30, 120 and 300 s.
    Bursts,
    /// Urgent, standard and batch with deadlines, films among them, 133 % of local.
    Mixed,
    /// Local is out for the middle tenth.
    Outage,
    /// Two checkpoints on unequal GPUs that take time to load one.
    Checkpoints,
    /// One tenant's flood beside trickles of others.
    Flood,
}

/// Medians at the three backends, milliseconds, as the simulators' defaults.
const PICTURE: [(&str, u64); 3] = [("local", 4_000), ("cloud", 33_000), ("gemini", 8_000)];
const FILM: [(&str, u64); 3] = [("local", 12_000), ("cloud", 120_000), ("gemini", 40_000)];

/// Mean of a picture at local, milliseconds: 1.05 of the median; and its slots.
const PICTURE_MEAN_MS: f64 = 4_200.0;
const LOCAL_SLOTS: f64 = 2.0;

const SECOND_MS: i64 = 1_000;

impl Generator {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Steady, Self::Bursts, Self::Mixed, Self::Outage, Self::Checkpoints, Self::Flood];

    /// As on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Bursts => "bursts",
            Self::Mixed => "mixed",
            Self::Outage => "outage",
            Self::Checkpoints => "checkpoints",
            Self::Flood => "flood",
        }
    }

    /// The workload of a seed; so many jobs, or its own number.
    #[must_use]
    pub fn generate(self, seed: u64, jobs: Option<usize>) -> Workload {
        let mut draw = Draw { chance: Chance::of(seed, &[self as u64]), jobs: Vec::new() };
        let mut fleet = FleetSpec::demo();
        match self {
            Self::Steady => draw.poisson(jobs.unwrap_or(207), 0.67, &plain),
            Self::Bursts => draw.bursts(jobs.unwrap_or(298)),
            // Films lengthen what a job takes by a tenth: 133 % in all.
            Self::Mixed => draw.poisson(jobs.unwrap_or(435), 1.21, &mixed),
            Self::Outage => {
                draw.poisson(jobs.unwrap_or(239), 0.67, &patient);
                let end_ms = draw.jobs.last().map_or(0, |job| job.at_ms);
                fleet.outages.push(Outage {
                    backend: name("local"),
                    server: None,
                    from_ms: end_ms * 9 / 20,
                    until_ms: end_ms * 11 / 20,
                });
            }
            Self::Checkpoints => {
                draw.poisson(jobs.unwrap_or(300), 0.6, &two_checkpoints);
                for (server, speed_percent) in fleet.servers.iter_mut().zip([100, 60]) {
                    (server.speed_percent, server.load_ms) = (speed_percent, 3_000);
                }
            }
            Self::Flood => draw.flood(jobs.unwrap_or(420)),
        }
        draw.jobs.sort_by_key(|job| job.at_ms);
        Workload { jobs: draw.jobs, fleet }
    }
}

/// A name that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no workload: use {names}, or the path of a file", names = Generator::ALL.map(Generator::as_str).join(", "))]
pub struct UnknownGenerator(String);

impl std::str::FromStr for Generator {
    type Err = UnknownGenerator;

    fn from_str(text: &str) -> Result<Self, UnknownGenerator> {
        let found = Self::ALL.into_iter().find(|generator| generator.as_str() == text);
        found.ok_or_else(|| UnknownGenerator(text.to_owned()))
    }
}

fn name(backend: &str) -> Backend {
    Backend::new(backend).unwrap_or_else(|_| unreachable!("`{backend}` is a name"))
}

struct Draw {
    chance: Chance,
    jobs: Vec<JobSpec>,
}

impl Draw {
    /// Arrivals at random, at a share of what local can do.
    #[expect(clippy::cast_possible_truncation, reason = "a simulated day is far below 2^53 ms")]
    fn poisson(&mut self, count: usize, load: f64, make: &dyn Fn(&mut Chance, i64) -> JobSpec) {
        let mean_ms = PICTURE_MEAN_MS / LOCAL_SLOTS / load;
        let mut at_ms = 0.0;
        for _ in 0..count {
            at_ms += self.chance.exponential_ms(mean_ms);
            let job = make(&mut self.chance, at_ms as i64);
            self.jobs.push(job);
        }
    }

    /// A rate that swings, and every minute or so a burst of twenty to fifty at once; 87 % of local over the whole.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "a simulated day is far below 2^53 ms"
    )]
    fn bursts(&mut self, count: usize) {
        let end_ms = count as f64 * PICTURE_MEAN_MS / LOCAL_SLOTS / 0.87;
        let in_bursts = count * 3 / 5;
        while self.jobs.len() < in_bursts {
            let at_ms = self.chance.unit() * end_ms * 0.95;
            let size = self.chance.between(20, 50) as usize;
            for _ in 0..size.min(in_bursts - self.jobs.len()) {
                let within_ms = self.chance.unit() * 3_000.0;
                let job = patient(&mut self.chance, (at_ms + within_ms) as i64);
                self.jobs.push(job);
            }
        }
        while self.jobs.len() < count {
            let share = self.chance.unit();
            // Three waves: half of the rate swings.
            let rate = 0.5 + 0.5 * (share * 3.0 * std::f64::consts::TAU).sin();
            if self.chance.unit() < rate {
                let job = patient(&mut self.chance, (share * end_ms) as i64);
                self.jobs.push(job);
            }
        }
    }

    /// Two thirds come from one tenant within seconds, the others steadily from ten more.
    #[expect(clippy::cast_possible_truncation, reason = "a simulated day is far below 2^53 ms")]
    fn flood(&mut self, count: usize) {
        let trickle = count / 3;
        self.poisson(trickle, 0.25, &|chance, at_ms| JobSpec {
            tenant: format!("trickle-{}", chance.between(0, 9)),
            ..plain(chance, at_ms)
        });
        let end_ms = self.jobs.last().map_or(0, |job| job.at_ms);
        for _ in trickle..count {
            let at_ms = end_ms / 4 + (self.chance.unit() * 10_000.0) as i64;
            let job = plain(&mut self.chance, at_ms);
            let may_pay = self.chance.permille(300);
            self.jobs.push(JobSpec {
                tenant: "flood".to_owned(),
                lane: Lane::Batch,
                allow_paid: may_pay,
                patience_ms: Some(600_000),
                ..job
            });
        }
    }
}

/// A picture that may pay and bears a minute.
fn plain(chance: &mut Chance, at_ms: i64) -> JobSpec {
    JobSpec {
        at_ms,
        tenant: ["studio-a", "studio-b", "studio-c"][chance.between(0, 2) as usize].to_owned(),
        lane: Lane::Standard,
        model: "sdxl".to_owned(),
        patience_ms: Some(60_000),
        deadline_ms: None,
        allow_paid: true,
        max_cost_micro_usd: None,
        backends: None,
        run_ms: durations(chance, &PICTURE),
    }
}

/// The same in three lanes, with the patience of each.
fn patient(chance: &mut Chance, at_ms: i64) -> JobSpec {
    let (lane, patience_ms) = match chance.between(0, 9) {
        0..=2 => (Lane::Interactive, 30_000),
        3..=6 => (Lane::Standard, 120_000),
        _ => (Lane::Batch, 300_000),
    };
    JobSpec { lane, patience_ms: Some(patience_ms), ..plain(chance, at_ms) }
}

/// Urgent jobs with near deadlines, standard ones, batch with far ones; some may not pay; one in twenty is a film.
fn mixed(chance: &mut Chance, at_ms: i64) -> JobSpec {
    let job = plain(chance, at_ms);
    let allow_paid = chance.permille(650);
    match chance.between(0, 19) {
        0..=5 => {
            let deadline_ms = chance.between(20, 60) as i64 * SECOND_MS;
            JobSpec { lane: Lane::Interactive, deadline_ms: Some(deadline_ms), allow_paid: true, ..job }
        }
        6..=12 => JobSpec { patience_ms: Some(120_000), allow_paid, ..job },
        13 => JobSpec {
            lane: Lane::Batch,
            model: "wan".to_owned(),
            deadline_ms: Some(chance.between(400, 800) as i64 * SECOND_MS),
            allow_paid,
            max_cost_micro_usd: Some(MicroUsd(2_000_000)),
            run_ms: durations(chance, &FILM),
            ..job
        },
        _ => {
            let deadline_ms = chance.between(200, 600) as i64 * SECOND_MS;
            JobSpec { lane: Lane::Batch, deadline_ms: Some(deadline_ms), allow_paid, ..job }
        }
    }
}

fn two_checkpoints(chance: &mut Chance, at_ms: i64) -> JobSpec {
    let model = if chance.permille(500) { "sdxl" } else { "flux" };
    JobSpec { model: model.to_owned(), ..patient(chance, at_ms) }
}

/// 0.75 to 1.35 of the median at each backend, one draw for each.
fn durations(chance: &mut Chance, medians: &[(&str, u64)]) -> BTreeMap<Backend, u64> {
    let each =
        |(backend, median_ms): &(&str, u64)| (name(backend), median_ms * chance.between(750, 1_350) / 1_000);
    medians.iter().map(each).collect()
}

impl ServerSpec {
    /// The same server with another number of slots: for fleets that are larger than the demo's.
    #[must_use]
    pub fn with_slots(mut self, slots: u32) -> Self {
        self.slots = slots;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_and_loads_are_what_they_say() {
        for generator in Generator::ALL {
            let one = generator.generate(3, None);
            assert_eq!(one, generator.generate(3, None));
            assert_ne!(one.jobs, generator.generate(4, None).jobs);
            assert!(one.jobs.is_sorted_by_key(|job| job.at_ms));
        }
        let work = |generator: Generator| {
            let jobs = generator.generate(1, Some(4_000)).jobs;
            let local = name("local");
            let work_ms: u64 = jobs.iter().map(|job| job.run_ms[&local]).sum();
            let span_ms = jobs.last().expect("jobs").at_ms.unsigned_abs();
            work_ms as f64 / (span_ms as f64 * LOCAL_SLOTS)
        };
        assert!((0.62..0.72).contains(&work(Generator::Steady)));
        assert!((0.82..0.95).contains(&work(Generator::Bursts)));
        assert!((1.25..1.42).contains(&work(Generator::Mixed)));
    }
}
