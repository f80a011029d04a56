//! The input of a waiting job that goes first by its age.

use std::sync::{Mutex, MutexGuard, PoisonError};

use policy::inputs::KeptInput;
use schemas::Failure;

/// The input of a job that goes first; none before it was looked up, and for a job whose inputs stay.
#[derive(Debug, Default)]
pub struct FirstToGo(Mutex<Option<KeptInput>>);

impl FirstToGo {
    fn lock(&self) -> MutexGuard<'_, Option<KeptInput>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what was looked up.
    pub(crate) fn set(&self, found: Option<KeptInput>) {
        *self.lock() = found;
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

    /// Why the job ends, if the input goes before a worker could load it.
    pub(crate) fn failure(&self, now_ms: i64) -> Option<Failure> {
        let input = self.lock();
        input.as_ref().filter(|input| input.is_going(now_ms)).map(|input| input.failure(now_ms))
    }
}
