//! A job's input files, measured before any of them is loaded.
//!
//! A job of two kilobytes may name one large file many times. So the sizes of all references are summed first,
//! as they count in the provider's request, and what exceeds its limit is refused without a load. Each file is
//! loaded once, however often it is named: an attempt holds at most its limit in memory.

use bytes::Bytes;
use schemas::{ArtifactRef, Failure, Input};

use crate::Attempt;

/// How much of input files a request takes.
#[derive(Debug, Clone, Copy)]
pub struct InputLimit {
    /// The most that all references may come to, bytes.
    pub max_bytes: u64,
    /// They travel as base64, which takes four bytes for three.
    pub is_base64: bool,
    /// Who sets the limit, for the refusal.
    pub of: &'static str,
}

impl InputLimit {
    /// What a file of this size takes of the limit, bytes.
    #[must_use]
    pub const fn cost(&self, size: u64) -> u64 {
        if self.is_base64 { size.div_ceil(3).saturating_mul(4) } else { size }
    }

    fn refused(&self, total: u64, references: usize) -> Failure {
        let form = if self.is_base64 { " as base64" } else { "" };
        let message = format!(
            "the {references} inputs come to {total} bytes{form} and {} takes {}: use fewer or smaller files",
            self.of, self.max_bytes
        );
        Failure::invalid("body.inputs", message)
    }
}

impl Attempt {
    /// Refuses inputs that exceed a limit, without loading any.
    ///
    /// # Errors
    /// `invalid_job` that names the inputs and the limit; or the failure of asking the store.
    pub async fn measure_inputs(&self, limit: &InputLimit) -> Result<(), Failure> {
        let inputs = &self.assignment.job.body.inputs;
        let mut sizes: Vec<(&ArtifactRef, u64)> = Vec::new();
        let mut total = 0_u64;
        for input in inputs {
            let known = sizes.iter().find(|(at, _)| **at == input.artifact).map(|(_, size)| *size);
            let size = match known {
                Some(size) => size,
                None => {
                    let size = self.size(input).await?;
                    sizes.push((&input.artifact, size));
                    size
                }
            };
            total = total.saturating_add(limit.cost(size));
        }
        if total > limit.max_bytes { Err(limit.refused(total, inputs.len())) } else { Ok(()) }
    }

    /// The job's inputs with their bytes, in order; each file is loaded once.
    ///
    /// # Errors
    /// As [`Attempt::measure_inputs`], or the failure of a load.
    pub async fn load_inputs(&self, limit: &InputLimit) -> Result<Vec<(&Input, Bytes)>, Failure> {
        self.measure_inputs(limit).await?;
        let mut loaded: Vec<(&Input, Bytes)> = Vec::new();
        let mut total = 0_u64;
        for input in &self.assignment.job.body.inputs {
            let known = loaded.iter().find(|(other, _)| other.artifact == input.artifact);
            let bytes = match known {
                Some((_, bytes)) => bytes.clone(),
                None => self.load(input).await?,
            };
            // It may have been stored anew since it was measured.
            total = total.saturating_add(limit.cost(bytes.len() as u64));
            if total > limit.max_bytes {
                return Err(limit.refused(total, self.assignment.job.body.inputs.len()));
            }
            loaded.push((input, bytes));
        }
        Ok(loaded)
    }
}
