//! The list of log fields: one name for one thing, in the logs of every process.
//!
//! A field of a `tracing` macro that is not in [`FIELDS`] fails a test of the workspace
//! (`tests/tests/it/observability.rs`), so that a query over the logs of all processes finds a job, a backend or an
//! error by one name. The page docs/log-fields.md is generated from the list.

/// A field, and what it holds.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it holds, in a sentence.
    pub meaning: &'static str,
}

macro_rules! fields {
    ($($name:literal: $meaning:literal,)*) => {
        /// All log fields, in alphabetical order.
        pub const FIELDS: &[Field] = &[$(Field { name: $name, meaning: $meaning }),*];
    };
}

fields! {
    "action": "What a loop was doing when it failed.",
    "answer": "What the broker answered.",
    "assignments": "How many assignments.",
    "attempt": "The number of the attempt within its job, from 1; it stands beside `job`.",
    "available": "Whether the ledger answers.",
    "backend": "The backend where the job or attempt is.",
    "before_ms": "What the clock was corrected by before, milliseconds.",
    "bucket": "The bucket of the broker.",
    "code": "The failure code, as events and the ledger name it; empty if nothing failed.",
    "connection": "What happened to the connection to the broker.",
    "consumer": "The durable consumer of the stream.",
    "cure": "What an operator can do about it.",
    "decision": "What a worker does with a claim that it found.",
    "document": "The configuration document: `policy`, `catalog`, `prices`, `tenants`.",
    "endpoint": "The endpoint of the service `argosy.api`.",
    "entries": "How many entries of a bucket.",
    "error": "The error that was met, with its causes.",
    "events": "How many events.",
    "field": "The field of the message that was refused.",
    "first_job": "The job that has the idempotency key.",
    "health": "The health that the worker offers, as in its offer.",
    "job": "The id of the job.",
    "key": "The key of the file in the artifact store.",
    "lane": "The lane: `interactive`, `standard`, `batch`.",
    "messages": "How many messages.",
    "other_provider_id": "Another id that the provider gave the same attempt.",
    "partitions": "How many partitions of tables were created.",
    "path": "A folder or file on this machine.",
    "place": "The file of the code that logs lines of which some were held back.",
    "provider_id": "The id under which the provider runs the attempt; at ComfyUI the prompt id.",
    "provider_state": "The state that the provider names, in its words.",
    "queue": "The queue of the backend: a class, and behind a `+` which servers can do the work.",
    "reason": "Why something was decided, refused or said to have failed, in words.",
    "refused": "How many messages were refused.",
    "revision": "The revision of the document in bucket `CONFIG`.",
    "sequence": "The sequence of the message in its stream.",
    "served": "Whether a worker serves the queue.",
    "simulated": "Whether the worker drives a simulator.",
    "skew_ms": "How far the clock of this machine is ahead of the broker's, milliseconds.",
    "slots": "How many attempts the worker runs at once.",
    "state": "The state in which the job ended.",
    "stream": "The stream of the broker.",
    "subject": "The subject of the message.",
    "task": "The task of the process.",
    "tenant": "The tenant of the job.",
    "tries": "How many tries were made so far.",
    "unlogged": "How many failures of the same loop, or lines of the same place, were not logged since the last line.",
    "version": "The version of the process.",
    "wait_ms": "How long until the next try, milliseconds.",
    "worker": "The worker's id.",
}

/// The page docs/log-fields.md.
#[must_use]
pub fn page() -> String {
    let mut page = "# Log fields\n\nGenerated from `runtime/src/log_fields.rs`; a test fails when the two differ, and \
         `UPDATE_GOLDEN=1 cargo test -p runtime --lib log_fields` rewrites this page. Every process logs to standard \
         error: text, or one JSON object a line with `ARGOSY_LOG__FORMAT=json`. Beside these fields a line has its \
         time, its level, its module and its message. Prompts, keys and contents of files are never logged.\n\n\
         | field | meaning |\n|---|---|\n"
        .to_owned();
    for Field { name, meaning } in FIELDS {
        page += &format!("| `{name}` | {meaning} |\n");
    }
    page
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_page_is_the_list() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/log-fields.md");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, page()).expect("written");
        }
        let now = std::fs::read_to_string(&file).expect("docs/log-fields.md is there");
        assert!(now == page(), "docs/log-fields.md differs from the list: run with UPDATE_GOLDEN=1");
    }

    #[test]
    fn the_list_is_in_order_and_names_each_field_once() {
        for (one, next) in FIELDS.iter().zip(&FIELDS[1..]) {
            assert!(one.name < next.name, "{} stands before {}", one.name, next.name);
        }
    }
}
