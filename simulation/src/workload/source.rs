//! Where the jobs of a comparison come from.

use super::generate::Generator;
use super::spec::Workload;
use crate::fleet::FleetSpec;
use crate::job::JobSpec;

/// Where jobs come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A generator: other jobs for each seed. So many jobs; its own number where absent.
    Generated(Generator, Option<usize>),
    /// The same jobs for each seed, which decides failures only.
    Given {
        /// What a report calls it.
        name: String,
        /// The jobs.
        jobs: Vec<JobSpec>,
    },
}

impl Source {
    /// What a report calls it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Generated(generator, _) => generator.as_str().to_owned(),
            Self::Given { name, .. } => name.clone(),
        }
    }

    /// The workload of a seed.
    #[must_use]
    pub fn generate(&self, seed: u64) -> Workload {
        match self {
            Self::Generated(generator, jobs) => generator.generate(seed, *jobs),
            Self::Given { jobs, .. } => Workload { jobs: jobs.clone(), fleet: FleetSpec::demo() },
        }
    }
}
