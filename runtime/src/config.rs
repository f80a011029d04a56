//! Configuration: one TOML file and the environment, checked before anything connects.
//!
//! Environment variables override the file: `ARGOSY_NATS__URL` is `url` of section `[nats]`. A key that
//! nobody knows is refused, in the file and in the environment, because a mistyped limit is worse than
//! a missing one. Every process reads the same file and takes its own sections.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::address::Address;
use crate::exit::{Exit, Fault};
pub use crate::secret::Secret;

/// Sections that exist in the fleet. Those of other processes are skipped, all else is refused.
const SECTIONS: [&str; 12] = [
    "nats", "http", "log", "shutdown", "clock", "worker", "router", "ledger", "comfyui", "runpod", "gemini",
    "null",
];

/// Those that every process has.
const COMMON: [&str; 5] = ["nats", "http", "log", "shutdown", "clock"];

/// Prefix of environment variables that are configuration.
const PREFIX: &str = "ARGOSY_";

/// What every process has.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Common {
    /// The broker.
    pub nats: NatsConfig,
    /// The pages `/livez`, `/readyz`, `/metrics`.
    pub http: HttpConfig,
    /// Logs.
    pub log: LogConfig,
    /// Stopping.
    pub shutdown: ShutdownConfig,
    /// The clock.
    pub clock: ClockConfig,
}

/// The clock.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClockConfig {
    /// What this machine's clock is taken to be ahead by, milliseconds: a wrong clock, for drills and tests only.
    pub shift_ms: i64,
}

/// The broker, and the credentials for it. Every program reads the same keys, `argosy` included.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NatsConfig {
    /// For example `nats://127.0.0.1:4222`; several separated by commas; `tls://` where the broker wants TLS. It
    /// may hold user and password, or a token: they are never printed.
    pub url: Address,
    /// A credentials file, where the broker wants one.
    pub credentials_file: Option<PathBuf>,
    /// The user, where the broker wants one and the address does not name it.
    pub user: String,
    /// The user's password; set it in the environment.
    pub password: Secret,
    /// Certificate authorities that are trusted beside the usual ones (PEM).
    pub ca_file: Option<PathBuf>,
    /// How long to go on trying at start, milliseconds.
    pub connect_patience_ms: u64,
    /// Write what is published at the same time in one batch: for a single node that syncs every write
    /// (`sync_interval: always`). Measured for that case alone.
    pub group_writes: bool,
}

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".into(),
            credentials_file: None,
            user: String::new(),
            password: Secret::default(),
            ca_file: None,
            connect_patience_ms: 10_000,
            group_writes: false,
        }
    }
}

/// The pages `/livez`, `/readyz`, `/metrics`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where to write the port, once listening.
    pub port_file: Option<PathBuf>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 0)), port_file: None }
    }
}

/// Logs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `text` for people, `json` for collectors.
    pub format: LogFormat,
    /// For example `info,router=debug`.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For collectors.
    Json,
}

/// Stopping.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShutdownConfig {
    /// How long running work may go on after the first signal, milliseconds.
    pub grace_ms: u64,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { grace_ms: 25_000 }
    }
}

/// Where configuration comes from. The environment is a map, so that tests bring their own.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The file's name and text, if there is one.
    pub file: Option<(PathBuf, String)>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
}

impl Source {
    /// The file given (or named by `ARGOSY_CONFIG`) and this process's environment.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn from_process(file: Option<&Path>) -> Result<Self, Fault> {
        let env: BTreeMap<String, String> =
            std::env::vars().filter(|(name, _)| name.starts_with(PREFIX)).collect();
        let path = file.map(Path::to_owned).or_else(|| env.get("ARGOSY_CONFIG").map(PathBuf::from));
        let file = match path {
            None => None,
            Some(path) => match std::fs::read_to_string(&path) {
                Ok(text) => Some((path, text)),
                Err(error) => {
                    return Err(wrong(format!("cannot read the configuration {}: {error}", path.display())));
                }
            },
        };
        Ok(Self { file, env })
    }

    /// Reads the common sections and the process's own, `T` having one field per own section.
    ///
    /// # Errors
    /// [`Exit::Config`], naming the key.
    pub fn load<T: DeserializeOwned>(&self, own: &[&str]) -> Result<(Common, T), Fault> {
        let mut table = self.table()?;
        let mut common = Table::new();
        let mut mine = Table::new();
        for (section, value) in std::mem::take(&mut table) {
            if COMMON.contains(&section.as_str()) {
                common.insert(section, value);
            } else if own.contains(&section.as_str()) {
                mine.insert(section, value);
            } else if !SECTIONS.contains(&section.as_str()) {
                return Err(wrong(format!(
                    "section `{section}` is not known: the sections are {}",
                    SECTIONS.join(", ")
                )));
            }
        }
        Ok((self.read(common)?, self.read(mine)?))
    }

    /// Whether a key was set, in the file or in the environment.
    ///
    /// # Errors
    /// As [`Source::load`].
    pub fn has(&self, section: &str, key: &str) -> Result<bool, Fault> {
        Ok(self.table()?.get(section).is_some_and(|section| section.get(key).is_some()))
    }

    fn read<T: DeserializeOwned>(&self, table: Table) -> Result<T, Fault> {
        serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
            let key = error.path().to_string();
            let file =
                self.file.as_ref().map_or_else(String::new, |(path, _)| format!(" ({})", path.display()));
            let reason = error.into_inner().to_string();
            let reason = reason.lines().next().unwrap_or_default().to_owned();
            wrong(format!("configuration key `{key}`{file}: {reason}"))
        })
    }

    fn table(&self) -> Result<Table, Fault> {
        let mut table = match &self.file {
            None => Table::new(),
            Some((path, text)) => text
                .parse::<Table>()
                .map_err(|error| wrong(format!("{} is not TOML: {}", path.display(), error.message())))?,
        };
        for (name, text) in &self.env {
            let Some((section, key)) = section_and_key(name) else { continue };
            if !SECTIONS.contains(&section.as_str()) {
                return Err(wrong(format!("environment variable {name} names no section we know")));
            }
            let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            let Some(section) = section.as_table_mut() else {
                return Err(wrong(format!("{name}: the file has a plain value in place of the section")));
            };
            section.insert(key, value_of(text));
        }
        Ok(table)
    }
}

/// `ARGOSY_NATS__URL` to `nats`, `url`; variables without `__` are not configuration keys.
fn section_and_key(name: &str) -> Option<(String, String)> {
    let (section, key) = name.strip_prefix(PREFIX)?.split_once("__")?;
    Some((section.to_ascii_lowercase(), key.to_ascii_lowercase()))
}

/// Numbers, booleans and arrays as TOML would read them, everything else as text. A text that looks
/// like a number is written in quotes.
fn value_of(text: &str) -> Value {
    let parsed = format!("v = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("v"));
    match parsed {
        Some(value) if !value.is_datetime() && !value.is_table() => value,
        _ => Value::String(text.to_owned()),
    }
}

fn wrong(message: String) -> Fault {
    Fault::new(Exit::Config, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Own {
        router: RouterSection,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct RouterSection {
        lanes: u32,
        key: Secret,
    }

    fn source(file: &str, env: &[(&str, &str)]) -> Source {
        Source {
            file: Some((PathBuf::from("argosy.toml"), file.to_owned())),
            env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        }
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let file = "[nats]\nurl = \"nats://a:1\"\n[router]\nlanes = 2\n[gemini]\napi_key = \"x\"\n";
        let env =
            [("ARGOSY_NATS__URL", "nats://b:2"), ("ARGOSY_ROUTER__LANES", "3"), ("ARGOSY_PG_BIN", "/x")];
        let (common, own): (Common, Own) = source(file, &env).load(&["router"]).expect("loads");
        assert_eq!(common.nats.url.expose(), "nats://b:2");
        assert_eq!(own.router.lanes, 3);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("[router]\nlane = 2\n", None, "configuration key `router.lane`"),
            ("[router]\nlanes = \"two\"\n", None, "configuration key `router.lanes`"),
            ("[ruoter]\nlanes = 2\n", None, "section `ruoter` is not known"),
            ("x", None, "argosy.toml is not TOML"),
            ("", Some(("ARGOSY_NTAS__URL", "x")), "environment variable ARGOSY_NTAS__URL names no section"),
            ("", Some(("ARGOSY_NATS__ULR", "x")), "configuration key `nats.ulr`"),
        ];
        for (file, env, words) in cases {
            let env: Vec<_> = env.into_iter().collect();
            let fault = source(file, &env).load::<Own>(&["router"]).expect_err(words);
            assert_eq!(fault.exit, Exit::Config);
            assert!(fault.message.contains(words), "{} / {words}", fault.message);
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let env = [("ARGOSY_ROUTER__KEY", "sk-hush")];
        let (_, own): (Common, Own) = source("", &env).load(&["router"]).expect("loads");
        assert_eq!(own.router.key.expose(), "sk-hush");
        assert!(!format!("{own:?}").contains("hush"));
        let env = [("ARGOSY_NATS__URL", "nats://svc:hush@b:2"), ("ARGOSY_NATS__PASSWORD", "hush")];
        let (common, _): (Common, Own) = source("", &env).load(&["router"]).expect("loads");
        assert!(!format!("{common:?}").contains("hush"));
    }

    #[test]
    fn a_secret_of_digits_is_not_quoted_in_its_refusal() {
        let keys = [
            ("ARGOSY_NATS__PASSWORD", "password"),
            ("ARGOSY_NATS__URL", "url"),
            ("ARGOSY_ROUTER__KEY", "key"),
        ];
        for (name, key) in keys {
            for value in ["31415926", "31415926.5", "-31415926", "[31415926]"] {
                let fault = source("", &[(name, value)]).load::<Own>(&["router"]).expect_err(name);
                assert!(
                    fault.message.contains(key) && !fault.message.contains("31415926"),
                    "{}",
                    fault.message
                );
            }
            assert!(source("", &[(name, "\"31415926\"")]).load::<Own>(&["router"]).is_ok(), "{name}");
        }
    }
}
