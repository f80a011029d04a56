//! A message to the broker, with a place for its answer.

use std::task::Poll;

use async_nats::HeaderMap;

use super::acks::{Acks, Awaited, Unanswered};
use super::message::Message;
use crate::limits::REQUEST_TIMEOUT;

/// The connection, and the inbox for the answers.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    pub(super) client: async_nats::Client,
    pub(super) acks: Acks,
}

impl Wire {
    /// Sends a message that is answered.
    pub(super) async fn ask(&self, message: &Message, headers: HeaderMap) -> Result<Awaited, Unanswered> {
        let (reply, awaited) = self.acks.expect();
        let sent = self.client.publish_with_reply_and_headers(
            message.subject.clone(),
            reply,
            headers,
            message.payload.clone(),
        );
        soon(sent).await.map(|()| awaited)
    }

    /// Sends a message that is not answered: one inside a group.
    pub(super) async fn tell(&self, message: &Message, headers: HeaderMap) -> Result<(), Unanswered> {
        soon(self.client.publish_with_headers(message.subject.clone(), headers, message.payload.clone()))
            .await
    }
}

async fn soon(
    sent: impl Future<Output = Result<(), async_nats::client::PublishError>>,
) -> Result<(), Unanswered> {
    let mut sent = std::pin::pin!(sent);
    let sent = match futures::poll!(&mut sent) {
        Poll::Ready(sent) => Ok(sent),
        // The queue to a broker that is away fills up; then this is a broker that does not answer.
        Poll::Pending => tokio::time::timeout(REQUEST_TIMEOUT, sent).await,
    };
    match sent {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Unanswered::NotSent(error)),
        Err(_) => Err(Unanswered::Silent),
    }
}
