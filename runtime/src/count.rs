//! How many messages of a stream a filter lets through: the broker counts them for a consumer that reads none of them.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use protocol::PortError;

/// What errors name.
const WHAT: &str = "counting messages";

/// A consumer that is not deleted goes after this.
const GONE_AFTER: Duration = Duration::from_secs(30);

/// Counts messages.
///
/// # Errors
/// The stream is not there, or the broker does not answer.
pub async fn messages(jetstream: &jetstream::Context, stream: &str, filter: &str) -> Result<u64, PortError> {
    let away = |error: async_nats::Error| PortError::Away { what: WHAT, source: error };
    let stream = jetstream.get_stream_no_info(stream).await.map_err(|error| away(error.into()))?;
    let config = pull::Config {
        filter_subject: filter.to_owned(),
        ack_policy: AckPolicy::None,
        deliver_policy: DeliverPolicy::All,
        inactive_threshold: GONE_AFTER,
        memory_storage: true,
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await.map_err(|error| away(error.into()))?;
    let info = consumer.cached_info();
    let counted = info.num_pending;
    if let Err(error) = stream.delete_consumer(&info.name).await {
        tracing::debug!(%error, "deleting a consumer that counted; it goes by itself");
    }
    Ok(counted)
}
