//! A server that answers and gets on with nothing: its executor died, or hangs. It is out until its queue moves, so that it
//! takes one job and not one after the other.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::comfy::client::Client;
use crate::comfy::lookup::{in_queue, running};

/// Where nothing is left in the queue by which it could be seen, the server is tried again after this time.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(300);

/// What a server does not get on with.
#[derive(Debug, Default)]
pub struct Stuck(Mutex<Option<Stall>>);

#[derive(Debug, Clone)]
struct Stall {
    /// The job at the head of its queue; none where nothing ran.
    head: Option<String>,
    since: Instant,
    words: String,
}

impl Stuck {
    /// The server does not get on with `head`; with nothing at all, where it takes no job out of its queue.
    pub fn note(&self, head: Option<&str>, words: &str) {
        let stall = Stall { head: head.map(str::to_owned), since: Instant::now(), words: words.to_owned() };
        *self.lock() = Some(stall);
    }

    /// The server was away: whatever it did not get on with is gone.
    pub fn forget(&self) {
        *self.lock() = None;
    }

    /// What is wrong with the server, as long as its queue has not moved.
    pub async fn words(&self, client: &Client) -> Option<String> {
        let stall = self.lock().clone()?;
        let moves = match (client.queue().await, &stall.head) {
            (Err(_), _) => false,
            (Ok(queue), Some(head)) => in_queue(&queue, head).is_none(),
            (Ok(queue), None) => running(&queue).is_some() || stall.since.elapsed() > TRIED_AGAIN_AFTER,
        };
        if moves {
            self.forget();
        }
        (!moves).then_some(stall.words)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Stall>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
