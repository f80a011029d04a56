//! Which processes a fleet has, and how each is told where the others are.

use super::member::{Member, Role};
use super::options::{Provider, RunPodAccount, StackOptions};
use super::simulator::{SIMULATED_RUNPOD, Simulator};
use anyhow::bail;
use servers::process::Spec;
use servers::{NatsOptions, PostgresOptions, free_port, reached_at};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The binaries a fleet consists of; they lie beside `argosy`.
const BINARIES: [&str; 6] =
    ["router", "worker-local", "worker-cloud", "worker-gemini", "ledger", "simulators"];
/// The binaries that a fleet takes from an earlier release.
const RELEASE_BINARIES: [&str; 6] =
    ["argosy", "router", "worker-local", "worker-cloud", "worker-gemini", "ledger"];
/// The key that a simulated Gemini asks for.
const SIMULATED_GEMINI_KEY: &str = "sim-gemini-key";
/// Workers that the simulated RunPod endpoint scales to.
const SIMULATED_RUNPOD_WORKERS: u32 = 4;

impl StackOptions {
    pub(super) fn check_binaries(&self) -> anyhow::Result<()> {
        let missing =
            |dir: &Path, names: &[&str]| names.iter().map(|name| dir.join(name)).find(|path| !path.is_file());
        if let Some(path) = missing(&self.bin_dir, &BINARIES) {
            bail!("{} is not there: build it with `cargo build --bins`", path.display());
        }
        if let Some(path) = self.release_dir.as_ref().and_then(|dir| missing(dir, &RELEASE_BINARIES)) {
            bail!("{} is not there: build the release with ops/scripts/release-binaries", path.display());
        }
        Ok(())
    }

    /// Where the binaries of routers, workers and ledger are.
    fn our_dir(&self) -> &Path {
        self.release_dir.as_deref().unwrap_or(&self.bin_dir)
    }

    pub(super) fn nats_options(&self) -> NatsOptions {
        NatsOptions {
            listen: self.listen,
            port: self.ports.of("broker"),
            monitor_port: self.ports.of("monitor"),
            sync_always: !self.ephemeral,
            ..NatsOptions::new(self.dir.join("nats"))
        }
    }

    pub(super) fn postgres_options(&self) -> PostgresOptions {
        let dir = self.dir.join("postgres");
        let usual = if self.ephemeral { PostgresOptions::for_test(dir) } else { PostgresOptions::new(dir) };
        PostgresOptions { port: self.ports.of("database"), ..usual }
    }

    /// A single node that syncs every write is spared most of the syncs.
    pub(super) const fn group_writes(&self) -> bool {
        !self.ephemeral && self.nodes == 1
    }

    fn log(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{name}.log"))
    }

    fn port_file(&self, name: &str) -> PathBuf {
        self.dir.join("run").join(format!("{name}.port"))
    }

    /// The port of what is found again at it, also after it was killed.
    fn fixed_port(&self, name: &str) -> std::io::Result<u16> {
        self.ports.of(name).map_or_else(free_port, Ok)
    }

    /// A process of ours, shielded from the settings that this process was given for itself.
    fn spec(&self, name: &str, binary: &str, nats_url: &str) -> Spec {
        let pages = SocketAddr::new(self.listen, self.ports.of(name).unwrap_or_default());
        let mut spec = Spec::new(name, self.our_dir().join(binary), self.log(name))
            .env("ARGOSY_NATS__URL", nats_url)
            .env("ARGOSY_NATS__GROUP_WRITES", self.group_writes().to_string())
            .env("ARGOSY_HTTP__LISTEN", pages.to_string())
            .env("ARGOSY_HTTP__PORT_FILE", self.port_file(name))
            .env("ARGOSY_LOG__FILTER", &self.log_filter)
            .env("ARGOSY_SHUTDOWN__GRACE_MS", self.grace_ms.to_string());
        if let Some((_, shift_ms)) = self.clock_shifts_ms.iter().find(|(of, _)| of == name) {
            spec = spec.env("ARGOSY_CLOCK__SHIFT_MS", shift_ms.to_string());
        }
        spec.env_remove = foreign_settings().collect();
        spec
    }

    /// One more process of ours, to be handed to [`super::Stack::add`].
    ///
    /// # Errors
    /// It cannot be started.
    pub fn member(
        &self,
        role: Role,
        simulated: bool,
        name: &str,
        binary: &str,
        nats_url: &str,
        env: &[(&str, String)],
    ) -> anyhow::Result<Member> {
        std::fs::create_dir_all(self.dir.join("run"))?;
        let mut spec = self.spec(name, binary, nats_url);
        for (key, value) in env {
            spec = spec.env(*key, value);
        }
        for (key, value) in &self.env {
            spec = spec.env(key, value);
        }
        let member = Member::spawn(role, simulated, spec, self.port_file(name))?;
        Ok(member.at_host(reached_at(self.listen)))
    }
}

/// Settings in our own environment that belong to us or to a single process, not to all we start. Those of
/// the providers' sections pass: they are how a real backend is tuned.
fn foreign_settings() -> impl Iterator<Item = std::ffi::OsString> {
    const OURS: [&str; 6] = [
        "ARGOSY_CONFIG",
        "ARGOSY_NATS__",
        "ARGOSY_HTTP__",
        "ARGOSY_LEDGER__",
        "ARGOSY_WORKER__",
        "ARGOSY_LOG__",
    ];
    std::env::vars_os().map(|(key, _)| key).filter(|key| {
        let key = key.to_string_lossy();
        OURS.iter().any(|ours| key.starts_with(ours))
    })
}

/// `ledger migrate` for the database.
pub(super) fn migration(options: &StackOptions, database_url: &str) -> Spec {
    let mut spec =
        Spec::new("ledger migrate", options.our_dir().join("ledger"), options.log("ledger-migrate"))
            .args(["migrate"])
            .env("ARGOSY_LEDGER__DATABASE_URL", database_url);
    spec.env_remove = foreign_settings().collect();
    spec
}

/// `argosy topology apply` of an earlier release.
pub(super) fn release_topology(options: &StackOptions, release_dir: &Path, nats_url: &str) -> Spec {
    let mut spec = Spec::new("argosy topology", release_dir.join("argosy"), options.log("argosy-topology"))
        .args(["--nats", nats_url, "topology", "apply", "--replicas"])
        .args([options.nodes.to_string()]);
    spec.env_remove = foreign_settings().collect();
    spec
}

/// The simulators that are asked for, each with its back door.
pub(super) fn simulators(options: &StackOptions) -> anyhow::Result<Vec<(Simulator, Member)>> {
    let mut all = Vec::new();
    std::fs::create_dir_all(options.dir.join("run"))?;
    for (index, _) in options.comfyui.iter().enumerate().filter(|(_, one)| one.is_simulated()) {
        let name = format!("simulator-comfyui-{}", index + 1);
        all.push(simulator(options, &name, "comfyui", "local", index as u64, &[])?);
    }
    if options.runpod.as_ref().is_some_and(Provider::is_simulated) {
        let workers = format!("--workers={SIMULATED_RUNPOD_WORKERS}");
        all.push(simulator(options, "simulator-runpod", "runpod", "cloud", 0, &[workers])?);
    }
    if options.gemini.as_ref().is_some_and(Provider::is_simulated) {
        all.push(simulator(options, "simulator-gemini", "gemini", "gemini", 0, &[])?);
    }
    Ok(all)
}

fn simulator(
    options: &StackOptions,
    name: &str,
    kind: &str,
    backend: &str,
    nth: u64,
    args: &[String],
) -> anyhow::Result<(Simulator, Member)> {
    let port = options.fixed_port(name)?;
    let state_dir = options.dir.join("simulators").join(name);
    std::fs::create_dir_all(&state_dir)?;
    let port_file = options.port_file(name);
    let more = options.simulator_args.iter().filter(|(of, _)| of == kind).map(|(_, arg)| arg.clone());
    let mut spec = Spec::new(name, options.bin_dir.join("simulators"), options.log(name))
        .args([kind.to_owned(), format!("--listen=127.0.0.1:{port}")])
        .args([
            format!("--seed={}", options.seed.wrapping_add(nth)),
            format!("--time-scale={}", options.time_scale),
            format!("--port-file={}", port_file.display()),
            format!("--state-dir={}", state_dir.display()),
        ])
        .args(args.iter().cloned().chain(more))
        .env("RUST_LOG", "info");
    spec.env_remove = foreign_settings().collect();
    let member = Member::spawn(Role::Simulator, true, spec, port_file)?;
    Ok((Simulator::at(backend, &format!("http://127.0.0.1:{port}"))?, member))
}

/// Ledger, routers and workers.
pub(super) fn ours(
    options: &StackOptions,
    nats_url: &str,
    database_url: &str,
    simulators: &[Simulator],
) -> anyhow::Result<Vec<Member>> {
    let url_of = |backend: &str, nth: usize| {
        let mut of_backend = simulators.iter().filter(|one| one.backend == backend);
        of_backend.nth(nth).map(|one| one.url.clone()).unwrap_or_default()
    };
    let mut all = vec![options.member(
        Role::Ledger,
        false,
        "ledger",
        "ledger",
        nats_url,
        &[("ARGOSY_LEDGER__DATABASE_URL", database_url.to_owned())],
    )?];
    for nth in 1..=options.routers {
        all.push(options.member(Role::Router, false, &format!("router-{nth}"), "router", nats_url, &[])?);
    }
    let mut simulated = 0;
    for (index, provider) in options.comfyui.iter().enumerate() {
        let url = match provider {
            Provider::Real(url) => url.clone(),
            Provider::Simulated => {
                simulated += 1;
                url_of("local", simulated - 1)
            }
        };
        let mut env = worker(options, &format!("local-{}", index + 1), provider.is_simulated());
        env.push(("ARGOSY_COMFYUI__URL", url));
        if provider.is_simulated() {
            env.push(("ARGOSY_COMFYUI__POLL_MIN_MS", pace(100, options)));
            env.push(("ARGOSY_COMFYUI__POLL_MS", pace(1_000, options)));
        }
        let name = format!("worker-local-{}", index + 1);
        let simulated = provider.is_simulated();
        all.push(options.member(Role::WorkerLocal, simulated, &name, "worker-local", nats_url, &env)?);
    }
    if let Some(provider) = &options.runpod {
        let mut env = runpod(options, provider, &url_of("cloud", 0));
        let simulated = provider.is_simulated();
        let name = "worker-cloud";
        if simulated {
            env.extend(reporting(options, name)?);
        }
        all.push(options.member(Role::WorkerCloud, simulated, name, "worker-cloud", nats_url, &env)?);
    }
    if let Some(provider) = &options.gemini {
        let mut env = gemini(options, provider, &url_of("gemini", 0));
        let simulated = provider.is_simulated();
        let name = "worker-gemini";
        if simulated {
            env.extend(reporting(options, name)?);
        }
        all.push(options.member(Role::WorkerGemini, simulated, name, "worker-gemini", nats_url, &env)?);
    }
    Ok(all)
}

type Env = Vec<(&'static str, String)>;

fn worker(options: &StackOptions, name: &str, simulated: bool) -> Env {
    vec![
        ("ARGOSY_WORKER__NAME", name.to_owned()),
        ("ARGOSY_WORKER__SIMULATED", simulated.to_string()),
        ("ARGOSY_WORKER__SPOOL_DIR", quoted(&options.dir.join("spool").to_string_lossy())),
    ]
}

/// Where a simulated provider reports to: a port of its worker's own.
fn reporting(options: &StackOptions, worker: &str) -> anyhow::Result<Env> {
    let address = format!("127.0.0.1:{}", options.fixed_port(&format!("{worker}-reports"))?);
    // Release 0.1.0 knows no listener for reports alone.
    let listens =
        if options.release_dir.is_some() { "ARGOSY_HTTP__LISTEN" } else { "ARGOSY_WORKER__REPORT_LISTEN" };
    Ok(vec![
        ("ARGOSY_WORKER__REPORT_URL", format!("http://{address}")),
        ("ARGOSY_WORKER__REPORT_SECRET", "sim-report-secret".to_owned()),
        (listens, address),
    ])
}

fn runpod(options: &StackOptions, provider: &Provider<RunPodAccount>, url: &str) -> Env {
    let mut env = worker(options, "cloud-1", provider.is_simulated());
    match provider {
        Provider::Real(account) => env.extend([
            ("ARGOSY_RUNPOD__ENDPOINT", quoted(&account.endpoint)),
            ("ARGOSY_RUNPOD__API_KEY", quoted(&account.api_key)),
        ]),
        Provider::Simulated => env.extend([
            ("ARGOSY_RUNPOD__BASE_URL", format!("{url}/v2")),
            ("ARGOSY_RUNPOD__ENDPOINT", SIMULATED_RUNPOD.1.to_owned()),
            ("ARGOSY_RUNPOD__API_KEY", SIMULATED_RUNPOD.0.to_owned()),
            ("ARGOSY_RUNPOD__POLL_MIN_MS", pace(1_000, options)),
            ("ARGOSY_RUNPOD__POLL_MAX_MS", pace(5_000, options)),
            // One more than run there at once, so that none of them waits for the next job: what waits longer
            // waits with us, where it costs nothing and can still go elsewhere.
            ("ARGOSY_WORKER__SLOTS", (SIMULATED_RUNPOD_WORKERS + 1).to_string()),
        ]),
    }
    env
}

fn gemini(options: &StackOptions, provider: &Provider<String>, url: &str) -> Env {
    let mut env = worker(options, "gemini-1", provider.is_simulated());
    match provider {
        Provider::Real(key) => env.push(("ARGOSY_GEMINI__API_KEY", quoted(key))),
        Provider::Simulated => env.extend([
            ("ARGOSY_GEMINI__BASE_URL", url.to_owned()),
            ("ARGOSY_GEMINI__API_KEY", SIMULATED_GEMINI_KEY.to_owned()),
            // Files come from a host of their own, at another port.
            ("ARGOSY_GEMINI__ALLOWED_RESULT_HOSTS", r#"["127.0.0.1"]"#.to_owned()),
            ("ARGOSY_GEMINI__POLL_MS", pace(5_000, options)),
        ]),
    }
    env
}

/// A setting that is text whatever it looks like: a key of digits would else be read as a number.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A real pace, scaled to the simulators' time; not below what a client on the same machine should do.
fn pace(real_ms: u32, options: &StackOptions) -> String {
    const LEAST_MS: f64 = 25.0;
    format!("{:.0}", (f64::from(real_ms) * options.time_scale).clamp(LEAST_MS, f64::from(real_ms)))
}
