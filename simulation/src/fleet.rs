//! The simulated fleet: servers, the provider whose workers start and stop, routers, failures, outages. Read from a
//! JSON file (`argosy simulate --fleet`), or the one of `argosy demo`.

use schemas::{Backend, Class};
use serde::{Deserialize, Serialize};

/// The simulated fleet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FleetSpec {
    /// Our workers.
    pub servers: Vec<ServerSpec>,
    /// The provider behind backends of the family `serverless`.
    #[serde(default)]
    pub serverless: ServerlessSpec,
    /// How many routers share the lanes.
    #[serde(default = "one")]
    pub routers: usize,
    /// When servers are out.
    #[serde(default)]
    pub outages: Vec<Outage>,
}

/// One worker process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSpec {
    /// Its name, unique in the fleet.
    pub name: String,
    /// The backend that it serves.
    pub backend: Backend,
    /// How many attempts it runs at once.
    #[serde(default = "one_slot")]
    pub slots: u32,
    /// How fast it is, per cent: at 50 everything takes twice as long.
    #[serde(default = "hundred")]
    pub speed_percent: u64,
    /// The classes that it makes; all that the catalog gives its backend where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<Class>>,
    /// How long it takes to load another checkpoint than the last, milliseconds.
    #[serde(default)]
    pub load_ms: u64,
    /// The pause between two attempts in a slot, milliseconds.
    #[serde(default)]
    pub gap_ms: u64,
    /// How many of a thousand attempts fail (`transient`), in the middle.
    #[serde(default)]
    pub failures_permille: u64,
}

/// A provider that bills its workers' time by the second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerlessSpec {
    /// Most workers at a time.
    pub workers: u32,
    /// Start of a cold worker, milliseconds; billed.
    pub cold_start_ms: u64,
    /// How long a worker stays warm without work, milliseconds; billed.
    pub idle_timeout_ms: u64,
}

/// A time in which servers do nothing; what they run then fails.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outage {
    /// Of which backend.
    pub backend: Backend,
    /// Of which server; of all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// From when on, milliseconds after the start.
    pub from_ms: i64,
    /// Until when.
    pub until_ms: i64,
}

impl Outage {
    /// Whether it concerns a server.
    #[must_use]
    pub fn hits(&self, server: &ServerSpec) -> bool {
        self.backend == server.backend && self.server.as_ref().is_none_or(|name| *name == server.name)
    }
}

const fn one() -> usize {
    1
}

const fn one_slot() -> u32 {
    1
}

const fn hundred() -> u64 {
    100
}

/// As the simulators of `argosy demo`.
impl Default for ServerlessSpec {
    fn default() -> Self {
        Self { workers: 4, cold_start_ms: 8_000, idle_timeout_ms: 5_000 }
    }
}

/// Why a fleet cannot be simulated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct BadFleet {
    /// The field to mend.
    pub field: String,
    /// What is wrong, and what to do.
    pub message: String,
}

/// Slots of one server, servers and routers of a fleet, at most.
const SLOTS_MAX: u32 = 1_024;
const SERVERS_MAX: usize = 1_000;
const ROUTERS_MAX: usize = 64;

impl FleetSpec {
    /// The fleet of `argosy demo`: two local slots, a cloud of four provider workers, Gemini.
    #[must_use]
    pub fn demo() -> Self {
        let server = |name: &str, backend: &str, slots, gap_ms| ServerSpec {
            name: name.to_owned(),
            backend: Backend::new(backend).unwrap_or_else(|_| unreachable!("`{backend}` is a name")),
            slots,
            speed_percent: 100,
            classes: None,
            load_ms: 0,
            gap_ms,
            failures_permille: 0,
        };
        Self {
            servers: vec![
                server("local-1", "local", 1, 25),
                server("local-2", "local", 1, 25),
                server("cloud-1", "cloud", 5, 0),
                server("gemini-1", "gemini", 8, 0),
            ],
            serverless: ServerlessSpec::default(),
            routers: 1,
            outages: Vec::new(),
        }
    }

    /// Checks what a file says.
    ///
    /// # Errors
    /// The field to mend.
    pub fn check(&self, backends: &[&Backend]) -> Result<(), BadFleet> {
        let bad = |field: String, message: String| Err(BadFleet { field, message });
        if self.servers.is_empty() || self.servers.len() > SERVERS_MAX {
            return bad("servers".into(), format!("name 1 to {SERVERS_MAX} servers"));
        }
        if self.routers == 0 || self.routers > ROUTERS_MAX {
            return bad("routers".into(), format!("{} is not within 1 to {ROUTERS_MAX}", self.routers));
        }
        for (index, server) in self.servers.iter().enumerate() {
            let field = |name: &str| format!("servers[{index}].{name}");
            if !backends.contains(&&server.backend) {
                let words = format!("`{}` is no backend of document policy", server.backend);
                return bad(field("backend"), words);
            }
            if server.name.parse::<schemas::WorkerId>().is_err() {
                return bad(field("name"), format!("`{}` is no worker's name", server.name));
            }
            if self.servers[..index].iter().any(|other| other.name == server.name) {
                return bad(field("name"), format!("`{}` is there twice", server.name));
            }
            if server.slots == 0 || server.slots > SLOTS_MAX {
                return bad(field("slots"), format!("{} is not within 1 to {SLOTS_MAX}", server.slots));
            }
            if !(1..=10_000).contains(&server.speed_percent) {
                let words = format!("{} is not within 1 to 10000", server.speed_percent);
                return bad(field("speed_percent"), words);
            }
            if server.failures_permille > 1_000 {
                let words = format!("{} is not within 0 to 1000", server.failures_permille);
                return bad(field("failures_permille"), words);
            }
        }
        if self.serverless.workers == 0 {
            return bad("serverless.workers".into(), "give it at least one worker".into());
        }
        for (index, outage) in self.outages.iter().enumerate() {
            if outage.from_ms < 0 || outage.until_ms <= outage.from_ms {
                return bad(
                    format!("outages[{index}]"),
                    "from_ms must be 0 or more and before until_ms".into(),
                );
            }
            if !self.servers.iter().any(|server| outage.hits(server)) {
                return bad(format!("outages[{index}]"), "it concerns no server of the fleet".into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setting::Setting;

    #[test]
    fn a_bad_fleet_is_refused_by_its_field() {
        let setting = Setting::default();
        let backends: Vec<&Backend> = setting.backends().collect();
        let fleet = FleetSpec::demo();
        assert_eq!(fleet.check(&backends), Ok(()));
        let field = |change: &dyn Fn(&mut FleetSpec)| {
            let mut fleet = FleetSpec::demo();
            change(&mut fleet);
            fleet.check(&backends).expect_err("bad").field
        };
        assert_eq!(field(&|fleet| fleet.servers[1].name = "local-1".into()), "servers[1].name");
        assert_eq!(field(&|fleet| fleet.servers[0].slots = 0), "servers[0].slots");
        assert_eq!(field(&|fleet| fleet.routers = 0), "routers");
        assert_eq!(field(&|fleet| fleet.servers.clear()), "servers");
        let outage = |server: Option<&str>, until_ms| Outage {
            backend: Backend::new("local").expect("a name"),
            server: server.map(str::to_owned),
            from_ms: 10,
            until_ms,
        };
        assert_eq!(field(&|fleet| fleet.outages.push(outage(None, 10))), "outages[0]");
        assert_eq!(field(&|fleet| fleet.outages.push(outage(Some("cloud-1"), 20))), "outages[0]");
    }
}
