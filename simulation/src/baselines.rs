//! What anybody would do without a router: yardsticks.

use std::collections::{BTreeMap, VecDeque};

use schemas::{FailureCode, JobState};

use crate::strategy::Strategy;
use crate::world::{Notice, Shared, World};

/// Which yardstick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Everything at once to the dearest backend that the job may use.
    Dearest,
    /// Everything at once to the cloud; what may not pay goes to local.
    Cloud,
    /// First come, first served: a free local slot, else a free cloud worker, else wait.
    LocalThenCloud,
}

impl Kind {
    /// As on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dearest => "dearest",
            Self::Cloud => "cloud",
            Self::LocalThenCloud => "local-then-cloud",
        }
    }
}

/// Attempts of a job before it is given up.
const ATTEMPTS_MAX: u32 = 6;

/// One yardstick at work.
#[derive(Debug)]
pub struct Baseline {
    kind: Kind,
    /// Jobs that have just come, with the attempt that is next.
    incoming: VecDeque<(usize, u32)>,
    /// Jobs that wait for local or the cloud, by which of them they may use, in order of their acceptance.
    waiting: BTreeMap<Vec<usize>, BTreeMap<usize, u32>>,
}

impl Baseline {
    /// A yardstick.
    #[must_use]
    pub const fn new(kind: Kind) -> Self {
        Self { kind, incoming: VecDeque::new(), waiting: BTreeMap::new() }
    }

    /// Where a job goes that goes at once.
    fn at_once(&self, world: &World, job: usize) -> Option<usize> {
        let job = &world.jobs[job];
        match self.kind {
            Kind::Dearest => job.dearest().map(|choice| choice.backend),
            Kind::Cloud => {
                let cloud = place(world, "cloud").filter(|backend| job.choice(*backend).is_some());
                cloud.or_else(|| job.choices.first().map(|choice| choice.backend))
            }
            Kind::LocalThenCloud => job.choices.first().map(|choice| choice.backend),
        }
    }
}

fn place(world: &World, name: &str) -> Option<usize> {
    world.setting.backends().position(|backend| backend.as_str() == name)
}

fn bind(world: &mut World, job: usize, attempt: u32, backend: usize) {
    let class = world.jobs[job].admitted.class.clone();
    let setting = std::rc::Rc::clone(&world.setting);
    let service = setting.backends().nth(backend).and_then(|backend| setting.service(backend, &class));
    let timeout_ms = service.map_or(u64::MAX / 4, |service| service.timeout_ms);
    world.bind(job, attempt, backend, timeout_ms, None);
}

impl Strategy for Baseline {
    fn notice(&mut self, world: &Shared, notice: Notice) {
        match notice {
            Notice::Arrived(job) => self.incoming.push_back((job, 1)),
            Notice::Failed(failed) => {
                let (job, attempt) = (failed.binding.job, failed.binding.attempt);
                match failed.failure.code {
                    FailureCode::Expired => world.borrow_mut().end(job, JobState::Expired),
                    _ if attempt >= ATTEMPTS_MAX => world.borrow_mut().end(job, JobState::Failed),
                    _ => self.incoming.push_back((job, attempt + 1)),
                }
            }
            Notice::Succeeded { .. } | Notice::Woken(_) => {}
        }
    }

    fn decide(&mut self, world: &Shared) {
        let mut world = world.borrow_mut();
        let places: Vec<usize> =
            ["local", "cloud"].into_iter().filter_map(|name| place(&world, name)).collect();
        while let Some((job, attempt)) = self.incoming.pop_front() {
            let may: Vec<usize> =
                places.iter().copied().filter(|place| world.jobs[job].choice(*place).is_some()).collect();
            if self.kind == Kind::LocalThenCloud && !may.is_empty() {
                self.waiting.entry(may).or_default().insert(job, attempt);
            } else if let Some(backend) = self.at_once(&world, job) {
                bind(&mut world, job, attempt, backend);
            }
        }
        for place in places {
            for _ in 0..world.free_slots(place) {
                let may = self.waiting.iter_mut().filter(|(may, _)| may.contains(&place));
                let first =
                    may.min_by_key(|(_, jobs)| jobs.first_key_value().map_or(usize::MAX, |(job, _)| *job));
                let Some((job, attempt)) = first.and_then(|(_, jobs)| jobs.pop_first()) else { break };
                bind(&mut world, job, attempt, place);
            }
        }
    }
}
