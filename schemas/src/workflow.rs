//! ComfyUI workflows in API format: told from the other format, and read for what they need. A prompt becomes one by
//! the catalog ([`crate::catalog::Model::render`]). Pure text work; talking to a server is the workers' business.

mod error;
pub mod files;
mod met;
pub mod needs;
pub mod nodes;
mod prefix;

use crate::JobId;

pub use self::error::{DEPTH_MAX, WorkflowError};
pub use self::met::Met;
pub use self::needs::{Candidate, Requirements, is_within, requirements};
pub use self::prefix::{asked_prefix, set_prefix};

/// A seed that every party derives alike from the job's id.
#[must_use]
pub fn seed_of(job: JobId) -> u64 {
    let (high, low) = job.0.as_u64_pair();
    // Below 2^53: every JSON reader keeps it exact.
    (high ^ low.rotate_left(17)) & ((1 << 53) - 1)
}
