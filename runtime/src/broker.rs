//! The connection to the broker: patient at start, for ever afterwards.

use std::time::Duration;

use async_nats::{Event, jetstream};
use backon::{ExponentialBuilder, Retryable};
use tokio::sync::watch;

use crate::acknowledge::Acknowledger;
use crate::config::NatsConfig;
use crate::exit::{Exit, Fault};
use crate::limits::REQUEST_TIMEOUT;
use crate::loops::Loops;
use crate::publish::Publisher;
use crate::telemetry;

/// The oldest broker that has what we use (subject-wise limits, atomic expectations, message TTL).
pub const BROKER_MIN_VERSION: (u64, u64) = (2, 12);

/// A live connection.
#[derive(Clone)]
pub struct Broker {
    /// Core NATS.
    pub client: async_nats::Client,
    /// Streams and buckets.
    pub jetstream: jetstream::Context,
    /// Stores messages in streams.
    pub publisher: Publisher,
    /// Acknowledges what the process takes from its work queue.
    pub acknowledger: Acknowledger,
    /// What runs behind the connection; the end of one of them is a defect.
    pub loops: Loops,
}

impl Broker {
    /// Connects, trying again until the patience is over.
    ///
    /// # Errors
    /// [`Exit::BrokerAbsent`], [`Exit::BrokerTooOld`], or [`Exit::Config`] for an unusable credentials file.
    pub async fn connect(config: &NatsConfig, name: &str) -> Result<Self, Fault> {
        let patience = Duration::from_millis(config.connect_patience_ms);
        let retry = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(Duration::from_secs(1))
            .with_total_delay(Some(patience))
            .without_max_times();
        let (lose, lost) = watch::channel(0);
        let attempt = || async {
            let options = options(config, name, lose.clone()).await?;
            options.connect(servers(&config.url)).await.map_err(absent(config))
        };
        let client = attempt.retry(retry).when(|fault: &Fault| fault.exit == Exit::BrokerAbsent).await?;
        check_version(&client.server_info().version)?;
        let mut jetstream = jetstream::new(client.clone());
        jetstream.set_timeout(REQUEST_TIMEOUT);
        let closed = |error: async_nats::SubscribeError| Fault::new(Exit::BrokerAbsent, error.to_string());
        let loops = Loops::default();
        let opened = Publisher::open(client.clone(), lost, config.group_writes, &loops).await;
        let publisher = opened.map_err(closed)?;
        let acknowledger = Acknowledger::open(client.clone(), &loops);
        Ok(Self { client, jetstream, publisher, acknowledger, loops })
    }
}

async fn options(
    config: &NatsConfig,
    name: &str,
    lose: watch::Sender<u64>,
) -> Result<async_nats::ConnectOptions, Fault> {
    crate::tls::install();
    let options = async_nats::ConnectOptions::new()
        .name(format!("argosy {name}"))
        .connection_timeout(REQUEST_TIMEOUT)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .ping_interval(Duration::from_secs(10))
        .max_reconnects(None)
        .reconnect_delay_callback(|attempts| {
            Duration::from_millis(50u64.saturating_mul(1 << attempts.min(5)).min(1_000))
        })
        .event_callback(move |event| {
            if event == Event::Disconnected {
                lose.send_modify(|times| *times += 1);
            }
            async move { tracing::info!(connection = %event, "broker") }
        });
    match &config.credentials_file {
        None => Ok(options),
        Some(file) => options.credentials_file(file).await.map_err(|error| {
            let message = format!("configuration key `nats.credentials_file`: {}: {error}", file.display());
            Fault::new(Exit::Config, message)
        }),
    }
}

/// The addresses of a setting with one or several: a client goes on with another when its own is gone.
fn servers(url: &str) -> Vec<&str> {
    url.split(',').map(str::trim).filter(|one| !one.is_empty()).collect()
}

fn absent(config: &NatsConfig) -> impl Fn(async_nats::ConnectError) -> Fault + '_ {
    |error| {
        let cure = "start nats-server with JetStream, or set ARGOSY_NATS__URL";
        let message = format!("no broker at {}: {}; {cure}", config.url, telemetry::chain(&error));
        Fault::new(Exit::BrokerAbsent, message)
    }
}

fn check_version(version: &str) -> Result<(), Fault> {
    let mut numbers = version.split(['.', '-']).map(|part| part.parse::<u64>().unwrap_or_default());
    let found = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    if found >= BROKER_MIN_VERSION {
        return Ok(());
    }
    let (major, minor) = BROKER_MIN_VERSION;
    let message = format!("nats-server {version} is too old: Argosy needs {major}.{minor} or newer");
    Err(Fault::new(Exit::BrokerTooOld, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_addresses_are_separated_by_commas() {
        use async_nats::ToServerAddrs as _;
        let hosts =
            |url| servers(url).to_server_addrs().map(|all| all.map(|one| one.port()).collect::<Vec<_>>());
        assert_eq!(hosts("nats://a:1").ok(), Some(vec![1]));
        assert_eq!(hosts("nats://a:1, nats://b:2,nats://c:3,").ok(), Some(vec![1, 2, 3]));
    }

    #[test]
    fn old_brokers_are_refused_by_name() {
        for (version, fits) in
            [("2.9.10", false), ("2.11.99", false), ("2.12.0", true), ("2.15.1", true), ("3.0.0-beta", true)]
        {
            assert_eq!(check_version(version).is_ok(), fits, "{version}");
        }
        let fault = check_version("2.9.10").expect_err("too old");
        assert_eq!((fault.exit, fault.message.contains("2.9.10")), (Exit::BrokerTooOld, true));
    }
}
