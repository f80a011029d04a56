//! For how long an attempt may go on.

use std::time::Duration;

use super::Run;
use crate::race::{Raced, race};
use crate::worker::ports::{AttemptControl as _, WorkerPorts};
use crate::worker::stop::Stop;

/// How long a worker that is asked to stop goes on with a paid result that is kept elsewhere: fetching and storing it
/// takes seconds, and if the store does not take it another worker goes on.
const DELIVERED_DRAIN: Duration = Duration::from_secs(5);

impl<P: WorkerPorts> Run<'_, P> {
    /// Resolves when the attempt has to be stopped; says why. Once the provider has delivered, its limit does not
    /// count: the work is done and paid, and what is missing is ours to do.
    pub(super) async fn out_of_time(&self, attempt: &P::Attempt, started_at_ms: i64) -> Stop {
        let (wait, stop) = self.limit(started_at_ms);
        let kept_until_ms = match race(attempt.delivered(), self.ports.sleep(wait)).await {
            Raced::Left(delivered) => delivered.kept_until_ms,
            Raced::Right(()) => return stop,
        };
        let stopped = async {
            if !self.assignment.is_paid() {
                // Free work would be done again.
                return std::future::pending().await;
            }
            self.ports.stopping().await;
            self.ports.sleep(DELIVERED_DRAIN).await;
        };
        let deadline_ms = self.assignment.job.constraints.deadline_ms;
        let (until_ms, stop) = match deadline_ms {
            Some(deadline_ms) if deadline_ms < kept_until_ms => (deadline_ms, Stop::Expired),
            _ => (kept_until_ms, Stop::NotStored),
        };
        match race(self.ports.sleep(self.until(until_ms)), stopped).await {
            Raced::Left(()) => stop,
            Raced::Right(()) => Stop::Drain,
        }
    }

    /// For how long an attempt may go on, and why it is stopped then.
    fn limit(&self, started_at_ms: i64) -> (Duration, Stop) {
        let spent_ms = (self.ports.now_ms() - started_at_ms).max(0).unsigned_abs();
        let limit = Duration::from_millis(self.assignment.timeout_ms.saturating_sub(spent_ms));
        match self.assignment.job.constraints.deadline_ms.map(|deadline_ms| self.until(deadline_ms)) {
            Some(left) if left < limit => (left, Stop::Expired),
            _ => (limit, Stop::Timeout),
        }
    }

    fn until(&self, time_ms: i64) -> Duration {
        Duration::from_millis((time_ms - self.ports.now_ms()).max(0).unsigned_abs())
    }
}
