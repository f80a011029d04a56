//! The connection to the broker: patient at start, for ever afterwards.

use std::time::Duration;

use async_nats::{Event, jetstream};
use backon::{ExponentialBuilder, Retryable};
use tokio::sync::watch;

use crate::acknowledge::Acknowledger;
use crate::address::Address;
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
        let mut is_told = false;
        let tell = |fault: &Fault, _| {
            if !std::mem::replace(&mut is_told, true) {
                tracing::warn!("waiting for the broker, up to {} s: {fault}", patience.as_secs_f32());
            }
        };
        let is_absent = |fault: &Fault| fault.exit == Exit::BrokerAbsent;
        let client = attempt.retry(retry).when(is_absent).notify(tell).await?;
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
    let options = match &config.ca_file {
        None => options,
        Some(file) => options.add_root_certificates(file.clone()),
    };
    let options = match credentials(config)? {
        Credentials::None => options,
        Credentials::User(user, password) => options.user_and_password(user, password),
        Credentials::Token(token) => options.token(token),
    };
    match &config.credentials_file {
        None => Ok(options),
        Some(file) => options.credentials_file(file).await.map_err(|error| {
            let message = format!("configuration key `nats.credentials_file`: {}: {error}", file.display());
            Fault::new(Exit::Config, message)
        }),
    }
}

/// Who we are to the broker, where no credentials file says it.
#[derive(PartialEq, Eq)]
enum Credentials {
    None,
    User(String, String),
    Token(String),
}

/// Credentials of the keys, else of the address. They go to every node alike, also to those that the broker names later.
fn credentials(config: &NatsConfig) -> Result<Credentials, Fault> {
    let mut found = Credentials::None;
    if !config.user.is_empty() {
        found = Credentials::User(config.user.clone(), config.password.expose().to_owned());
    }
    for (user, password) in config.url.parts().filter_map(|part| part.credentials()) {
        let of_address = match password {
            Some(password) => Credentials::User(user, password),
            None => Credentials::Token(user),
        };
        if found != Credentials::None && found != of_address {
            let message = "configuration key `nats.url`: its addresses, or it and `nats.user`, name different users: \
                           one user connects to all nodes";
            return Err(Fault::new(Exit::Config, message));
        }
        found = of_address;
    }
    Ok(found)
}

/// The addresses of a setting with one or several, without what is secret: a client goes on with another when its own
/// is gone.
fn servers(url: &Address) -> Vec<String> {
    url.parts().map(|part| part.bare()).collect()
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
        let hosts = |url: &str| {
            servers(&Address::new(url))
                .to_server_addrs()
                .map(|all| all.map(|one| one.port()).collect::<Vec<_>>())
        };
        assert_eq!(hosts("nats://a:1").ok(), Some(vec![1]));
        assert_eq!(hosts("nats://a:1, nats://b:2,nats://c:3,").ok(), Some(vec![1, 2, 3]));
    }

    #[test]
    fn credentials_of_keys_and_address_agree_or_are_refused() {
        let config = |url: &str, user: &str| NatsConfig {
            url: url.into(),
            user: user.to_owned(),
            password: crate::config::Secret::new("hush"),
            ..NatsConfig::default()
        };
        let user = || Some(Credentials::User("svc".to_owned(), "hush".to_owned()));
        let cases = [
            ("nats://a:1,nats://b:2", "", Some(Credentials::None)),
            ("nats://a:1,nats://b:2", "svc", user()),
            ("nats://svc:hush@a:1,nats://b:2", "", user()),
            ("nats://svc:hush@a:1,nats://svc:hush@b:2", "svc", user()),
            ("tls://t0ken@a", "", Some(Credentials::Token("t0ken".to_owned()))),
            ("nats://svc:hush@a:1,nats://svc:other@b:2", "", None),
            ("nats://svc:hush@a:1", "somebody", None),
        ];
        for (url, name, expected) in cases {
            let found = credentials(&config(url, name));
            let words = found.as_ref().err().map(ToString::to_string).unwrap_or_default();
            assert!(found.ok() == expected, "{url} {name}: {words}");
            assert!(!words.contains("hush"), "{words}");
        }
        assert_eq!(servers(&"nats://svc:hush@a:1, tls://b".into()), ["nats://a:1", "tls://b"]);
    }

    #[tokio::test]
    async fn an_absent_broker_is_named_without_its_password() {
        let url = "nats://svc:hush@127.0.0.1:1,nats://svc:hush@127.0.0.1:2".into();
        let config = NatsConfig { url, connect_patience_ms: 1, ..NatsConfig::default() };
        let Err(fault) = Broker::connect(&config, "test").await else { panic!("nobody is there") };
        assert_eq!(fault.exit, Exit::BrokerAbsent);
        assert!(fault.message.contains("no broker at nats://***@127.0.0.1:1"), "{fault}");
        assert!(!fault.message.contains("hush"), "{fault}");
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
