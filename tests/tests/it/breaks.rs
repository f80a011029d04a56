//! Twelve things break, one after the other, in a fleet of real processes: `argosy doctor` reports each by name within
//! fifteen seconds, with its cure, and reports it no more when it is mended.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use client::documents::Documents;
use serde_json::{Value, json};
use stack::StackOptions;
use tests::fleet::{LIMIT, TestFleet};
use tests::jobs::{paid_prompt, prompt};

/// Within this time a break is reported.
const NAMED_WITHIN: Duration = Duration::from_secs(15);

/// Wall time per provider time.
const TIME_SCALE: f64 = 0.02;

/// A row of the doctor's table: its check, and words in what it saw.
type Row = (&'static str, &'static str);

struct Broken {
    fleet: TestFleet,
    /// With the fleet file, as `argosy up` writes it.
    root: tempfile::TempDir,
}

impl Broken {
    async fn start(change: impl FnOnce(&mut StackOptions)) -> anyhow::Result<Self> {
        let documents = Documents::paced(TIME_SCALE)?;
        let fleet = TestFleet::start(|options| {
            options.comfyui.truncate(1);
            options.time_scale = TIME_SCALE;
            options.documents = documents;
            options.env.push(("ARGOSY_RUNPOD__STARVED_AFTER_MS".to_owned(), "1000".to_owned()));
            change(options);
        })
        .await?;
        let ward = Self { fleet, root: tempfile::tempdir()? };
        ward.write_file()?;
        Ok(ward)
    }

    fn write_file(&self) -> anyhow::Result<()> {
        Ok(self.fleet.stack.fleet_file().write(self.root.path())?)
    }

    /// All rows that are not good.
    async fn complaints(&self, more: &[(&str, &str)]) -> anyhow::Result<Vec<Value>> {
        let argosy = self.fleet.stack.options().bin_dir.join("argosy");
        complaints(&argosy, self.root.path(), more).await
    }

    /// Waits until the doctor reports all of it, each with a cure.
    async fn names(&self, rows: &[Row]) -> anyhow::Result<()> {
        let since = Instant::now();
        loop {
            let asked_at = since.elapsed();
            let all = self.complaints(&[]).await?;
            let missing: Vec<&Row> = rows.iter().filter(|row| !is_there(&all, row)).collect();
            if missing.is_empty() {
                return Ok(());
            }
            ensure!(
                asked_at < NAMED_WITHIN,
                "not named within {NAMED_WITHIN:?}: {missing:?} in {}",
                json!(all)
            );
        }
    }

    /// Waits until the doctor reports none of it any more.
    async fn forgets(&self, rows: &[Row]) -> anyhow::Result<()> {
        let since = Instant::now();
        loop {
            let all = self.complaints(&[]).await?;
            if !rows.iter().any(|row| is_there(&all, row)) {
                return Ok(());
            }
            ensure!(since.elapsed() < LIMIT, "still named: {rows:?} in {}", json!(all));
        }
    }

    async fn restart(&mut self, names: &[&str]) -> anyhow::Result<()> {
        for name in names {
            self.fleet.stack.member(name)?.restart()?;
        }
        for name in names {
            self.fleet.stack.member(name)?.ready(LIMIT).await?;
        }
        self.write_file()
    }
}

async fn complaints(argosy: &Path, root: &Path, more: &[(&str, &str)]) -> anyhow::Result<Vec<Value>> {
    let mut command = tokio::process::Command::new(argosy);
    command.args(["--json", "doctor", "--root"]).arg(root);
    for key in ["ARGOSY_NATS__URL", "ARGOSY_LEDGER__DATABASE_URL", "ARGOSY_NATS_MONITOR"] {
        command.env_remove(key);
    }
    command.envs(more.iter().copied());
    let output = command.output().await?;
    let said: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("the doctor said: {}", String::from_utf8_lossy(&output.stderr)))?;
    let Some(findings) = said["findings"].as_array() else { bail!("{said}") };
    for finding in findings {
        let has_cure = finding["cure"].as_str().is_some_and(|cure| !cure.is_empty());
        ensure!(has_cure || finding["verdict"] == "good", "no cure: {finding}");
    }
    Ok(findings.iter().filter(|finding| finding["verdict"] != "good").cloned().collect())
}

fn is_there(all: &[Value], (check, words): &Row) -> bool {
    all.iter()
        .any(|row| row["check"] == *check && row["seen"].as_str().is_some_and(|seen| seen.contains(words)))
}

const WORKERS: [&str; 3] = ["worker-local-1", "worker-cloud", "worker-gemini"];
const SILENT: [Row; 3] = [
    ("backend", "worker local-1 has been silent"),
    ("backend", "worker cloud-1 has been silent"),
    ("backend", "worker gemini-1 has been silent"),
];
const ABSENT: [Row; 3] =
    [("backend", "local: no worker"), ("backend", "cloud: no worker"), ("backend", "gemini: no worker")];

#[tokio::test(flavor = "multi_thread")]
async fn each_break_of_a_process_is_named_with_its_cure() -> anyhow::Result<()> {
    let mut ward = Broken::start(|_| {}).await?;
    let at_first =
        [("backend", ""), ("router", ""), ("process", ""), ("ledger", ""), ("clock", ""), ("queue", "")];
    ward.forgets(&at_first).await?;

    // Each kind of worker: frozen, killed, absent.
    for name in WORKERS {
        ward.fleet.stack.member(name)?.pause()?;
    }
    ward.names(&[&SILENT[..], &[("process", "worker-cloud"), ("process", "does not answer")]].concat())
        .await?;
    for name in WORKERS {
        ward.fleet.stack.member(name)?.resume()?;
    }
    ward.forgets(&SILENT).await?;
    for name in WORKERS {
        ward.fleet.stack.member(name)?.kill9()?;
    }
    ward.names(&[&SILENT[..], &[("process", "worker-gemini"), ("process", "is gone")]].concat()).await?;
    ward.restart(&WORKERS).await?;
    ward.forgets(&SILENT).await?;
    for name in WORKERS {
        ward.fleet.stack.member(name)?.terminate(LIMIT).await?;
    }
    let jobs: Vec<_> = (0..30).map(|number| prompt(&format!("boat {number}"))).collect();
    ward.fleet.stack.submit(&jobs).await?;
    ward.names(&[&ABSENT[..], &[("queue", "no worker takes jobs")]].concat()).await?;
    ward.restart(&WORKERS).await?;
    ward.forgets(&ABSENT).await?;

    // Routers, the ledger.
    let routers = ["router-1", "router-2"];
    ward.fleet.stack.member("router-1")?.pause()?;
    ward.names(&[("router", "1 of 2 routers answer"), ("process", "router-1")]).await?;
    ward.fleet.stack.member("router-2")?.pause()?;
    ward.names(&[("router", "no router answers"), ("process", "router-2")]).await?;
    for name in routers {
        ward.fleet.stack.member(name)?.kill9()?;
    }
    ward.names(&[("router", "no router is there"), ("process", "is gone")]).await?;
    // Without any router the other checks go on.
    ward.fleet.stack.member("worker-gemini")?.kill9()?;
    ward.names(&[SILENT[2], ("router", "no router is there")]).await?;
    ward.restart(&["worker-gemini"]).await?;
    ward.forgets(&[SILENT[2]]).await?;
    ward.restart(&routers).await?;
    ward.forgets(&[("router", "")]).await?;
    for name in routers {
        ward.fleet.stack.member(name)?.terminate(LIMIT).await?;
    }
    ward.names(&[("router", "no router is there")]).await?;
    ward.restart(&routers).await?;
    ward.forgets(&[("router", "")]).await?;
    ward.fleet.stack.member("ledger")?.pause()?;
    ward.names(&[("ledger", "does not answer")]).await?;
    ward.fleet.stack.member("ledger")?.kill9()?;
    ward.names(&[("ledger", "no ledger is there")]).await?;
    ward.restart(&["ledger"]).await?;
    ward.forgets(&[("ledger", "")]).await?;

    // Database and broker. Each check has its say whatever the others say.
    ward.fleet.stack.postgres.pause()?;
    ward.names(&[("database", "does not answer"), ("broker syncs", "acknowledges before it syncs")]).await?;
    ward.fleet.stack.postgres.resume()?;
    ward.forgets(&[("database", "does not answer")]).await?;
    ward.fleet.stack.nats.nodes[0].pause()?;
    ward.names(&[("broker", "does not answer"), ("database", "fsync")]).await?;
    ward.fleet.stack.nats.nodes[0].resume()?;
    ward.forgets(&[("broker", ""), ("router", "")]).await?;

    // Killed: to doctor they are as if they were not there.
    ward.fleet.stack.postgres.kill9()?;
    ward.names(&[("database", "does not answer")]).await?;
    ward.fleet.stack.postgres.restart().await?;
    ward.forgets(&[("database", "does not answer")]).await?;
    ward.fleet.stack.nats.nodes[0].kill9()?;
    ward.names(&[("broker", "does not answer"), ("backend", "cannot be looked at")]).await?;
    ward.fleet.stack.nats.nodes[0].restart().await?;
    ward.forgets(&[("broker", ""), ("router", ""), ("backend", "")]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_break_of_a_provider_is_named_with_its_cure() -> anyhow::Result<()> {
    let mut ward = Broken::start(|_| {}).await?;
    let stack = &ward.fleet.stack;
    // What is learned from.
    let warm = [prompt("warm"), paid_prompt("warm", "cloud")];
    stack.submit(&warm).await?;
    stack.wait_ended(&warm.each_ref().map(|job| job.id), LIMIT).await?;

    // A hanging ComfyUI, an empty endpoint, a key that is not valid.
    stack.simulator("local")?.set_faults(&json!([{"name": "hang", "times": 1}])).await?;
    stack.simulator("cloud")?.set_faults(&json!([{"name": "queue_forever", "times": 1}])).await?;
    let key = json!([{"name": "api_key_invalid", "node": "models"}]);
    stack.simulator("gemini")?.set_faults(&key).await?;
    let stuck = [prompt("hangs"), paid_prompt("waits for ever", "cloud")];
    stack.submit(&stuck).await?;
    let named = [
        ("backend", "as a rule"),
        ("backend", "at an endpoint without any worker"),
        ("backend", "worker gemini-1 is stopped"),
    ];
    ward.names(&named).await?;
    let gemini = ward.fleet.stack.simulator("gemini")?;
    gemini.set_faults(&json!([])).await?;
    ward.forgets(&[named[2]]).await?;

    // A key that RunPod does not take.
    let cloud = ward.fleet.stack.simulator("cloud")?;
    cloud.set_faults(&json!([{"name": "http_401"}])).await?;
    ward.names(&[("backend", "worker cloud-1 is stopped")]).await?;
    ward.fleet.stack.simulator("cloud")?.set_faults(&json!([])).await?;

    // A quota that is used up.
    let gemini = ward.fleet.stack.simulator("gemini")?;
    gemini.set_faults(&json!([{"name": "http_429_day"}])).await?;
    ward.fleet.stack.submit(&[paid_prompt("too many today", "gemini")]).await?;
    ward.names(&[("backend", "quota")]).await?;

    // A store that is full.
    let info = ward.fleet.stack.broker.jetstream.get_stream("OBJ_ARTIFACTS").await?;
    let mut config = info.cached_info().config.clone();
    config.max_bytes = i64::try_from(info.cached_info().state.bytes)? + 1;
    ward.fleet.stack.broker.jetstream.update_stream(config).await?;
    ward.names(&[("artifact store", "are left")]).await?;

    // A worker whose clock is wrong works on, and is named.
    let member = ward.fleet.stack.options().member(
        stack::Role::WorkerLocal,
        true,
        "worker-late",
        "worker-local",
        &ward.fleet.stack.nats_url(),
        &[
            ("ARGOSY_WORKER__NAME", "late".to_owned()),
            ("ARGOSY_WORKER__SPOOL_DIR", ward.fleet.stack.options().dir.join("spool").display().to_string()),
            ("ARGOSY_COMFYUI__URL", ward.fleet.stack.simulator("local")?.url.clone()),
            ("ARGOSY_CLOCK__SHIFT_MS", "-12000".to_owned()),
        ],
    )?;
    ward.fleet.stack.add(member).await?;
    ward.names(&[("clock", "worker late is 12.0 s behind")]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_slow_is_named_until_it_is_done_with_and_without_a_router() -> anyhow::Result<()> {
    let mut ward = Broken::start(|options| {
        (options.runpod, options.gemini, options.routers) = (None, None, 1);
    })
    .await?;
    let stack = &ward.fleet.stack;
    let warm = prompt("warm");
    stack.submit(std::slice::from_ref(&warm)).await?;
    stack.wait_ended(&[warm.id], LIMIT).await?;
    stack.simulator("local")?.set_faults(&json!([{"name": "hold"}])).await?;
    let slow = prompt("takes its time");
    stack.submit(std::slice::from_ref(&slow)).await?;
    let named = [("backend", "as a rule")];
    ward.names(&named).await?;
    ward.fleet.stack.member("router-1")?.kill9()?;
    ward.names(&[named[0], ("router", "no router is there")]).await?;
    ward.restart(&["router-1"]).await?;
    ward.fleet.stack.simulator("local")?.set_faults(&json!([])).await?;
    ward.fleet.stack.wait_ended(&[slow.id], LIMIT).await?;
    ward.forgets(&named).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_named_is_not_judged_by_the_folders_own_fleet() -> anyhow::Result<()> {
    let ward = Broken::start(|options| {
        (options.runpod, options.gemini, options.routers) = (None, None, 1);
    })
    .await?;
    let found = servers::Found::load(&tests::fleet::root())?;
    let dir = tempfile::tempdir()?;
    let options = servers::NatsOptions { sync_always: true, ..servers::NatsOptions::new(dir.path()) };
    let other = servers::NatsServer::start(&found, options).await?;
    let (url, own_page) = (other.url(), other.monitor_url());
    // Nothing of the folder's fleet: neither its database, nor its processes, nor its broker's page.
    let named = ward.complaints(&[("ARGOSY_NATS__URL", &url)]).await?;
    for row in [
        ("database", "no database is known"),
        ("broker syncs", "no monitoring address"),
        ("router", "no router"),
    ] {
        ensure!(is_there(&named, &row), "{row:?} in {}", json!(named));
    }
    ensure!(!is_there(&named, &("process", "")), "{}", json!(named));
    // The page of another broker is not believed, its own is.
    let fleets_page = ward.fleet.stack.nats.monitor_url();
    let strange =
        ward.complaints(&[("ARGOSY_NATS__URL", &url), ("ARGOSY_NATS_MONITOR", &fleets_page)]).await?;
    ensure!(
        is_there(&strange, &("broker identity", "the monitoring page is of server")),
        "{}",
        json!(strange)
    );
    ensure!(is_there(&strange, &("broker syncs", "no monitoring address")), "{}", json!(strange));
    let own = ward.complaints(&[("ARGOSY_NATS__URL", &url), ("ARGOSY_NATS_MONITOR", &own_page)]).await?;
    ensure!(
        !is_there(&own, &("broker identity", "")) && !is_there(&own, &("broker syncs", "")),
        "{}",
        json!(own)
    );
    Ok(())
}
