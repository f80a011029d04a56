//! A workload.

use serde::Serialize;

use crate::fleet::FleetSpec;
use crate::job::JobSpec;

/// Jobs, and the fleet that they meet.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Workload {
    /// The jobs.
    pub jobs: Vec<JobSpec>,
    /// The fleet.
    pub fleet: FleetSpec,
}
