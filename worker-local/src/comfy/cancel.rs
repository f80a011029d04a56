//! Stops one job at the server, and only that one.

use std::time::Duration;

use tokio::time::Instant;

use crate::comfy::client::{Client, ClientError};
use crate::comfy::lookup::{Place, in_queue};

/// Between two looks whether it is gone.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// An interrupt that arrives while a job is being started is lost: it is sent again.
const REPEAT_EVERY: Duration = Duration::from_millis(500);

/// Stops a job, pending or running, and returns when it has left the queue. An interrupt is noticed
/// between nodes and sampler steps, so that can take long: whoever calls this sets a limit, after which
/// the server finishes stopping by itself.
///
/// # Errors
/// The server did not answer.
pub async fn cancel(client: &Client, id: &str) -> Result<(), ClientError> {
    loop {
        ask(client, id).await?;
        let repeat = Instant::now() + REPEAT_EVERY;
        while Instant::now() < repeat {
            if in_queue(&client.queue().await?, id).is_none() {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// One request to stop, the way the server has for it.
async fn ask(client: &Client, id: &str) -> Result<(), ClientError> {
    if client.has_jobs_api().await? {
        return client.cancel_job(id).await;
    }
    client.delete_pending(id).await?;
    // Very old servers interrupt whatever runs, so it must be seen running; one job runs at a time.
    match in_queue(&client.queue().await?, id) {
        Some(Place::Running { .. }) => client.interrupt(id).await,
        _ => Ok(()),
    }
}
