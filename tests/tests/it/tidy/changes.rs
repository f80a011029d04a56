//! Where the processes change what the broker holds: in implementations of ports, and where nothing durable is changed.

use std::collections::{BTreeMap, BTreeSet};

use tests::fleet::root;

use super::sources;

/// Calls that change what the broker holds, as they stand in code without its white space.
const CHANGES: [&str; 17] = [
    ".publish(",
    ".publish_with",
    ".ack(",
    ".ack_with(",
    ".double_ack(",
    ".acknowledge(",
    ".purge(",
    ".delete(",
    ".delete_message(",
    ".create(",
    ".update(",
    ".put(",
    "claims.write(",
    "breakers.write(",
    // Requests to the broker's own interface, by name.
    "jetstream.request(",
    "$JS.API",
    "LEADER.STEPDOWN",
];

/// The files with such calls, and why each may have them.
const CHANGED_BY: [(&str, &str); 14] = [
    (
        "router/src/breaker_store.rs",
        "the bucket of breakers, written by revision: no job depends on it, and what is lost is learnt again",
    ),
    ("router/src/breakers.rs", "hands what changed to that bucket"),
    ("router/src/digest.rs", "says what waits, to routers that listen; nothing is stored"),
    ("router/src/ports.rs", "the ports"),
    ("router/src/stalled.rs", "asks for another leader where messages are stuck; no message is changed"),
    ("router/src/streams.rs", "what the ports do with streams"),
    ("router/src/waiting.rs", "answers questions; nothing is stored"),
    ("worker-host/src/io.rs", "stores results for the backend's port"),
    ("worker-host/src/kept_claims.rs", "files on the worker's own disk"),
    ("worker-host/src/nats.rs", "the ports"),
    ("worker-host/src/presence.rs", "the worker's own offer, which ages"),
    ("worker-host/src/progress.rs", "progress that may be lost; nothing is stored"),
    ("worker-host/src/spool.rs", "files on the worker's own disk"),
    ("worker-host/src/worker_ports.rs", "the ports"),
];

/// The calls of a file's code that change what the broker holds.
fn changes(text: &str) -> BTreeSet<&'static str> {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let dense: String = lines.flat_map(str::chars).filter(|letter| !letter.is_whitespace()).collect();
    CHANGES.into_iter().filter(|call| dense.contains(call)).collect()
}

/// The steps are `protocol`'s: the simulation runs them, so a step that a process takes by itself is not simulated.
#[test]
fn processes_change_what_the_broker_holds_only_through_ports() {
    let mut found = BTreeMap::new();
    for path in sources() {
        let shown = path.strip_prefix(root()).expect("below the root").display().to_string();
        if !["router/src/", "worker-host/src/"].iter().any(|of| shown.starts_with(of)) {
            continue;
        }
        let calls = changes(&std::fs::read_to_string(&path).expect("readable"));
        if !calls.is_empty() {
            found.insert(shown, calls);
        }
    }
    let allowed: BTreeSet<&str> = CHANGED_BY.iter().map(|(file, _)| *file).collect();
    for (file, calls) in &found {
        assert!(allowed.contains(file.as_str()), "{file} calls {calls:?}: make it a step behind a port");
    }
    for file in allowed {
        assert!(found.contains_key(file), "{file} makes no such call: take it out of the list");
    }
}

#[test]
fn calls_that_change_what_the_broker_holds_are_found() {
    for changing in [
        "self.store.update(&key, value.into(), revision).await",
        "store\n    .create(&key, value.into())",
        "requests.put(key, value.into())",
        "self.broker\n    .jetstream\n    .request(format!(\"CONSUMER.LEADER.STEPDOWN.{stream}\"), &())",
        "client.request(\"$JS.API.STREAM.PURGE.JOBS\", payload)",
    ] {
        assert!(!changes(changing).is_empty(), "{changing}");
    }
    for reading in
        ["store.entry(&key).await", "// a worker may .publish( here", "client.request(subject, payload)"]
    {
        assert!(changes(reading).is_empty(), "{reading}");
    }
}
