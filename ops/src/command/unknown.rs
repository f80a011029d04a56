//! An id that is known nowhere.

use crate::exit::DoesNotHold;
use schemas::JobId;

/// No router, no lane and no event knows the id.
pub(crate) fn unknown(job: JobId) -> anyhow::Error {
    DoesNotHold(format!("job {job} is unknown: nothing is known of this id")).into()
}
