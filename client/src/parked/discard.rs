//! Takes entries out of what is parked, with who did it and why.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use runtime::artifacts::sha256_hex;
use runtime::broker::Broker;
use runtime::publish::Message;
use schemas::{Failure, FailureCode, Parked, subjects};
use serde_json::json;

use super::{DISCARDED, Entry, delete};

/// Who takes something out, and why.
#[derive(Debug, Clone)]
pub struct Discard {
    /// The person.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When, Unix milliseconds.
    pub time_ms: i64,
}

/// Deletes entries, the record of it first: one for each tenant, parked with the code [`DISCARDED`], which lists what was
/// taken out. A record is kept for as long as what is parked; it cannot be discarded itself.
///
/// # Errors
/// No reason is given, or the broker does not answer; then what was not deleted is still parked: discard it again.
pub async fn discard(broker: &Broker, entries: &[Entry], discard: &Discard) -> anyhow::Result<()> {
    if discard.reason.trim().is_empty() {
        bail!("--reason is empty: say why they are discarded");
    }
    let mut by_tenant: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.code != DISCARDED) {
        by_tenant.entry(&entry.tenant).or_default().push(entry);
    }
    for (tenant, entries) in by_tenant {
        let record = record(tenant, &entries, discard);
        let first = entries.first().map_or("unknown", |entry| entry.job.as_str());
        let subject = format!("{}.parked.{tenant}.{DISCARDED}.{first}", subjects::PREFIX);
        let numbers: Vec<String> = entries.iter().map(|entry| entry.sequence.to_string()).collect();
        // The same entries have one record, however often the call is made within the broker's time for repeats.
        let id = format!("discarded.{}", sha256_hex(numbers.join(".").as_bytes()));
        let bytes = schemas::codec::encode(&record);
        let message = Message::original(subject, id, bytes, None);
        broker.publisher.publish(&message).await.context("the record of the discard was not stored")?;
        for entry in entries {
            delete(broker, entry).await?;
        }
    }
    Ok(())
}

fn record(tenant: &str, entries: &[&Entry], discard: &Discard) -> Parked {
    let Discard { by, reason, time_ms } = discard;
    let listed: Vec<_> = entries
        .iter()
        .map(|entry| json!({"sequence": entry.sequence, "job": entry.job, "code": entry.code}))
        .collect();
    let count = entries.len();
    let words = format!("{count} of {tenant} discarded by {by}: {reason}");
    let listed = json!(listed).to_string();
    Parked::new(
        *time_ms,
        Failure::new(FailureCode::Unknown, words),
        ("argosy parked discard", Some("application/json"), listed.as_bytes()),
        Vec::new(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_says_who_why_and_what() {
        let entry = |sequence: u64| Entry {
            sequence,
            tenant: "a".to_owned(),
            code: "poison".to_owned(),
            job: format!("job-{sequence}"),
            parked: None,
        };
        let entries = [entry(3), entry(9)];
        let discard = Discard { by: "ann".to_owned(), reason: "of the outage".to_owned(), time_ms: 5 };
        let record = record("a", &entries.iter().collect::<Vec<_>>(), &discard);
        assert_eq!(record.failure.message, "2 of a discarded by ann: of the outage");
        let listed: serde_json::Value =
            serde_json::from_slice(&record.original().expect("short")).expect("JSON");
        assert_eq!((&listed[1]["sequence"], &listed[1]["job"]), (&json!(9), &json!("job-9")));
        assert_eq!(record.time_ms, 5);
    }
}
