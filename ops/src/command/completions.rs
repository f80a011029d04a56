//! `argosy completions`.

use crate::say::say_bytes;
use clap::Args;
use clap_complete::Shell;

/// Print what a shell needs to complete this command's words.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    argosy completions bash > ~/.local/share/bash-completion/completions/argosy\n  \
    argosy completions zsh > ~/.zfunc/_argosy       # with fpath+=(~/.zfunc) before compinit\n  \
    argosy completions fish > ~/.config/fish/completions/argosy.fish")]
pub(crate) struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    #[expect(clippy::unnecessary_wraps, reason = "as its siblings")]
    pub(crate) fn run(&self, mut definition: clap::Command) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut definition, "argosy", &mut script);
        say_bytes(&script);
        Ok(())
    }
}
