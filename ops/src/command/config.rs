//! `argosy config`: the four documents that the whole fleet follows.

use super::session::Session;
use crate::say::{say, say_document, say_json};
use crate::words;
use anyhow::Context as _;
use clap::{Args, Subcommand};
use client::documents;
use runtime::fleet_config::KEYS;
use std::path::{Path, PathBuf};

/// The documents policy, catalog, prices and tenants. A change holds everywhere within moments.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  argosy config show tenants > tenants.json\n  \
    argosy config check tenants tenants.json\n  argosy config set tenants tenants.json\n  \
    argosy config show            all documents with their revisions")]
pub(crate) struct Config {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print a document, or the list of them
    Show {
        /// policy, catalog, prices or tenants
        key: Option<String>,
    },
    /// Check and set a document
    Set {
        /// policy, catalog, prices or tenants
        key: String,
        /// The new text
        file: PathBuf,
    },
    /// Check a document without setting it; asks nobody
    Check {
        /// policy, catalog, prices or tenants
        key: String,
        /// The text
        file: PathBuf,
    },
}

impl Config {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        match self.action {
            Action::Show { key: Some(key) } => {
                let broker = session.broker().await?;
                let (_, text) = documents::get(&broker.jetstream, &key).await?;
                say_document(&String::from_utf8_lossy(&text));
                Ok(())
            }
            Action::Show { key: None } => list(session).await,
            Action::Set { key, file } => {
                let text = read(&file)?;
                let broker = session.broker().await?;
                let revision = documents::set(&broker.jetstream, &key, &text).await?;
                if session.json {
                    return say_json(&serde_json::json!({ "key": key, "revision": revision }));
                }
                say(format!("{key} is now revision {revision}"));
                Ok(())
            }
            Action::Check { key, file } => {
                documents::check(&key, &read(&file)?)?;
                if session.json {
                    return say_json(&serde_json::json!({ "key": key, "good": true }));
                }
                say(format!("{} is a good {key}", file.display()));
                Ok(())
            }
        }
    }
}

async fn list(session: &Session) -> anyhow::Result<()> {
    let broker = session.broker().await?;
    for key in KEYS {
        let (revision, text) = documents::get(&broker.jetstream, key).await?;
        if session.json {
            let value: serde_json::Value = serde_json::from_slice(&text)?;
            say_json(&serde_json::json!({ "key": key, "revision": revision, "document": value }))?;
        } else {
            say(format!("{key}  revision {revision}  {}", words::size(text.len() as u64)));
        }
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
