//! Routers send each other digests of the jobs that wait in their hands, so that they decide as one ([`protocol::router::schedule`]).

use std::time::Duration;

use futures::StreamExt as _;
use protocol::Ports as _;
use protocol::router::RouterPorts as _;
use protocol::router::schedule;
use runtime::clock;
use runtime::exit::Fault;
use runtime::telemetry;
use runtime::trouble::Trouble;
use schemas::config::Scoring;
use schemas::digest::{DIGEST_MAX_BYTES, Digest};
use schemas::{codec, subjects};

use crate::shared::Router;

/// How often a router speaks while jobs wait in its hands.
const EVERY: Duration = Duration::from_millis(200);

/// Tells what waits, until stopped; and once that nothing waits any more.
///
/// # Errors
/// Never.
pub(crate) async fn tell(router: Router) -> Result<(), Fault> {
    let mut trouble = Trouble::new("telling what waits");
    let mut said = false;
    while !router.soft.is_cancelled() {
        let is_due = router.config().policy.scoring == Scoring::Schedule && !router.room.is_empty();
        if is_due || said {
            let bytes = written(schedule::digest(&router, &name(&router)));
            if let Err(error) = router.broker.client.publish(subjects::FLEET_DIGEST, bytes.into()).await {
                let _ = trouble.failed(&telemetry::chain(&error));
            }
        }
        said = is_due;
        router.rest(EVERY).await;
    }
    Ok(())
}

/// Hears what waits in the hands of others, until stopped.
///
/// # Errors
/// Never while the broker lives or comes back.
pub(crate) async fn hear(router: Router) -> Result<(), Fault> {
    let mut trouble = Trouble::new("hearing what waits");
    while !router.soft.is_cancelled() {
        let wait = tokio::select! {
            () = router.soft.cancelled() => return Ok(()),
            reason = hear_once(&router) => trouble.failed(&reason),
        };
        router.rest(wait).await;
    }
    Ok(())
}

async fn hear_once(router: &Router) -> String {
    let mut digests = match router.broker.client.subscribe(subjects::FLEET_DIGEST).await {
        Ok(digests) => digests,
        Err(error) => return telemetry::chain(&error),
    };
    let own = name(router);
    while let Some(message) = digests.next().await {
        if message.payload.len() > DIGEST_MAX_BYTES {
            continue;
        }
        match codec::decode::<Digest>(None, &message.payload) {
            Ok(digest) if digest.router != own => router.room().hear(digest, clock::now_ms()),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "what waits elsewhere cannot be read"),
        }
    }
    "the subscription closed".to_owned()
}

/// Unique among all routers that run.
fn name(router: &Router) -> String {
    format!("{}-{}", router.id, router.started_at_ms)
}

/// As it is sent: of what is too long the jobs whose turn is last are left out.
fn written(mut digest: Digest) -> Vec<u8> {
    loop {
        let bytes = codec::encode(&digest);
        if bytes.len() <= DIGEST_MAX_BYTES {
            return bytes;
        }
        digest.jobs.truncate(digest.jobs.len() / 2);
        let kinds = digest.jobs.iter().map(|job| job.5 as usize + 1).max().unwrap_or_default();
        digest.kinds.truncate(kinds);
        let tenants = digest.jobs.iter().map(|job| job.4 as usize + 1).max().unwrap_or_default();
        digest.tenants.truncate(tenants);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::digest::{DigestJob, DigestKind};

    #[test]
    fn what_is_too_long_is_cut_at_its_end() {
        let kind = |nth: usize| {
            let backend = "local".parse().expect("a name");
            DigestKind {
                reference_micro_usd: nth as f64,
                ways: vec![(backend, 0.0, 4_000.0, 5_000.0)],
                capabilities: Vec::new(),
            }
        };
        let digest = |jobs: usize| Digest {
            router: "router-1".to_owned(),
            tenants: vec!["default".parse().expect("a name")],
            kinds: (0..jobs).map(kind).collect(),
            jobs: (0..jobs)
                .map(|nth| DigestJob(1_795_428_000_000, 60_000, None, 1.0, 0, nth as u32))
                .collect(),
        };
        let sent: Digest = codec::decode(None, &written(digest(10))).expect("a digest");
        assert_eq!(sent, digest(10));
        let bytes = written(digest(5_000));
        assert!(bytes.len() <= DIGEST_MAX_BYTES && bytes.len() > DIGEST_MAX_BYTES / 4, "{}", bytes.len());
        let sent: Digest = codec::decode(None, &bytes).expect("a digest");
        assert_eq!(sent, digest(sent.jobs.len()));
    }
}
