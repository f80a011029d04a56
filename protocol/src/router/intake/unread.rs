//! Messages in stream `JOBS` that no lane's consumer delivers: an earlier version of the stream took any lane and any
//! number of tenants' names, and acknowledged what nothing reads. Each is refused with its reason, parked with its bytes,
//! and only then deleted.

use std::collections::BTreeSet;

use schemas::topology::stream;
use schemas::{Failure, JobFacts, Lane, subjects};

use super::address::sniff_id;
use super::arrived::Arrived;
use super::refuse::{Refusal, refuse};
use super::verdict::Verdict;
use crate::errors::StepError;
use crate::router::ports::{Delivery, RouterPorts};
use crate::router::too_new::Resting;

/// Messages of one subject that are refused in one look.
const EACH_MAX: usize = 100;

/// Subjects that are looked at in one look.
const SUBJECTS_MAX: usize = 100;

/// Looks for messages that no lane's consumer delivers, and refuses them; how many.
///
/// # Errors
/// The broker failed in between; the next look goes on.
pub async fn refuse_unread<P: RouterPorts>(ports: &P) -> Result<u64, StepError> {
    let subjects: BTreeSet<String> = ports.unread_subjects().await?.into_iter().collect();
    let mut refused = 0;
    for subject in subjects.iter().filter(|subject| !subjects::is_read_by_intake(subject)).take(SUBJECTS_MAX)
    {
        let mut next = 1;
        for _ in 0..EACH_MAX {
            let Some(message) = ports.read_job(subject, next).await? else { break };
            let sequence = message.sequence();
            next = sequence + 1;
            let refusal = refusal(&message);
            // Told apart from what the broker would deliver again: it is not answered, it is deleted.
            if matches!(
                refuse(ports, &Resting::default(), &Arrived::delivered(message), refusal).await?,
                Verdict::Done
            ) {
                ports.delete(stream::JOBS, sequence).await?;
                refused += 1;
            }
        }
    }
    Ok(refused)
}

fn refusal<D: Delivery>(message: &D) -> Refusal {
    let lanes = Lane::ALL.map(Lane::as_str).join(", ");
    let words = format!(
        "no lane reads `{}`: publish jobs to argosy.jobs.<lane>.<tenant>, where the lane is one of {lanes}",
        message.subject()
    );
    let job = message.job().ok();
    let id = job.as_ref().map(|job| job.id);
    let id = id.or_else(|| sniff_id(message.content_type(), message.payload()));
    let facts = job.map(|job| JobFacts::of_refused(&job, message.published_at_ms()));
    Refusal { facts, id, failure: Failure::invalid("lane", words) }
}
