//! A real ComfyUI for one test: an installation that is there already, started with our helper nodes.
//!
//! Nothing is written into the installation: the server gets a base folder of its own for inputs, results, custom
//! nodes and its database, and Python writes no byte code.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use servers::free_port;
use servers::process::{Spec, Supervised};

use crate::fleet::{look_until, root};

/// A ComfyUI imports for half a minute on a quiet machine; two that start together on a busy one take longer.
const READY_WITHIN: Duration = Duration::from_secs(300);
/// A server that does not answer a small question by then is judged by the case that asked.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// The file of helper nodes, below the workspace's root.
const HELPERS: &str = "tests/comfyui/argosy_helpers.py";

/// An installation of ComfyUI.
#[derive(Debug, Clone)]
pub struct Installation {
    dir: PathBuf,
    python: PathBuf,
}

impl Installation {
    /// The installation that `COMFYUI` names. It is run by `COMFYUI_PYTHON`, or by the Python of a virtual environment in
    /// it (`.venv` or `venv`), or by `python3`.
    ///
    /// # Errors
    /// `COMFYUI` is missing or names no installation.
    pub fn from_env() -> anyhow::Result<Self> {
        let dir = std::env::var_os("COMFYUI").filter(|dir| !dir.is_empty());
        let dir = PathBuf::from(dir.context("COMFYUI is not set: name the folder of an installed ComfyUI")?);
        ensure!(
            dir.join("main.py").is_file(),
            "{} has no main.py: COMFYUI names the folder of an installed ComfyUI",
            dir.display()
        );
        let own = [".venv", "venv"].map(|venv| dir.join(venv).join("bin").join("python"));
        let given = std::env::var_os("COMFYUI_PYTHON").filter(|python| !python.is_empty()).map(PathBuf::from);
        let python = given.or_else(|| own.into_iter().find(|python| python.is_file()));
        let dir = std::path::absolute(dir)?;
        Ok(Self { dir, python: python.unwrap_or_else(|| PathBuf::from("python3")) })
    }

    /// Whether this version has a flag: an older one ends at a flag that it does not know.
    fn has_flag(&self, flag: &str) -> anyhow::Result<bool> {
        let path = self.dir.join("comfy").join("cli_args.py");
        let text = std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
        Ok(text.contains(&format!("\"{flag}\"")))
    }
}

/// A ComfyUI server; stopped when dropped.
pub struct Server {
    child: Supervised,
    address: SocketAddr,
    http: reqwest::Client,
}

impl Server {
    /// Starts a server, which [`Self::ready`] waits for. What several servers of one test know in common lies in
    /// `shared`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(
        installation: &Installation,
        name: &str,
        base: &Path,
        shared: &Path,
    ) -> anyhow::Result<Self> {
        let nodes = base.join("custom_nodes");
        for folder in [&nodes, shared] {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::copy(root().join(HELPERS), nodes.join("argosy_helpers.py")).context(HELPERS)?;
        // A port of its own, so that it is found again after a restart.
        let port = free_port()?;
        let mut spec = Spec::new(name, &installation.python, base.join("server.log"))
            .args([installation.dir.join("main.py").as_os_str()])
            .args(["--cpu", "--listen", "127.0.0.1", "--port", &port.to_string(), "--base-directory"])
            .args([base.as_os_str()])
            .env("ARGOSY_HELPERS_DIR", shared)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONUNBUFFERED", "1");
        if installation.has_flag("--disable-api-nodes")? {
            spec = spec.args(["--disable-api-nodes"]);
        }
        if installation.has_flag("--database-url")? {
            spec =
                spec.args(["--database-url".to_owned(), format!("sqlite:///{}/comfyui.db", base.display())]);
        }
        runtime::tls::install();
        let http = reqwest::Client::builder().timeout(ANSWER_WITHIN).no_proxy().build()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Ok(Self { child: Supervised::spawn(spec)?, address, http })
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The process, to be stopped, frozen, killed and started again.
    pub fn process(&mut self) -> &mut Supervised {
        &mut self.child
    }

    /// Waits until it answers.
    ///
    /// # Errors
    /// It ended, or does not answer in time; the end of its log is in the error.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        Ok(self.child.wait_for_http(self.address, "/queue", READY_WITHIN).await?)
    }

    /// The version that it says it is.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn version(&self) -> anyhow::Result<String> {
        let stats = self.get("system_stats").await?;
        let version = stats.pointer("/system/comfyui_version").and_then(Value::as_str);
        Ok(version.context("no version in system_stats")?.to_owned())
    }

    /// Asks one of its routes.
    ///
    /// # Errors
    /// It does not answer with JSON.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let asked = self.http.get(format!("{}/{path}", self.url())).send().await?;
        Ok(asked.error_for_status()?.json().await?)
    }

    /// Ids of the jobs that it runs, and of those that wait.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn queue(&self) -> anyhow::Result<(Vec<String>, Vec<String>)> {
        let queue = self.get("queue").await?;
        let ids = |list: &str| {
            let items = queue.get(list).and_then(Value::as_array).into_iter().flatten();
            items.filter_map(|item| Some(item.get(1)?.as_str()?.to_owned())).collect()
        };
        Ok((ids("queue_running"), ids("queue_pending")))
    }

    /// Waits until it has nothing to do.
    ///
    /// # Errors
    /// It has not in time.
    pub async fn idle(&self) -> anyhow::Result<()> {
        look_until("a ComfyUI with an empty queue", async || {
            let (running, pending) = self.queue().await?;
            Ok((running.is_empty() && pending.is_empty()).then_some(()))
        })
        .await
    }

    /// Gives it a prompt as somebody at its own page does.
    ///
    /// # Errors
    /// It does not take it.
    pub async fn foreign_prompt(&self, graph: &Value) -> anyhow::Result<()> {
        let body = json!({ "prompt": graph, "client_id": "somebody else" });
        let asked = self.http.post(format!("{}/prompt", self.url())).json(&body).send().await?;
        let status = asked.status();
        ensure!(status.is_success(), "a prompt was refused: {status} {}", asked.text().await?);
        Ok(())
    }
}
