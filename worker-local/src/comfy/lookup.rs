//! Where a job is at the server. Asked before anything is submitted, and while it runs.

use crate::comfy::client::{Client, ClientError};
use crate::comfy::wire::{HistoryEntry, Queue, item_client, item_id};

/// Where a job is.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// It is being worked on.
    Running {
        /// The client id it was submitted with.
        client_id: Option<String>,
    },
    /// It waits.
    Pending {
        /// The client id it was submitted with.
        client_id: Option<String>,
        /// Jobs in the queue, all together.
        waiting: usize,
    },
    /// It ended.
    Ended(Box<HistoryEntry>),
    /// The server does not know it.
    Absent,
}

/// Looks into the queue, then the history, then the queue again: between the two first looks a job may
/// move from one to the other in either direction (a pending one with the same id as a finished one).
///
/// # Errors
/// The server gave no usable answer.
pub async fn lookup(client: &Client, id: &str) -> Result<Place, ClientError> {
    if let Some(place) = in_queue(&client.queue().await?, id) {
        return Ok(place);
    }
    if let Some(entry) = client.history(id).await?.0.remove(id) {
        return Ok(Place::Ended(Box::new(entry)));
    }
    Ok(in_queue(&client.queue().await?, id).unwrap_or(Place::Absent))
}

/// Where a job is in the queue.
#[must_use]
pub fn in_queue(queue: &Queue, id: &str) -> Option<Place> {
    let is_it = |item: &&serde_json::Value| item_id(item) == Some(id);
    let client_of = |item| item_client(item).map(str::to_owned);
    if let Some(item) = queue.queue_running.iter().find(is_it) {
        return Some(Place::Running { client_id: client_of(item) });
    }
    let item = queue.queue_pending.iter().find(is_it)?;
    Some(Place::Pending { client_id: client_of(item), waiting: queue.queue_pending.len() })
}
