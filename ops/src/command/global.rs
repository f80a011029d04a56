//! The options of every command.

use clap::Args;
use std::path::PathBuf;

/// What holds for every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// The broker; the running fleet of this folder when absent, else nats://127.0.0.1:4222.
    #[arg(long, global = true, env = "ARGOSY_NATS__URL", hide_env_values = true, value_name = "URL")]
    pub(super) nats: Option<String>,
    /// Write many messages at once: for a broker of one node that syncs every write.
    #[arg(long, global = true, env = "ARGOSY_NATS__GROUP_WRITES")]
    pub(super) group_writes: bool,
    /// The ledger's database; the running fleet's when absent.
    #[arg(
        long,
        global = true,
        env = "ARGOSY_LEDGER__DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(super) database: Option<String>,
    /// JSON for programs, one value a line.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// The folder with `.argosy`; searched upwards from here when absent.
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) root: Option<PathBuf>,
}
