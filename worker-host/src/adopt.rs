//! Takes the reports of providers about work whose start was not confirmed.

use async_trait::async_trait;
use protocol::worker::report::{self, Reported};
use runtime::metrics;
use runtime::reports::{NotTaken, TakeReport};
use schemas::AttemptId;

use crate::address::Address;
use crate::attempt::PROVIDER_ID_MAX_BYTES;
use crate::nats::NatsPorts;

/// Writes reported ids into claims.
pub(crate) struct Adopter {
    pub(crate) address: Address,
    pub(crate) ports: NatsPorts,
}

#[async_trait]
impl TakeReport for Adopter {
    fn knows(&self, secret: &str) -> bool {
        self.address.knows(secret)
    }

    async fn take(&self, attempt: AttemptId, body: &[u8]) -> Result<(), NotTaken> {
        let id = self.ports.backend.reported_id(body).filter(|id| id.len() <= PROVIDER_ID_MAX_BYTES);
        let id = id.ok_or(NotTaken::Unknown)?;
        let reported = report::take(&self.ports, attempt, &id).await.map_err(|error| {
            tracing::debug!(job = %attempt.job, attempt = attempt.attempt, %error, "a report was not taken");
            NotTaken::NotStored
        })?;
        let kind = match reported {
            Reported::Known => return Ok(()),
            Reported::NoClaim => return Err(NotTaken::Unknown),
            Reported::Recorded => {
                tracing::info!(job = %attempt.job, attempt = attempt.attempt, provider_id = id, "the provider reported an attempt's id");
                "adopted"
            }
            Reported::Late => {
                tracing::warn!(job = %attempt.job, attempt = attempt.attempt, provider_id = id, "reported after it was given up as unknown");
                "late"
            }
            Reported::RanTwice(known) => {
                tracing::error!(job = %attempt.job, attempt = attempt.attempt, provider_id = id, other_provider_id = known, "the provider ran one attempt twice");
                "twice"
            }
        };
        metrics::WORKER_REPORTS.of([kind.into()]).increment(1);
        Ok(())
    }
}
