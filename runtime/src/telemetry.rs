//! Logs and metrics: structured, with ids and units, without prompts and keys.

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogConfig, LogFormat};
use crate::escape::{Form, LogWriter};
use crate::exit::{Exit, Fault};
use crate::log_limit::LogLimit;
use crate::metrics;

/// Bounds of every `_seconds` histogram: from a routing decision to a long video.
const SECONDS: [f64; 14] =
    [0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0, 300.0, 1800.0];

/// Starts logging to standard error and collecting metrics. Once per process.
///
/// # Errors
/// The filter is not one, or something was started before.
pub fn start(config: &LogConfig, process: &str) -> Result<PrometheusHandle, Fault> {
    let filter = EnvFilter::try_new(&config.filter)
        .map_err(|error| Fault::new(Exit::Config, format!("configuration key `log.filter`: {error}")))?;
    let form = match config.format {
        LogFormat::Text => Form::Text,
        LogFormat::Json => Form::Json,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(SystemTime)
        .with_writer(move || LogWriter::new(std::io::stderr(), form))
        .with_ansi(false);
    let started = match config.format {
        LogFormat::Text => builder.finish().with(LogLimit::default()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).finish().with(LogLimit::default()).try_init(),
    };
    started.map_err(|error| Fault::new(Exit::Crashed, format!("logging: {error}")))?;
    let page = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| Fault::new(Exit::Crashed, format!("metrics: {error}")))?;
    metrics::describe(process);
    Ok(page)
}

/// An error with all its causes on one line.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        // Many libraries repeat the cause in their own text.
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text
}
