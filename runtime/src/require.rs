//! Asks for what `topology apply` made: what is missing is reported at once; a broker that is slow or has no leader
//! just now is asked again.

use std::error::Error;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{GetStreamError, GetStreamErrorKind};
use async_nats::jetstream::stream::{
    ConsumerError, ConsumerErrorKind, LastRawMessageError, LastRawMessageErrorKind,
};
use backon::{ExponentialBuilder, Retryable};

use crate::exit::{Exit, Fault};
use crate::telemetry;

/// How often to ask again; with the pauses between them about half a minute.
const TRIES: usize = 12;

/// The broker's status for what does not exist.
const NOT_FOUND: usize = 404;

/// Asks until there is an answer.
///
/// # Errors
/// [`Exit::TopologyMissing`] when it is not there, [`Exit::BrokerAbsent`] when the broker does not say.
pub(crate) async fn require<T, E, F>(what: &str, ask: impl FnMut() -> F) -> Result<T, Fault>
where
    E: Error + 'static,
    F: Future<Output = Result<T, E>>,
{
    let pauses = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(4))
        .with_max_times(TRIES);
    let asked = ask.retry(pauses).when(|error| !is_missing(error)).await;
    asked.map_err(|error| {
        let words = telemetry::chain(&error);
        if is_missing(&error) {
            return Fault::new(
                Exit::TopologyMissing,
                format!("{what}: {words}; run `argosy topology apply`"),
            );
        }
        Fault::new(Exit::BrokerAbsent, format!("{what}: the broker does not answer: {words}"))
    })
}

/// The broker answered that what was asked for does not exist.
pub(crate) fn is_missing(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |cause| (*cause).source())
        .filter_map(broker_error)
        .any(|error| error.code() == NOT_FOUND)
}

/// The broker answered that it has no room for what was to be stored.
pub(crate) fn is_full(error: &(dyn Error + 'static)) -> bool {
    const FULL: [ErrorCode; 4] = [
        ErrorCode::STREAM_STORE_FAILED,
        ErrorCode::STORAGE_RESOURCES_EXCEEDED,
        ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
        ErrorCode::INSUFFICIENT_RESOURCES,
    ];
    std::iter::successors(Some(error), |cause| (*cause).source())
        .filter_map(|cause| cause.downcast_ref::<jetstream::Error>())
        .any(|error| FULL.contains(&error.error_code()))
}

/// The broker's own error. The client keeps it inside the kind of its error, not among the causes.
fn broker_error(error: &(dyn Error + 'static)) -> Option<jetstream::Error> {
    if let Some(error) = error.downcast_ref::<GetStreamError>()
        && let GetStreamErrorKind::JetStream(inner) = error.kind()
    {
        return Some(inner);
    }
    if let Some(error) = error.downcast_ref::<ConsumerError>()
        && let ConsumerErrorKind::JetStream(inner) = error.kind()
    {
        return Some(inner);
    }
    if let Some(error) = error.downcast_ref::<LastRawMessageError>()
        && let LastRawMessageErrorKind::JetStream(inner) = error.kind()
    {
        return Some(inner);
    }
    None
}

#[cfg(test)]
mod tests {
    use async_nats::jetstream::context::{KeyValueError, KeyValueErrorKind, PublishError, PublishErrorKind};
    use async_nats::jetstream::kv::{CreateError, EntryError, EntryErrorKind, UpdateError, UpdateErrorKind};

    use super::*;

    fn broker(code: usize) -> jetstream::Error {
        let words = "stream not found (code 404, error code 10059)";
        let wire = serde_json::json!({"code": code, "err_code": 10_059, "description": words});
        serde_json::from_value(wire).expect("an error as the broker writes it")
    }

    #[test]
    fn what_is_missing_is_known_by_its_code_wherever_the_client_keeps_it() {
        for (code, missing) in [(404, true), (503, false), (500, false)] {
            let of_stream = GetStreamError::new(GetStreamErrorKind::JetStream(broker(code)));
            assert_eq!(is_missing(&of_stream), missing, "{of_stream}");
            let of_bucket = KeyValueError::with_source(KeyValueErrorKind::GetBucket, of_stream);
            assert_eq!(is_missing(&of_bucket), missing, "{of_bucket}");
            let of_consumer = ConsumerError::new(ConsumerErrorKind::JetStream(broker(code)));
            assert_eq!(is_missing(&of_consumer), missing, "{of_consumer}");
            let of_message = LastRawMessageError::new(LastRawMessageErrorKind::JetStream(broker(code)));
            let of_entry = EntryError::with_source(EntryErrorKind::Other, of_message);
            assert_eq!(is_missing(&of_entry), missing, "{of_entry}");
        }
    }

    #[test]
    fn a_full_bucket_is_known_by_its_code_behind_the_errors_of_the_client() {
        for (code, full) in [(10_077, true), (10_047, true), (10_071, false), (10_059, false)] {
            let wire =
                serde_json::json!({"code": 503, "err_code": code, "description": "maximum bytes exceeded"});
            let broker: jetstream::Error =
                serde_json::from_value(wire).expect("an error as the broker writes it");
            let publish = PublishError::with_source(PublishErrorKind::Other, broker);
            let update = UpdateError::from(publish);
            assert_eq!(is_full(&update), full, "{code}");
            assert_eq!(is_full(&CreateError::from(update)), full, "{code}");
        }
        let slow = UpdateError::with_source(UpdateErrorKind::Other, "maximum bytes exceeded");
        assert!(!is_full(&slow), "words decide nothing");
    }

    #[test]
    fn words_decide_nothing() {
        let words = "stream not found (code 404, error code 10059)";
        let slow = GetStreamError::with_source(GetStreamErrorKind::Request, words);
        assert!(!is_missing(&slow), "{slow}");
        let slow = ConsumerError::with_source(ConsumerErrorKind::Other, words);
        assert!(!is_missing(&slow), "{slow}");
    }
}
