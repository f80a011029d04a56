//! For how long an attempt may go on.

use std::time::Duration;

use schemas::DeliveredResult;
use tokio::sync::watch;

use super::Run;
use crate::attempt::Stop;
use runtime::clock;

/// How long a worker that is asked to stop goes on with a paid result that is kept elsewhere: fetching and storing it
/// takes seconds, and if the store does not take it somebody else goes on.
const DELIVERED_DRAIN: Duration = Duration::from_secs(5);

impl Run<'_> {
    /// Resolves when the attempt has to be stopped; says why. Once the provider has delivered, its limit does not
    /// count: the work is done and paid, and what is missing is ours to do.
    pub(super) async fn out_of_time(
        &self,
        mut delivery: watch::Receiver<Option<DeliveredResult>>,
        started_at_ms: i64,
    ) -> Stop {
        let (wait, stop) = self.limit(started_at_ms);
        let delivered = async {
            match delivery.wait_for(Option::is_some).await {
                Ok(delivered) => delivered.as_ref().map(|delivered| delivered.kept_until_ms),
                Err(_) => None,
            }
        };
        let kept_until_ms = tokio::select! {
            biased;
            Some(kept_until_ms) = delivered => kept_until_ms,
            () = tokio::time::sleep(wait) => return stop,
        };
        let soft = async {
            if !self.assignment.is_paid() {
                // Free work would be done again.
                return std::future::pending().await;
            }
            self.shared.lifecycle.soft.cancelled().await;
            tokio::time::sleep(DELIVERED_DRAIN).await;
        };
        let deadline_ms = self.assignment.job.constraints.deadline_ms;
        let (until_ms, stop) = match deadline_ms {
            Some(deadline_ms) if deadline_ms < kept_until_ms => (deadline_ms, Stop::Expired),
            _ => (kept_until_ms, Stop::NotStored),
        };
        tokio::select! {
            () = tokio::time::sleep(until(until_ms)) => stop,
            () = soft => Stop::Drain,
        }
    }

    /// For how long an attempt may go on, and why it is stopped then.
    fn limit(&self, started_at_ms: i64) -> (Duration, Stop) {
        let spent_ms = (clock::now_ms() - started_at_ms).max(0).unsigned_abs();
        let limit = Duration::from_millis(self.assignment.timeout_ms.saturating_sub(spent_ms));
        match self.assignment.job.constraints.deadline_ms.map(until) {
            Some(left) if left < limit => (left, Stop::Expired),
            _ => (limit, Stop::Timeout),
        }
    }
}

fn until(time_ms: i64) -> Duration {
    Duration::from_millis((time_ms - clock::now_ms()).max(0).unsigned_abs())
}
