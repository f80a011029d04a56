//! The question to the ledger, where it listens.

use async_nats::client::{RequestError, RequestErrorKind};
use async_nats::{Client, Message};
use bytes::Bytes;
use schemas::subjects;

/// Asks the ledger to reserve. One of release 0.1.0 listens on another subject: where no process listens on the first, the
/// broker says so at once, and that one is asked.
///
/// # Errors
/// No ledger is there, or it does not answer.
pub async fn ask(client: &Client, question: Bytes) -> Result<Message, RequestError> {
    match client.request(subjects::FLEET_RESERVE, question.clone()).await {
        Err(error) if error.kind() == RequestErrorKind::NoResponders => {
            client.request(subjects::FLEET_RESERVE_BEFORE, question).await
        }
        answered => answered,
    }
}
