//! Asks for what `topology apply` made: what is missing is told at once, a broker that is slow or has no
//! leader just now is asked again.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};

use crate::exit::{Exit, Fault};
use crate::telemetry;

/// How often to ask again; with the pauses between them about half a minute.
const TRIES: usize = 12;

/// How the broker says that something does not exist. The client keeps the broker's error inside its kinds,
/// not among its causes, so the code is found in the words.
const NOT_FOUND: &str = "(code 404,";

/// Asks until there is an answer.
///
/// # Errors
/// [`Exit::TopologyMissing`] when it is not there, [`Exit::BrokerAbsent`] when the broker does not say.
pub(crate) async fn there<T, E, F>(what: &str, ask: impl FnMut() -> F) -> Result<T, Fault>
where
    E: std::error::Error + 'static,
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

pub(crate) fn is_missing(error: &(dyn std::error::Error + 'static)) -> bool {
    telemetry::chain(error).contains(NOT_FOUND)
}
