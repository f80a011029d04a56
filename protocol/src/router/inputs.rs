//! Input files of jobs that wait in a router's hands: the first that goes by its age is remembered, and looked up again
//! before the job is ended for it.

use policy::inputs::KeptInput;
use schemas::{Failure, Job};

use crate::errors::PortError;
use crate::router::first_to_go::FirstToGo;
use crate::router::ports::RouterPorts;

/// Looks up until when the inputs of a job are kept. One that is not there may yet come; its worker says so if it does not.
pub(crate) async fn look<P: RouterPorts>(ports: &P, job: &Job, first: &FirstToGo) {
    match first_to_go(ports, job).await {
        Ok(found) => first.set(found),
        // The job waits on, and its worker finds out.
        Err(error) => tracing::debug!(job = %job.id, %error, "looking up until when inputs are kept"),
    }
}

/// Why a job that waits ends, if it does: an input goes, and was not stored anew meanwhile.
pub(crate) async fn ends<P: RouterPorts>(ports: &P, job: &Job, first: &FirstToGo) -> Option<Failure> {
    let before = first.failure(ports.now_ms())?;
    match first_to_go(ports, job).await {
        // Gone between the two looks: it is not there to be looked up.
        Ok(None) => Some(before),
        Ok(found) => {
            first.set(found);
            first.failure(ports.now_ms())
        }
        Err(error) => {
            tracing::debug!(job = %job.id, %error, "looking up until when inputs are kept");
            None
        }
    }
}

async fn first_to_go<P: RouterPorts>(ports: &P, job: &Job) -> Result<Option<KeptInput>, PortError> {
    let mut found: Option<KeptInput> = None;
    for input in &job.body.inputs {
        let Some((stored_at_ms, kept_until_ms)) = ports.input_kept(input).await? else { continue };
        if found.as_ref().is_none_or(|first| kept_until_ms < first.kept_until_ms) {
            found = Some(KeptInput { name: input.name.clone(), stored_at_ms, kept_until_ms });
        }
    }
    Ok(found)
}
