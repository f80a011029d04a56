//! `argosy man`.

use crate::exit::Usage;
use crate::say::{say, say_bytes};
use anyhow::Context as _;
use clap::Args;
use clap_mangen::Man;
use std::path::PathBuf;

/// Print the man page of this command or of one of its own, or write all of them into a folder.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  argosy man | man -l -\n  argosy man submit | man -l -\n  \
    argosy man --out ~/.local/share/man/man1")]
pub(crate) struct ManPage {
    /// Of which command; of `argosy` itself when absent
    command: Option<String>,
    /// Write a page for each command into this folder
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    out: Option<PathBuf>,
}

impl ManPage {
    pub(crate) fn run(&self, mut definition: clap::Command) -> anyhow::Result<()> {
        definition.build();
        if let Some(folder) = &self.out {
            let shown = folder.display().to_string();
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {shown}"))?;
            clap_mangen::generate_to(definition, folder)
                .with_context(|| format!("cannot write into {shown}"))?;
            say(format!("the pages are in {shown}"));
            return Ok(());
        }
        let page = match &self.command {
            None => definition,
            Some(name) => definition
                .find_subcommand(name)
                .cloned()
                .ok_or_else(|| Usage(format!("there is no command `{name}`: `argosy --help` lists them")))?,
        };
        let mut text = Vec::new();
        Man::new(page).render(&mut text)?;
        say_bytes(&text);
        Ok(())
    }
}
