//! What a healthy and safe fleet looks like: judgements over facts that `argosy doctor` gathers. Pure.

mod backends;
mod clocks;
mod documents;
mod identity;
mod lifetimes;
mod queue;
mod storage;

use runtime::store_room::{StoreRoom, mib};
use schemas::topology;
use serde::{Deserialize, Serialize};

pub use self::backends::backends;
pub use self::clocks::clocks;
pub use self::documents::documents;
pub use self::identity::{Connected, identity};
pub use self::lifetimes::{claims, guards, inputs};
pub use self::queue::{Asked, deliveries, ledger, parked, process, queue, routers};
pub use self::storage::{Filling, storage};

/// From this share of its limit on a stream is nearly full.
const NEARLY_FULL_PERCENT: u64 = 80;

/// An artifact store that is full in fewer days should be made larger.
const ROOM_DAYS_MIN: u64 = 3;

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It works; look at it.
    Warning,
    /// It cannot be told, so it is not called safe.
    Unknown,
    /// Something may be lost, or does not work.
    Bad,
}

impl Verdict {
    /// Its word in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Bad => "bad",
        }
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked.
    pub check: &'static str,
    /// How it went.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
}

impl Finding {
    /// What could not be looked at, because the broker or something else did not answer.
    #[must_use]
    pub fn unknown(check: &'static str, seen: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::not(Verdict::Unknown, check, seen, cure)
    }

    /// As it should be.
    #[must_use]
    pub fn good(check: &'static str, seen: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Good, seen: seen.into(), cure: None }
    }

    fn not(verdict: Verdict, check: &'static str, seen: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { check, verdict, seen: seen.into(), cure: Some(cure.into()) }
    }
}

/// What a nats-server says about itself at `/varz` of its monitoring port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Varz {
    /// Its id, made anew at each start.
    pub server_id: String,
    /// Its name.
    pub server_name: String,
    /// Its clock, in RFC 3339.
    pub now: String,
    /// The other nodes of its cluster.
    pub cluster: Cluster,
    /// JetStream.
    pub jetstream: JetStream,
}

/// A server's cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Cluster {
    /// Its name; empty on a single node.
    pub name: String,
    /// Addresses of the other nodes' routes.
    pub urls: Vec<String>,
}

/// A server's JetStream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct JetStream {
    /// Its configuration; none where JetStream is off.
    pub config: Option<JetStreamConfig>,
    /// What it uses.
    pub stats: JetStreamStats,
}

/// What a server's JetStream uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct JetStreamStats {
    /// Set aside for streams, bytes.
    pub reserved_storage: i64,
}

/// What of JetStream's configuration decides whether a write survives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct JetStreamConfig {
    /// Every write is synced before it is acknowledged.
    pub sync_always: bool,
    /// Else how often, nanoseconds.
    pub sync_interval: u64,
    /// What it may set aside for streams, bytes: part of its disk where its operator says nothing.
    pub max_storage: i64,
}

/// Whether what the broker acknowledges survives a power failure.
///
/// By default it does not: a nats-server answers when a write is in the page cache and syncs every two
/// minutes.
#[must_use]
pub fn syncing(nodes: &[Varz]) -> Finding {
    const CHECK: &str = "broker syncs";
    const SET: &str = "set `sync_interval: always` in the `jetstream` block of every node";
    if nodes.is_empty() {
        return Finding::not(
            Verdict::Unknown,
            CHECK,
            "no monitoring address is known, so nobody can tell",
            "start the server with `http: 127.0.0.1:8222` and give --monitor http://127.0.0.1:8222",
        );
    }
    for node in nodes {
        let name = &node.server_name;
        match &node.jetstream.config {
            None => return Finding::not(Verdict::Bad, CHECK, format!("{name} runs without JetStream"), SET),
            Some(config) if !config.sync_always => {
                let every_s = config.sync_interval / 1_000_000_000;
                let seen = format!(
                    "{name} acknowledges before it syncs (every {every_s} s): a power failure loses accepted jobs"
                );
                return Finding::not(Verdict::Bad, CHECK, seen, SET);
            }
            Some(_) => {}
        }
    }
    Finding::good(CHECK, format!("{} of {} nodes sync every write", nodes.len(), nodes.len()))
}

/// How many copies the streams should have on these nodes.
#[must_use]
pub fn replicas(nodes: &[Varz]) -> usize {
    let size = nodes.iter().map(|node| node.cluster.urls.len() + 1).max().unwrap_or(1).max(nodes.len());
    if size >= 3 { 3 } else { 1 }
}

/// Whether the broker is set up as this version of the fleet expects.
#[must_use]
pub fn topology(differences: &[String], replicas: usize) -> Finding {
    const CHECK: &str = "topology";
    match differences {
        [] => Finding::good(CHECK, format!("streams, consumers and buckets agree, {replicas} copies")),
        [first, rest @ ..] => Finding::not(
            Verdict::Bad,
            CHECK,
            format!(
                "{first}{}",
                if rest.is_empty() { String::new() } else { format!("; {} more", rest.len()) }
            ),
            format!("run `argosy topology apply --replicas {replicas}`"),
        ),
    }
}

/// How full a stream is, in bytes, against its limit.
#[must_use]
pub fn room(stream: &str, bytes: u64, limit: i64) -> Option<Finding> {
    let limit = u64::try_from(limit).ok().filter(|limit| *limit > 0)?;
    let percent = bytes.saturating_mul(100) / limit;
    if percent < NEARLY_FULL_PERCENT {
        return None;
    }
    let seen = format!("{stream} is {percent} % full ({bytes} of {limit} bytes)");
    let cure = match stream {
        topology::stream::EVENTS => {
            "the ledger makes room as it books: start it if it is away; `argosy topology apply --storage-bytes` makes \
             everything larger"
        }
        topology::stream::PARKED => {
            "`argosy parked list` shows them: redrive or purge them; jobs end although they are not put aside any more; \
             `argosy topology apply --storage-bytes` makes everything larger"
        }
        _ => "add workers or wait: publishers are refused when it is full, nothing is dropped",
    };
    Some(Finding::not(if percent >= 100 { Verdict::Bad } else { Verdict::Warning }, "room", seen, cure))
}

/// Whether the artifact store takes what is made, and for how long it will at the rate at which it fills.
#[must_use]
pub fn artifact_store(room: &StoreRoom) -> Finding {
    const CHECK: &str = "artifact store";
    let (Some(left), Some(limit)) = (room.left_bytes(), room.limit_bytes) else {
        return Finding::good(CHECK, format!("it has {} MiB, and no limit", mib(room.bytes)));
    };
    let seen = format!("{} of {} MiB are left", mib(left), mib(limit));
    if left < room.margin_bytes() {
        let seen = format!("{seen}: nothing new is started, since its result could not be stored");
        return Finding::not(Verdict::Bad, CHECK, seen, room.cure());
    }
    match (room.days(), room.bytes_per_day()) {
        (Some(days), Some(rate)) if days < ROOM_DAYS_MIN => {
            let seen = format!("{seen}; at {} MiB a day it is full in {days} days", mib(rate));
            Finding::not(Verdict::Warning, CHECK, seen, room.cure())
        }
        (Some(days), Some(rate)) => {
            Finding::good(CHECK, format!("{seen}; at {} MiB a day it is full in {days} days", mib(rate)))
        }
        (None, Some(rate)) => {
            Finding::good(CHECK, format!("{seen}; at {} MiB a day files go before it is full", mib(rate)))
        }
        (_, None) => Finding::good(CHECK, format!("{seen}; too little is known to tell for how long")),
    }
}

/// Whether what the database commits survives a power failure.
#[must_use]
pub fn database(durability: Option<Result<ledger_read::Durability, String>>) -> Finding {
    const CHECK: &str = "database";
    let durability = match durability {
        None => {
            let cure = "give --database or ARGOSY_LEDGER__DATABASE_URL";
            return Finding::not(Verdict::Unknown, CHECK, "no database is known", cure);
        }
        Some(Err(error)) => {
            let seen = format!("it does not answer: {error}; nothing is booked, and paid work waits");
            let cure = "start PostgreSQL, or look at why it hangs (its log, disk and locks)";
            return Finding::not(Verdict::Bad, CHECK, seen, cure);
        }
        Some(Ok(durability)) => durability,
    };
    let off: Vec<&str> = [
        ("fsync", durability.fsync),
        ("full_page_writes", durability.full_page_writes),
        ("synchronous_commit", durability.synchronous_commit),
    ]
    .into_iter()
    .filter_map(|(name, on)| (!on).then_some(name))
    .collect();
    if off.is_empty() {
        return Finding::good(CHECK, "commits are synced");
    }
    let seen = format!("{} off: a power failure may lose or tear what was booked", off.join(" and "));
    Finding::not(Verdict::Bad, CHECK, seen, "set them to `on` in postgresql.conf")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(json: &str) -> Varz {
        serde_json::from_str(json).expect("varz")
    }

    #[test]
    fn only_a_broker_that_syncs_every_write_is_called_safe() {
        let always = node(
            r#"{"server_name":"a","jetstream":{"config":{"sync_interval":120000000000,"sync_always":true}}}"#,
        );
        let default = node(r#"{"server_name":"b","jetstream":{"config":{"sync_interval":120000000000}}}"#);
        let off = node(r#"{"server_name":"c","jetstream":{}}"#);
        assert_eq!(syncing(std::slice::from_ref(&always)).verdict, Verdict::Good);
        assert_eq!(syncing(&[]).verdict, Verdict::Unknown);
        let one_of_two = syncing(&[always.clone(), default]);
        assert_eq!(one_of_two.verdict, Verdict::Bad);
        assert!(one_of_two.seen.contains("every 120 s") && one_of_two.cure.is_some(), "{one_of_two:?}");
        assert_eq!(syncing(&[always, off]).verdict, Verdict::Bad);
    }

    #[test]
    fn three_nodes_want_three_copies() {
        assert_eq!(replicas(&[]), 1);
        assert_eq!(replicas(&[node("{}")]), 1);
        assert_eq!(replicas(&[node(r#"{"cluster":{"urls":["b:1","c:1"]}}"#)]), 3);
    }

    #[test]
    fn a_stream_speaks_up_before_it_is_full() {
        assert_eq!(room("JOBS", 79, 100), None);
        assert_eq!(room("JOBS", 80, 100).map(|finding| finding.verdict), Some(Verdict::Warning));
        assert_eq!(room("JOBS", 100, 100).map(|finding| finding.verdict), Some(Verdict::Bad));
        assert_eq!(room("JOBS", 100, -1), None, "no limit");
    }

    #[test]
    fn a_store_that_fills_speaks_up_with_its_cure() {
        const GIB: u64 = 1024 * 1024 * 1024;
        let day_ms = schemas::topology::DAY_MS;
        let room = |gib: u64, days: u64| StoreRoom {
            bytes: gib * GIB,
            limit_bytes: Some(16 * GIB),
            filling_ms: days * day_ms,
            max_age_ms: 7 * day_ms,
        };
        assert_eq!(artifact_store(&room(7, 7)).verdict, Verdict::Good, "seven come and seven go");
        let soon = artifact_store(&room(12, 2));
        assert_eq!(soon.verdict, Verdict::Warning);
        assert!(soon.seen.contains("full in 0 days") && soon.seen.contains("6144 MiB a day"), "{soon:?}");
        assert_eq!(soon.cure.as_deref(), Some(&*room(12, 2).cure()));
        assert_eq!(artifact_store(&room(3, 1)).verdict, Verdict::Good, "four days");
        assert_eq!(artifact_store(&room(16, 7)).verdict, Verdict::Bad);
        let endless = StoreRoom { limit_bytes: None, ..room(16, 7) };
        assert_eq!(artifact_store(&endless).verdict, Verdict::Good);
    }

    #[test]
    fn a_database_that_does_not_sync_is_not_safe() {
        let good = ledger_read::Durability { fsync: true, full_page_writes: true, synchronous_commit: true };
        assert_eq!(database(Some(Ok(good))).verdict, Verdict::Good);
        let fast = ledger_read::Durability { fsync: false, ..good };
        let finding = database(Some(Ok(fast)));
        assert!(finding.verdict == Verdict::Bad && finding.seen.starts_with("fsync off"), "{finding:?}");
        assert_eq!(database(None).verdict, Verdict::Unknown);
        let frozen = database(Some(Err("no answer within 4 s".to_owned())));
        assert!(frozen.verdict == Verdict::Bad && frozen.cure.is_some(), "{frozen:?}");
    }
}
