//! Looks again and again at what should not wait where it waits ([`protocol::router::take_back`]), and at messages that
//! their consumer has passed ([`protocol::router::orphans`]).

use std::time::Duration;

use protocol::Ports as _;
use protocol::router::guards::{self, Guards};
use protocol::router::intake::refuse_unread;
use protocol::router::lost::Lost;
use protocol::router::orphans::{self, Orphans};
use protocol::router::rhythm::SWEEP_EVERY;
use protocol::router::take_back::Deserted;
use runtime::exit::Fault;
use runtime::metrics;
use runtime::trouble::Trouble;

use crate::queues;
use crate::shared::Router;

/// How often to look for orphans: an acknowledgement that is on its way makes one for a moment.
const ORPHANS_EVERY: Duration = Duration::from_secs(10);

/// How often to look at the oldest keys and cancel requests.
const GUARDS_EVERY: Duration = Duration::from_secs(10);

/// Takes waiting work back until stopped.
///
/// # Errors
/// Never.
pub async fn take_back(router: Router) -> Result<(), Fault> {
    let mut deserted = Deserted::default();
    let mut trouble = Trouble::new("taking work back");
    while !router.is_stopping() {
        let mut wait = SWEEP_EVERY;
        let queues = queues::all(&router);
        deserted.keep(&queues);
        for (backend, queue) in queues {
            match deserted.look(&router, &backend, &queue).await {
                Ok(taken) if taken.count == 0 => {}
                Ok(taken) => {
                    let (taken, served) = (taken.count, taken.is_served);
                    tracing::info!(%backend, %queue, assignments = taken, served, "took waiting work back");
                    metrics::ROUTER_TAKEN_BACK.of([backend.to_string().into()]).increment(taken);
                }
                Err(error) => wait = wait.max(trouble.failed(&format!("{backend}/{queue}: {error}"))),
            }
        }
        router.rest(wait).await;
    }
    Ok(())
}

/// Looks for orphans until stopped.
///
/// # Errors
/// Never.
pub async fn send_orphans_again(router: Router) -> Result<(), Fault> {
    let mut seen = Orphans::default();
    while !router.is_stopping() {
        match refuse_unread(&router).await {
            Ok(0) => {}
            Ok(refused) => {
                tracing::warn!(refused, "jobs lay where no lane reads: refused, see `argosy parked list`");
            }
            Err(error) => tracing::debug!(%error, "looking for jobs that no lane reads"),
        }
        for stream in orphans::STREAMS {
            if let Err(error) = seen.look(&router, stream).await {
                tracing::debug!(stream, %error, "looking for messages that no consumer delivers");
            }
        }
        router.rest(ORPHANS_EVERY).await;
    }
    Ok(())
}

/// Removes keys and cancel requests of jobs that are over until stopped.
///
/// # Errors
/// Never.
pub async fn remove_guards(router: Router, kept: Kept) -> Result<(), Fault> {
    let (mut guards, mut trouble) = (Guards::default(), Trouble::new("removing keys and cancel requests"));
    while !router.is_stopping() {
        let mut wait = GUARDS_EVERY;
        for bucket in guards::BUCKETS {
            match guards.pass(&router, bucket, kept.of(bucket)).await {
                Ok(pass) if pass.removed == 0 => {}
                Ok(pass) => {
                    tracing::debug!(bucket, entries = pass.removed, "removed what guards nothing any more");
                    metrics::ROUTER_GUARDS_REMOVED.of([bucket.into()]).increment(pass.removed);
                }
                Err(error) => wait = wait.max(trouble.failed(&format!("{bucket}: {error}"))),
            }
        }
        publish_inputs_left(&router);
        router.rest(wait).await;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
fn publish_inputs_left(router: &Router) {
    let kept_until_ms = router.room.inputs_kept_until_ms();
    let left_ms = kept_until_ms.map(|kept_until_ms| (kept_until_ms - router.now_ms()).max(0));
    metrics::INPUTS_LEFT.set(left_ms.map_or(f64::INFINITY, |left_ms| left_ms as f64 / 1_000.0));
}

/// For how long keys and cancel requests are kept at the least, milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    /// Keys.
    pub keys_ms: u64,
    /// Cancel requests.
    pub cancels_ms: u64,
}

impl Kept {
    fn of(self, bucket: &str) -> i64 {
        let kept_ms = if bucket == schemas::topology::bucket::KEYS { self.keys_ms } else { self.cancels_ms };
        i64::try_from(kept_ms).unwrap_or(i64::MAX)
    }
}

/// Looks for open jobs of which no stream holds anything until stopped.
///
/// # Errors
/// Never.
pub async fn end_lost(router: Router) -> Result<(), Fault> {
    let (mut lost, mut trouble) = (Lost::default(), Trouble::new("looking for jobs whose work was removed"));
    while !router.is_stopping() {
        let mut wait = ORPHANS_EVERY;
        if let Err(error) = lost.look_around(&router).await {
            wait = wait.max(trouble.failed(&error));
        }
        router.rest(wait).await;
    }
    Ok(())
}
