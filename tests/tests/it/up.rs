//! `argosy up` as people run it: the same ports at every start, somebody else's left alone, a file that is never stale,
//! and an end that leaves nothing running.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use servers::process::{Spec, Supervised};
use servers::{Found, NatsOptions, NatsServer, is_free};
use stack::Holder;
use stack::fleet_file::FleetFile;
use tests::fleet::{LIMIT, look_until, root};

/// An end at once, on a machine that has much else to do.
const AT_ONCE: Duration = Duration::from_secs(20);

/// Settings that a developer's shell may hold, and that would change what `up` does.
const FOREIGN: [&str; 7] = [
    "ARGOSY_CONFIG",
    "ARGOSY_NATS__URL",
    "ARGOSY_LEDGER__DATABASE_URL",
    "COMFYUI_URLS",
    "RUNPOD_API_KEY",
    "RUNPOD_ENDPOINT",
    "GEMINI_API_KEY",
];

/// A folder with a fleet of its own.
struct Folder {
    dir: tempfile::TempDir,
    found: Found,
}

impl Folder {
    fn new() -> anyhow::Result<Self> {
        // Where other accounts reach it: the database runs as one of them where we are root.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))?;
        Ok(Self { dir, found: Found::load(&root())? })
    }

    /// Starts `argosy up` there.
    fn up(&self, more: &[&str]) -> anyhow::Result<Supervised> {
        let mut spec = Spec::new("up", argosy()?, self.dir.path().join("up.log"))
            .args(["--root".into(), self.dir.path().as_os_str().to_owned()])
            .args(["up", "--routers", "1"])
            .args(more)
            .env("ARGOSY_NATS_SERVER", &self.found.nats_server)
            .env("ARGOSY_PG_BIN", &self.found.postgres_bin_dir);
        spec.env_remove = FOREIGN.map(Into::into).to_vec();
        Ok(Supervised::spawn(spec)?)
    }

    /// Waits until the fleet tells where it is.
    async fn announced(&self, up: &mut Supervised) -> anyhow::Result<FleetFile> {
        let fleet = up.wait_until("announce itself", LIMIT, async |_| FleetFile::load(self.dir.path())).await;
        Ok(fleet?)
    }

    /// Command lines of processes that have to do with the folder, by these or by their settings.
    fn left(&self) -> Vec<String> {
        let folder = self.dir.path().to_string_lossy().into_owned();
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let texts = processes.map(|process| {
            ["cmdline", "environ"].map(|name| std::fs::read(process.path().join(name)).unwrap_or_default())
        });
        let texts = texts.map(|both| both.map(|text| String::from_utf8_lossy(&text).replace('\0', " ")));
        texts.filter(|both| both.iter().any(|text| text.contains(&folder))).map(|[line, _]| line).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Where no other account reaches the folder, the database lies elsewhere, and `up` says where.
        let log = std::fs::read_to_string(self.dir.path().join("up.log")).unwrap_or_default();
        if let Some((_, elsewhere)) = log.lines().find_map(|line| line.split_once("it is kept in ")) {
            // What cannot be removed stays in a folder for temporary files.
            let _ = std::fs::remove_dir_all(elsewhere);
        }
    }
}

fn argosy() -> anyhow::Result<PathBuf> {
    let mut folder = std::env::current_exe()?;
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    Ok(folder.join("argosy"))
}

/// A first port for the plan of one of the tests here, where no other test looks for free ones.
fn first_port(test: u32) -> anyhow::Result<u16> {
    const LOWEST: u32 = 5_000;
    const PLANS: u32 = 140;
    const LENGTH: u32 = 70;
    let plans = (0..PLANS).map(|nth| LOWEST + (2 * std::process::id() + test + 2 * nth) % PLANS * LENGTH);
    let mut ports = plans.filter_map(|port| u16::try_from(port).ok());
    ports.find(|port| is_free(Ipv4Addr::LOCALHOST.into(), *port)).context("no free port")
}

fn addresses(fleet: &FleetFile) -> BTreeMap<String, Option<String>> {
    fleet.processes.iter().map(|process| (process.name.clone(), process.address.clone())).collect()
}

async fn end(mut up: Supervised) -> anyhow::Result<()> {
    up.ask_to_stop()?;
    let status = up.wait_exit(LIMIT).await?;
    ensure!(status.code() == Some(0), "{status}: {}", up.log_tail());
    ensure!(up.log_tail().contains("ports are kept in"), "{}", up.log_tail());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_has_the_same_ports_again_and_leaves_those_of_others_alone() -> anyhow::Result<()> {
    let folder = Folder::new()?;
    // Somebody else's broker, where this one would listen.
    let (first, other) = (first_port(0)?, tempfile::tempdir()?);
    let options = NatsOptions { port: Some(first), ..NatsOptions::new(other.path()) };
    let foreign = NatsServer::start(&folder.found, options).await?;
    let mut up = folder.up(&["--simulate", "--first-port", &first.to_string()])?;
    let fleet = folder.announced(&mut up).await?;
    let said = up.wait_for_log("broker on ", LIMIT).await?;
    ensure!(said.contains(&format!("instead of {first}")), "{said}");
    ensure!(fleet.nats_url != foreign.url(), "{}", fleet.nats_url);
    let strangers = async_nats::jetstream::new(async_nats::connect(foreign.url()).await?);
    ensure!(strangers.get_stream("JOBS").await.is_err(), "somebody else's broker was used");
    let before = addresses(&fleet);
    ensure!(before.values().all(Option::is_some), "{before:?}");

    // A process that died and was started again is another one, at the same port, and the file says so.
    let router = fleet.processes.iter().find(|process| process.name == "router-1").context("a router")?;
    ensure!(router.holder() == Holder::Same, "{router:?}");
    ensure!(Command::new("kill").args(["-9", &router.pid.to_string()]).status()?.success(), "kill");
    look_until("the router's new pid in the file", async || {
        let Some(now) = FleetFile::load(folder.dir.path()) else { return Ok(None) };
        let again = now.processes.iter().find(|process| process.name == "router-1").context("a router")?;
        let is_new = again.pid != router.pid && again.holder() == Holder::Same;
        Ok((is_new && addresses(&now) == before).then_some(()))
    })
    .await?;
    ensure!(router.holder() != Holder::Same, "the old pid is the new one's");
    end(up).await?;
    ensure!(!FleetFile::path(folder.dir.path()).exists(), "the file is still there");
    ensure!(folder.left().is_empty(), "still running: {:?}", folder.left());

    // The port is free by now, and the fleet stays where it was.
    drop(foreign);
    let mut up = folder.up(&["--simulate"])?;
    let again = folder.announced(&mut up).await?;
    ensure!(addresses(&again) == before, "{:?} was {before:?}", addresses(&again));
    end(up).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_asked_to_end_ends_at_once_and_leaves_nothing() -> anyhow::Result<()> {
    let folder = Folder::new()?;
    let first = first_port(1)?.to_string();
    // In the middle of making the database, and while a server of our own is waited for that is away.
    for (more, words) in [
        (&["--simulate", "--first-port", &first][..], "waiting for"),
        (&["--comfyui-urls", "http://127.0.0.1:1"], "waiting for the workers"),
    ] {
        let mut up = folder.up(more)?;
        up.wait_for_log(words, LIMIT).await?;
        up.ask_to_stop()?;
        let status = up.wait_exit(AT_ONCE).await?;
        ensure!(status.code() == Some(0), "{words}: {status}, {}", up.log_tail());
        ensure!(up.log_tail().contains("stopped before everything ran"), "{words}: {}", up.log_tail());
        ensure!(FleetFile::load(folder.dir.path()).is_none(), "{words}: a fleet is announced");
        ensure!(folder.left().is_empty(), "{words}: still running: {:?}", folder.left());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_up_cannot_do_is_refused_and_says_what_to_do() -> anyhow::Result<()> {
    let folder = Folder::new()?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let broker = format!("broker={}", taken.local_addr()?.port());
    let database = "postgres://argosy:secret-word@db.example/argosy";
    for (more, code, words) in [
        (&["--nats", "nats://127.0.0.1:1"][..], 2, "leave --nats, ARGOSY_NATS__URL"),
        (&["--database", database], 2, "leave --database and"),
        (&["--port", &broker], 71, "asked for broker, is in use"),
        (&["--port", "brokr=4300"], 2, "nothing of this fleet is called `brokr`"),
        (&["--listen", "192.0.2.1"], 2, "--listen takes an IP address of this machine"),
    ] {
        let mut up = folder.up(&[&["--simulate"], more].concat())?;
        let status = up.wait_exit(LIMIT).await?;
        let said = up.log_tail();
        ensure!(status.code() == Some(code) && said.contains(words), "{more:?}: {status}, {said}");
        ensure!(!said.contains("secret-word"), "{said}");
        ensure!(folder.left().is_empty(), "{more:?}: started {:?}", folder.left());
    }
    Ok(())
}
