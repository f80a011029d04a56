//! ComfyUI workflows in API format: told from the other format, and read for what they need. A prompt becomes one by
//! the catalog ([`crate::catalog::Model::render`]). Pure text work; talking to a server is the workers' business.

mod error;
pub mod files;
mod met;
pub mod needs;
pub mod nodes;

use serde_json::Value;

use crate::JobId;

pub use self::error::{DEPTH_MAX, WorkflowError};
pub use self::met::Met;
pub use self::needs::{Candidate, Requirements, is_within, requirements};

/// Sets the name prefix of every saving node, so that a run's files can be told from all others and a
/// repeat of the same graph is never answered from a server's cache with another job's files.
pub fn set_prefix(graph: &mut Value, prefix: &str) {
    let Some(nodes) = graph.as_object_mut() else { return };
    for inputs in nodes.values_mut().filter_map(|node| node.get_mut("inputs")?.as_object_mut()) {
        if let Some(value) = inputs.get_mut("filename_prefix") {
            *value = Value::from(prefix);
        }
    }
}

/// A seed that every party derives alike from the job's id.
#[must_use]
pub fn seed_of(job: JobId) -> u64 {
    let (high, low) = job.0.as_u64_pair();
    // Below 2^53: every JSON reader keeps it exact.
    (high ^ low.rotate_left(17)) & ((1 << 53) - 1)
}
