//! Every call of a port in `protocol` is turned into a no-op that says it succeeded, one at a time: the simulation has
//! to notice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tests::simulation::{Mutation, Site, list, run, run_muted, sites};

/// The seed from which lists are made.
const SEED: u64 = 20_261_123;
/// Seeds within which a muted port call has to be noticed.
const NOTICED_WITHIN: u64 = 1_500;
/// Lists from which the calls are collected that a run reaches.
const REACHED_FROM: u64 = 600;

/// What the ports are called that do something outside the process, or ask something of it.
const PORTS: [&str; 34] = [
    "abandon",
    "acknowledge_confirmed",
    "acknowledge_late",
    "acknowledged_up_to",
    "answer",
    "create_claim",
    "create_key",
    "delete",
    "events",
    "failed",
    "is_cancelled",
    "last_assigned",
    "last_ended",
    "next_message",
    "next_queued",
    "publish",
    "purge_work",
    "queued",
    "queued_at",
    "read_claim",
    "read_job",
    "register",
    "release_spooled",
    "remove_spooled",
    "request_cancel",
    "reserve",
    "sequence_of",
    "store",
    "store_spooled",
    "take_spooled",
    "undelivered_from",
    "unregister",
    "waiting_in",
    "write_claim",
];

/// A call as it stands in the source.
struct Call {
    /// `<file> <port> <which of that file>`.
    name: String,
    file: String,
    line: u32,
}

/// All calls of ports in the source of `protocol`.
fn calls() -> Vec<Call> {
    let source = tests::fleet::root().join("protocol/src");
    let mut files = Vec::new();
    collect(&source, &mut files);
    files.sort();
    let mut found = Vec::new();
    for path in files {
        let file = path.strip_prefix(&source).expect("below it").display().to_string();
        let text = std::fs::read_to_string(&path).expect("readable");
        let mut counted: BTreeMap<&str, u32> = BTreeMap::new();
        for (number, line) in text.lines().take_while(|line| *line != "#[cfg(test)]").enumerate() {
            let called = |port: &&&str| line.contains(&format!("ports.{port}("));
            for port in PORTS.iter().filter(called) {
                let nth = counted.entry(port).or_default();
                *nth += 1;
                let line = u32::try_from(number + 1).expect("few lines");
                found.push(Call { name: format!("{file} {port} {nth}"), file: file.clone(), line });
            }
        }
    }
    found
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

/// The calls that runs reach, by file and line.
fn reached() -> BTreeMap<(String, u32), Site> {
    let mut found = BTreeMap::new();
    for number in 0..REACHED_FROM {
        for site in sites(&list(SEED.wrapping_add(number))).into_keys() {
            let file = site.file().rsplit_once("protocol/src/").expect("in protocol").1;
            found.insert((file.to_owned(), site.line()), site);
        }
    }
    found
}

/// Nine of ten are noticed; each that is not stands in `tests/regressions/muted.txt` with its reason. With
/// `MUTED=<words>,<words>` only the calls are muted whose name has any of the words, and the list is not looked at;
/// `MUTED_SEEDS` says how many seeds each call gets.
#[test]
#[ignore = "takes minutes: make muted"]
fn a_muted_port_call_is_noticed() {
    let wanted = std::env::var("MUTED").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split(',').collect();
    let within = std::env::var("MUTED_SEEDS").ok().and_then(|text| text.parse().ok());
    let within = within.unwrap_or(NOTICED_WITHIN);
    let calls = calls();
    let reached = reached();
    for (file, line) in reached.keys() {
        let known = calls.iter().any(|call| call.file == *file && call.line == *line);
        assert!(known, "{file}:{line} calls a port, and is not found in the source");
    }
    let muted: Vec<&Call> =
        calls.iter().filter(|call| wanted.iter().any(|words| call.name.contains(words))).collect();
    let (next, survivors) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(call) = muted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let Call { name, file, line } = call;
                    let site = reached.get(&(file.clone(), *line));
                    let noticed = site.and_then(|site| {
                        (0..within).find_map(|number| {
                            let list = list(SEED.wrapping_add(number));
                            let breach = run_muted(&list, site).1?;
                            // What breaks a promise unmuted says nothing about the call.
                            run(&list, Mutation::None).1.is_none().then_some((number, breach))
                        })
                    });
                    match (noticed, site) {
                        (Some((number, breach)), _) => {
                            println!(
                                "{name} (line {line}): {:?} in run {number}: {}",
                                breach.promise, breach.words
                            );
                        }
                        (None, site) => {
                            let is_reached = if site.is_some() { "reached" } else { "not reached" };
                            println!("{name} (line {line}): NOT NOTICED, {is_reached}");
                            survivors.lock().unwrap_or_else(PoisonError::into_inner).push(name.clone());
                        }
                    }
                }
            });
        }
    });
    let mut survivors = survivors.into_inner().unwrap_or_else(PoisonError::into_inner);
    survivors.sort();
    println!("{} of {} port calls noticed", muted.len() - survivors.len(), muted.len());
    if muted.len() < calls.len() {
        return;
    }
    let path = tests::fleet::root().join("tests/regressions/muted.txt");
    let words = std::fs::read_to_string(path).expect("the list of survivors");
    let lines = words.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let listed: Vec<&str> = lines.map(|line| line.split_once(": ").expect("`<call>: <reason>`").0).collect();
    assert!(survivors.len() * 10 <= muted.len(), "{} of {} are not noticed", survivors.len(), muted.len());
    assert_eq!(survivors, listed, "tests/regressions/muted.txt lists what is not noticed, with the reason");
}
