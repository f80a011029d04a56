//! Input files of jobs that wait in a router's hands: the first that goes by its age is remembered, and looked up again
//! before the job is ended for it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use policy::inputs::KeptInput;
use schemas::{Failure, Job};

use crate::errors::PortError;
use crate::router::ports::RouterPorts;

/// The input of a job that goes first; none before it was looked up, and for a job whose inputs stay.
#[derive(Debug, Default)]
pub struct FirstToGo(Mutex<Option<KeptInput>>);

impl FirstToGo {
    fn lock(&self) -> MutexGuard<'_, Option<KeptInput>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the input goes, Unix milliseconds.
    #[must_use]
    pub fn kept_until_ms(&self) -> Option<i64> {
        self.lock().as_ref().map(|input| input.kept_until_ms)
    }

    /// Whether the input goes before a worker could load it.
    #[must_use]
    pub fn is_going(&self, now_ms: i64) -> bool {
        self.lock().as_ref().is_some_and(|input| input.is_going(now_ms))
    }

    /// When the input goes, in words, where that is soon.
    #[must_use]
    pub fn warning(&self, now_ms: i64) -> Option<String> {
        self.lock().as_ref()?.warning(now_ms)
    }

    fn failure(&self, now_ms: i64) -> Option<Failure> {
        let input = self.lock();
        input.as_ref().filter(|input| input.is_going(now_ms)).map(|input| input.failure(now_ms))
    }
}

/// Looks up until when the inputs of a job are kept. One that is not there may yet come; its worker says so if it does not.
pub(crate) async fn look<P: RouterPorts>(ports: &P, job: &Job, first: &FirstToGo) {
    match first_to_go(ports, job).await {
        Ok(found) => *first.lock() = found,
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
            *first.lock() = found;
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
