//! Keys and requests to cancel are removed once they are old and their jobs are over, and not before.

use anyhow::ensure;
use async_nats::jetstream::kv::Store;
use client::api;
use futures::TryStreamExt as _;
use schemas::api::{CancelReply, JobRequest};
use schemas::topology::bucket;
use schemas::{Job, JobId, JobState};
use tests::fleet::{LIMIT, TestFleet, look_until};
use tests::jobs::prompt;

fn keyed(key: &str, words: &str) -> Job {
    Job { idempotency_key: Some(key.to_owned()), ..prompt(words) }
}

/// A job that waits for a model that no worker has.
fn waiting(key: &str) -> Job {
    let mut job = keyed(key, "waits");
    job.constraints.backends = Some(vec!["cloud".parse().expect("a backend")]);
    job.constraints.allow_paid = Some(true);
    job
}

async fn keys(store: &Store) -> anyhow::Result<Vec<String>> {
    Ok(store.keys().await?.try_collect().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_guards_an_open_job_stays_and_the_rest_is_removed() -> anyhow::Result<()> {
    let mut fleet = TestFleet::start(|options| {
        options.comfyui.truncate(1);
        options.gemini = None;
        let at_once = |name: &str| (format!("ARGOSY_ROUTER__{name}"), "0".to_owned());
        options.env.extend([at_once("KEYS_KEPT_MS"), at_once("CANCELS_KEPT_MS")]);
    })
    .await?;
    let stack = &mut fleet.stack;
    let broker = stack.broker.clone();
    let key_store = broker.jetstream.get_key_value(bucket::KEYS).await?;
    let cancel_store = broker.jetstream.get_key_value(bucket::CANCELS).await?;
    // Cloud's only worker is off: its job waits.
    stack.member("worker-cloud")?.pause()?;
    let (open, over) = (waiting("open"), keyed("over", "runs"));
    stack.submit(&[open.clone(), over.clone()]).await?;
    stack.wait_ended(&[over.id], LIMIT).await?;
    look_until("the key of the job that is over is removed", async || {
        Ok((keys(&key_store).await?.len() == 1).then_some(()))
    })
    .await?;
    // The key of the open job holds: the same request again is the same job.
    let again = Job { id: JobId::new(), ..open.clone() };
    stack.submit(std::slice::from_ref(&again)).await?;
    stack.member("worker-cloud")?.resume()?;
    let tracker = stack.wait_ended(&[open.id], LIMIT).await?;
    ensure!(tracker.jobs()[&open.id].state == JobState::Completed, "{:?}", tracker.jobs());
    // A request to cancel a job that is over, or that never was, goes as well.
    for job in [JobId::new(), JobId::new()] {
        let _: CancelReply =
            api::request(&broker.client, "cancel", &JobRequest { job, tenant: None }).await?;
        cancel_store.put(job.to_string(), "cancel".into()).await?;
    }
    cancel_store.put(over.id.to_string(), "cancel".into()).await?;
    look_until("all entries are removed", async || {
        Ok((keys(&key_store).await?.is_empty() && keys(&cancel_store).await?.is_empty()).then_some(()))
    })
    .await?;
    let status = key_store.stream.get_info().await?;
    ensure!(status.state.messages == 0, "without a mark: {:?}", status.state);
    Ok(())
}
