//! A fleet of real processes for one test, in a folder of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use futures::TryStreamExt as _;
use schemas::api::{JobRequest, StatusReply};
use schemas::topology::{bucket, stream};
use schemas::{AttemptRecord, JobId, JobState, codec};
use stack::{Stack, StackOptions};
use trials::audience::Audience;

/// Longest wait for anything in a test; far above what a loaded machine needs.
pub const LIMIT: Duration = Duration::from_secs(90);

/// How often a test looks for what it waits for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks again and again until a look finds something: the pause between the looks of all tests here.
///
/// # Errors
/// A look failed, or nothing was found within [`LIMIT`].
pub async fn look_until<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let looking = async {
        loop {
            if let Some(found) = look().await? {
                return anyhow::Ok(found);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(LIMIT, looking).await.with_context(|| format!("not within {LIMIT:?}: {what}"))?
}

/// The workspace's root.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// A fleet and the folder that goes with it.
pub struct TestFleet {
    /// The fleet.
    pub stack: Stack,
    // After the fleet: the folder goes when its processes are gone.
    _dir: tempfile::TempDir,
}

impl TestFleet {
    /// Starts a simulated fleet, changed as the test wants it, and waits until all its workers are seen.
    ///
    /// # Errors
    /// Something did not start; its log's end is in the error.
    pub async fn start(change: impl FnOnce(&mut StackOptions)) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("argosy-test-").tempdir()?;
        let mut options = StackOptions::simulated(&root(), dir.path())?;
        options.time_scale = 0.02;
        change(&mut options);
        let workers = options.workers();
        let stack = Stack::start(options).await?;
        stack.wait_workers(workers, LIMIT).await?;
        Ok(Self { stack, _dir: dir })
    }

    /// The command `argosy`, which speaks with the broker and the database of this fleet.
    #[must_use]
    pub fn argosy(&self, arguments: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(self.stack.options().bin_dir.join("argosy"));
        command.args(arguments).env("ARGOSY_NATS__URL", self.stack.nats_url());
        command.env("ARGOSY_LEDGER__DATABASE_URL", self.stack.database_url());
        command
    }

    /// What a router says of a job's state.
    ///
    /// # Errors
    /// No router answers.
    pub async fn state_of(&self, job: JobId) -> anyhow::Result<JobState> {
        let client = &self.stack.broker.client;
        let reply: StatusReply = client::api::request(client, "status", &JobRequest::of(job)).await?;
        Ok(reply.state)
    }
}

/// Changes the document `policy` with which a fleet starts.
///
/// # Panics
/// The document is not JSON.
pub fn change_policy(options: &mut StackOptions, change: impl FnOnce(&mut serde_json::Value)) {
    let mut policy = serde_json::from_str(&options.documents.policy).expect("the document");
    change(&mut policy);
    options.documents.policy = policy.to_string();
}

/// Each job is placed by itself as soon as it comes: what finds no slot waits in the queue of its backend.
pub fn weighted(options: &mut StackOptions) {
    change_policy(options, |policy| policy["scoring"] = "weighted".into());
}

/// Hears of progress and says nothing.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Audience for Silent {
    fn ended(&mut self, _: usize, _: usize) {}
    fn line(&mut self, _: &str) {}
}

/// Waits until the first attempt's claim of each job is as expected.
///
/// # Errors
/// They do not become so in time, or the broker does not answer.
pub async fn until_claims(
    fleet: &TestFleet,
    jobs: &[JobId],
    what: &str,
    expected: fn(&AttemptRecord) -> bool,
) -> anyhow::Result<()> {
    let claims = fleet.stack.broker.jetstream.get_key_value(bucket::ATTEMPTS).await?;
    for job in jobs {
        look_until(&format!("claims that are {what}"), async || {
            let bytes = claims.get(format!("{job}.1")).await?;
            let claim = bytes.map(|bytes| codec::decode::<AttemptRecord>(None, &bytes)).transpose()?;
            Ok(claim.as_ref().is_some_and(expected).then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// The consumer of the workers that read work of a backend and class (`local-image-small`): the one of their servers,
/// where these differ.
///
/// # Errors
/// The broker does not answer, or there is none yet.
pub async fn work_consumer(stack: &Stack, of: &str) -> anyhow::Result<String> {
    let work = stack.broker.jetstream.get_stream(stream::WORK).await?;
    let names: Vec<String> = work.consumer_names().try_collect().await?;
    let own = names.iter().find(|name| name.strip_prefix(of).is_some_and(|rest| rest.starts_with('+')));
    own.or_else(|| names.iter().find(|name| *name == of))
        .cloned()
        .with_context(|| format!("no consumer {of}"))
}
