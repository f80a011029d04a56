//! The options of every command.

use clap::Args;
use runtime::address::Address;
use runtime::config::Secret;
use std::path::PathBuf;

/// The heading of the options that say where the fleet is.
const CONNECTION: &str = "Connection";

/// What holds for every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// The broker; as the services are configured when absent, else the running fleet of this folder, else
    /// nats://127.0.0.1:4222. Credentials come from ARGOSY_NATS__CREDENTIALS_FILE, ARGOSY_NATS__USER and
    /// ARGOSY_NATS__PASSWORD, or the [nats] section of the file ARGOSY_CONFIG, as for every process.
    #[arg(
        long,
        global = true,
        env = "ARGOSY_NATS__URL",
        hide_env_values = true,
        value_name = "URL",
        help_heading = CONNECTION
    )]
    pub(super) nats: Option<Address>,
    /// Write many messages at once: for a broker of one node that syncs every write.
    #[arg(long, global = true, env = "ARGOSY_NATS__GROUP_WRITES", help_heading = CONNECTION)]
    pub(super) group_writes: bool,
    /// The ledger's database; the running fleet's when absent.
    #[arg(
        long,
        global = true,
        env = "ARGOSY_LEDGER__DATABASE_URL",
        hide_env_values = true,
        value_name = "URL",
        help_heading = CONNECTION
    )]
    pub(super) database: Option<Secret>,
    /// JSON for programs, one value a line.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// The folder with `.argosy`; searched upwards from here when absent.
    #[arg(long, global = true, value_name = "DIR", help_heading = CONNECTION)]
    pub(super) root: Option<PathBuf>,
}
