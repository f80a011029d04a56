//! Adopts work whose start was never confirmed: the provider's own report tells its id, which goes into the
//! claim; whoever holds the assignment then resumes by it.

use std::sync::Arc;

use async_trait::async_trait;
use schemas::{AttemptId, AttemptRecord, AttemptState};

use crate::Backend;
use crate::claim::{ClaimError, Claims};
use runtime::config::Secret;
use runtime::reports::{NotTaken, TakeReport};

/// How often a claim is read again because somebody else wrote it in between.
const TRIES: u32 = 5;

/// Where providers are told to send their reports.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    url: String,
    secret: Secret,
}

impl Address {
    /// None unless both are configured: without a secret anybody could tell us ids.
    pub(crate) fn new(url: &str, secret: &Secret) -> Option<Self> {
        let configured = !url.is_empty() && !secret.is_empty();
        configured.then(|| Self { url: url.trim_end_matches('/').to_owned(), secret: secret.clone() })
    }

    /// Where to report one attempt.
    pub(crate) fn of(&self, attempt: AttemptId) -> String {
        format!("{}/reports/{attempt}?secret={}", self.url, self.secret.expose())
    }

    fn knows(&self, secret: &str) -> bool {
        let (ours, theirs) = (self.secret.expose().as_bytes(), secret.as_bytes());
        // Takes as long for a near miss as for a wild guess.
        ours.len() == theirs.len() && ours.iter().zip(theirs).fold(0, |odds, (a, b)| odds | (a ^ b)) == 0
    }
}

/// Writes reported ids into claims.
pub(crate) struct Adopter {
    pub(crate) address: Address,
    pub(crate) claims: Claims,
    pub(crate) backend: Arc<dyn Backend>,
}

/// What a report means for a claim.
#[derive(Debug, PartialEq)]
enum Report {
    /// The claim knows the id.
    Known,
    /// The claim waits for it.
    Adopt(Box<AttemptRecord>),
    /// The claim was settled without it: it was waited for in vain.
    Late,
    /// The claim knows another id: the provider ran the attempt twice.
    Twice(String),
}

fn report(record: &AttemptRecord, id: &str) -> Report {
    match (&record.provider_id, record.state) {
        (Some(known), _) if known == id => Report::Known,
        (Some(known), _) => Report::Twice(known.clone()),
        (None, AttemptState::Settled) => Report::Late,
        (None, _) => Report::Adopt(Box::new(AttemptRecord {
            state: AttemptState::Started,
            started_at_ms: Some(record.claimed_at_ms),
            provider_id: Some(id.to_owned()),
            ..record.clone()
        })),
    }
}

#[async_trait]
impl TakeReport for Adopter {
    async fn take(&self, attempt: AttemptId, secret: &str, body: &[u8]) -> Result<(), NotTaken> {
        if !self.address.knows(secret) {
            return Err(NotTaken::Stranger);
        }
        let id = self.backend.reported_id(body).ok_or(NotTaken::Unknown)?;
        for _ in 0..TRIES {
            let held = self.claims.read(attempt).await.map_err(|_| NotTaken::NotStored)?;
            let mut held = held.ok_or(NotTaken::Unknown)?;
            match report(&held.record, &id) {
                Report::Known => return Ok(()),
                Report::Late => {
                    tracing::warn!(%attempt, provider.id = id, "reported after it was given up as unknown");
                    metrics::counter!("argosy_worker_reports_total", "kind" => "late").increment(1);
                    return Ok(());
                }
                Report::Twice(known) => {
                    tracing::error!(%attempt, provider.id = id, known, "the provider ran one attempt twice");
                    metrics::counter!("argosy_worker_reports_total", "kind" => "twice").increment(1);
                    return Ok(());
                }
                Report::Adopt(record) => match self.claims.write(&mut held, *record).await {
                    Ok(()) => {
                        tracing::info!(%attempt, provider.id = id, "the provider reported an attempt's id");
                        metrics::counter!("argosy_worker_reports_total", "kind" => "adopted").increment(1);
                        return Ok(());
                    }
                    Err(ClaimError::Lost(_)) => {}
                    Err(ClaimError::Port { .. }) => return Err(NotTaken::NotStored),
                },
            }
        }
        Err(NotTaken::NotStored)
    }
}

#[cfg(test)]
mod tests {
    use schemas::samples;

    use super::*;

    #[test]
    fn a_report_is_taken_once_and_never_replaces_an_id() {
        let started = samples::attempt_record();
        assert_eq!(report(&started, "c80f-u1"), Report::Known);
        assert_eq!(report(&started, "other"), Report::Twice("c80f-u1".to_owned()));
        let intent = AttemptRecord { state: AttemptState::Intent, provider_id: None, ..started };
        let Report::Adopt(adopted) = report(&intent, "c80f-u1") else { panic!("it waits for it") };
        assert_eq!(adopted.provider_id.as_deref(), Some("c80f-u1"));
        assert_eq!(report(&adopted, "c80f-u1"), Report::Known, "a repeat");
        let settled = AttemptRecord { state: AttemptState::Settled, ..intent };
        assert_eq!(report(&settled, "c80f-u1"), Report::Late);
    }

    #[test]
    fn reports_need_url_and_secret() {
        let secret = Secret::new("s3cret");
        assert!(Address::new("https://fleet.example", &Secret::default()).is_none());
        assert!(Address::new("", &secret).is_none());
        let address = Address::new("https://fleet.example/", &secret).expect("both are there");
        let attempt = samples::attempt_record().id();
        assert_eq!(address.of(attempt), format!("https://fleet.example/reports/{attempt}?secret=s3cret"));
        assert!(address.knows("s3cret") && !address.knows("s3creT") && !address.knows(""));
    }
}
