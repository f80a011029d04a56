//! The first jobs of other tenants behind those that wait, read past the lane's consumer, which may deliver them as
//! well. A job that was read so is deleted once it is placed, and else stays where it is.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use schemas::subjects::{self, Subject};
use schemas::{Lane, Tenant};

use crate::errors::PortError;
use crate::router::ports::{Delivery, RouterPorts};

/// Jobs of one tenant that are read past the consumer.
const EACH_MAX: usize = 16;

/// Jobs of a lane that are in hand and were read past the consumer, at most.
const READ_MAX: usize = 128;

/// Tenants of a lane that are read from in one look.
const TENANTS_MAX: usize = 1_000;

/// Messages that were read past the consumer and are in hand, by their sequence.
#[derive(Debug, Clone, Default)]
pub struct InHand(Arc<Mutex<HashSet<u64>>>);

/// One of them; given up when dropped.
#[derive(Debug)]
pub struct Read {
    of: InHand,
    sequence: u64,
}

impl InHand {
    fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// None when it is in hand already.
    fn take(&self, sequence: u64) -> Option<Read> {
        let new = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(sequence);
        new.then(|| Read { of: self.clone(), sequence })
    }
}

impl Drop for Read {
    fn drop(&mut self) {
        self.of.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.sequence);
    }
}

/// Reads the first jobs of tenants that have few or none in hand.
///
/// # Errors
/// The broker did not answer.
pub async fn look<P: RouterPorts>(
    ports: &P,
    lane: Lane,
    in_hand: &InHand,
) -> Result<Vec<(P::Delivery, Read)>, PortError> {
    let waiting = ports.waiting_in(lane).await?;
    let mut found = Vec::new();
    for (subject, want) in wanted(&waiting, &ports.room().tenants(lane)) {
        let want = want.min(READ_MAX.saturating_sub(in_hand.count()));
        if want == 0 {
            break;
        }
        let (mut next, mut taken) = (1, 0);
        // Some of the first may be in hand: passed over.
        for _ in 0..want + EACH_MAX {
            let Some(message) = ports.read_job(&subject, next).await? else { break };
            next = message.sequence() + 1;
            // The consumer delivers one of a newer schema, and it is handed back until a newer router has it.
            let is_newer = ports.schemas().check_job(message.content_type(), message.payload()).is_some();
            if is_newer {
                continue;
            }
            if let Some(read) = in_hand.take(message.sequence()) {
                found.push((message, read));
                taken += 1;
            }
            if taken == want {
                break;
            }
        }
    }
    Ok(found)
}

/// Whose jobs to read, and how many: of tenants that have fewer in hand than may be read, those with the fewest
/// in the lane first.
fn wanted(waiting: &[(String, usize)], in_hand: &HashMap<Tenant, usize>) -> Vec<(String, usize)> {
    let mut wanted: Vec<(usize, &String, usize)> = waiting
        .iter()
        .filter_map(|(subject, count)| {
            let Some(Subject::Jobs(_, tenant)) = subjects::parse(subject) else { return None };
            let held = in_hand.get(&tenant).copied().unwrap_or_default();
            let more = EACH_MAX.saturating_sub(held).min(count.saturating_sub(held));
            (more > 0).then_some((*count, subject, more))
        })
        .collect();
    wanted.sort_unstable();
    wanted.truncate(TENANTS_MAX);
    wanted.into_iter().map(|(_, subject, more)| (subject.clone(), more)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(tenant: &str) -> String {
        subjects::jobs(Lane::Standard, &tenant.parse().expect("a tenant"))
    }

    #[test]
    fn those_with_few_come_first_and_a_flood_that_is_in_hand_not_at_all() {
        let waiting = [(subject("flood"), 100_000), (subject("few"), 10), (subject("one"), 1)];
        let in_hand = HashMap::from([("flood".parse().expect("a tenant"), 64)]);
        assert_eq!(wanted(&waiting, &in_hand), [(subject("one"), 1), (subject("few"), 10)]);
        let in_hand =
            HashMap::from([("few".parse().expect("a tenant"), 6), ("one".parse().expect("a tenant"), 1)]);
        assert_eq!(wanted(&waiting, &in_hand), [(subject("few"), 4), (subject("flood"), EACH_MAX)]);
    }
}
