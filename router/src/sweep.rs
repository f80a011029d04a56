//! Looks again and again at what should not wait where it waits ([`protocol::router::take_back`]), and at messages that
//! their consumer has passed ([`protocol::router::orphans`]).

use std::time::Duration;

use protocol::Ports as _;
use protocol::router::intake::refuse_unread;
use protocol::router::lost::Lost;
use protocol::router::orphans::{self, Orphans};
use protocol::router::take_back::Deserted;
use runtime::exit::Fault;
use runtime::metrics;
use runtime::trouble::Trouble;

use crate::fleet::services;
use crate::shared::Router;

/// How often to look at waiting work.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often to look for orphans: an acknowledgement that is on its way makes one for a moment.
const ORPHANS_EVERY: Duration = Duration::from_secs(10);

/// Takes waiting work back until stopped.
///
/// # Errors
/// Never.
pub async fn take_back(router: Router) -> Result<(), Fault> {
    let mut deserted = Deserted::default();
    let mut trouble = Trouble::new("taking work back");
    while !router.is_stopping() {
        let mut wait = LOOK_EVERY;
        for (backend, class) in services(&router) {
            match deserted.look(&router, &backend, &class).await {
                Ok(taken) if taken.count == 0 => {}
                Ok(taken) => {
                    let (taken, served) = (taken.count, taken.is_served);
                    tracing::info!(%backend, %class, assignments = taken, served, "took waiting work back");
                    metrics::ROUTER_TAKEN_BACK.of([backend.to_string().into()]).increment(taken);
                }
                Err(error) => wait = wait.max(trouble.failed(&format!("{backend}/{class}: {error}"))),
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
