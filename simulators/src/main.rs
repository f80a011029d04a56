//! The `simulators` command: one simulated provider per process, until a signal.

mod args;

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use clap::Parser;
use simulators::{comfyui, gemini, runpod};

use args::{Args, Command};

/// A running simulator, whichever it is; it stops when dropped.
enum Running {
    ComfyUi(comfyui::Server),
    RunPod(runpod::Server),
    Gemini(gemini::Server),
}

impl Running {
    fn describe(&self) -> (&'static str, std::net::SocketAddr) {
        match self {
            Self::ComfyUi(server) => ("comfyui", server.addr()),
            Self::RunPod(server) => ("runpod", server.addr()),
            Self::Gemini(server) => ("gemini", server.addr()),
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let args = Args::parse();
    let common = args.command.common().clone();
    let running = match args.command {
        Command::Comfyui(args) => Running::ComfyUi(comfyui::Server::start(args.config()?).await?),
        Command::Runpod(args) => Running::RunPod(runpod::Server::start(args.config()).await?),
        Command::Gemini(args) => Running::Gemini(gemini::Server::start(args.config()).await?),
    };
    let (name, addr) = running.describe();
    if let Some(path) = &common.port_file {
        write_port(path, addr.port()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("simulated {name} listening on http://{addr}");
    std::io::stdout().flush().ok();
    until_signal().await?;
    tracing::info!(simulator = name, "simulator: stopped by a signal");
    Ok(())
}

/// Written whole or not at all: who reads the file never sees half a number.
fn write_port(path: &Path, port: u16) -> std::io::Result<()> {
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, format!("{port}\n"))?;
    std::fs::rename(&temporary, path)
}

async fn until_signal() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}
