//! The provider's own report about work whose start was not confirmed: the id that it names goes into the claim, and
//! whichever worker holds the assignment then resumes by it.

use schemas::{AttemptId, AttemptRecord, AttemptState};

use crate::errors::ClaimError;
use crate::ports::Ports;

/// How often a claim is read again because another process wrote it in between.
const TRIES: u32 = 5;

/// What a report came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reported {
    /// The id is in the claim now.
    Recorded,
    /// The claim had it already.
    Known,
    /// The claim was settled without it: it was waited for in vain.
    Late,
    /// The claim has another id, this one: the provider ran the attempt twice.
    RanTwice(String),
    /// There is no such claim.
    NoClaim,
}

/// Writes a reported id into the claim of its attempt.
///
/// # Errors
/// The claim could not be read or written; [`ClaimError::Lost`] when others wrote it each time in between.
pub async fn take<P: Ports>(ports: &P, attempt: AttemptId, id: &str) -> Result<Reported, ClaimError> {
    for _ in 0..TRIES {
        let Some(mut held) = ports.read_claim(attempt).await? else { return Ok(Reported::NoClaim) };
        match report(&held.record, id) {
            Report::Nothing(reported) => return Ok(reported),
            Report::Record(record) => match ports.write_claim(&mut held, *record).await {
                Ok(()) => return Ok(Reported::Recorded),
                Err(ClaimError::Lost(_)) => {}
                Err(error) => return Err(error),
            },
        }
    }
    Err(ClaimError::Lost(attempt))
}

/// What a report means for a claim.
#[derive(Debug, PartialEq)]
enum Report {
    /// There is nothing to write.
    Nothing(Reported),
    /// The claim waits for it.
    Record(Box<AttemptRecord>),
}

fn report(record: &AttemptRecord, id: &str) -> Report {
    match (&record.provider_id, record.state) {
        (Some(known), _) if known == id => Report::Nothing(Reported::Known),
        (Some(known), _) => Report::Nothing(Reported::RanTwice(known.clone())),
        (None, AttemptState::Settled) => Report::Nothing(Reported::Late),
        (None, _) => Report::Record(Box::new(AttemptRecord {
            state: AttemptState::Started,
            started_at_ms: Some(record.claimed_at_ms),
            provider_id: Some(id.to_owned()),
            ..record.clone()
        })),
    }
}

#[cfg(test)]
mod tests {
    use schemas::samples;

    use super::*;

    #[test]
    fn a_report_is_taken_once_and_never_replaces_an_id() {
        let started = samples::attempt_record();
        assert_eq!(report(&started, "c80f-u1"), Report::Nothing(Reported::Known));
        assert_eq!(report(&started, "other"), Report::Nothing(Reported::RanTwice("c80f-u1".to_owned())));
        let intent = AttemptRecord { state: AttemptState::Intent, provider_id: None, ..started };
        let Report::Record(adopted) = report(&intent, "c80f-u1") else { panic!("it waits for it") };
        assert_eq!(adopted.provider_id.as_deref(), Some("c80f-u1"));
        assert_eq!(report(&adopted, "c80f-u1"), Report::Nothing(Reported::Known), "a repeat");
        let settled = AttemptRecord { state: AttemptState::Settled, ..intent };
        assert_eq!(report(&settled, "c80f-u1"), Report::Nothing(Reported::Late));
    }
}
