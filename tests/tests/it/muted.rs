//! Every call of a port in `protocol` is turned into a no-op that says it succeeded, one at a time: the simulation has
//! to notice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tests::simulation::operations::text;
use tests::simulation::{Breach, List, Mutation, Site, list, run, run_muted, sites};

/// The seed from which lists are made.
const SEED: u64 = 20_261_123;
/// Seeds within which a muted port call has to be noticed.
const NOTICED_WITHIN: u64 = 1_500;
/// Lists from which the calls are collected that a run reaches.
const REACHED_FROM: u64 = 400;

/// What the ports are called that do something outside the process, or ask something of it.
const PORTS: [&str; 35] = [
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
    "unread_subjects",
    "unregister",
    "waiting_in",
    "write_claim",
];

/// A call as it stands in the source.
struct Call {
    /// `<file> <port> <which of that file>`.
    name: String,
    site: (String, u32, &'static str),
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
                found.push(Call { name: format!("{file} {port} {nth}"), site: (file.clone(), line, *port) });
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

/// The calls that a number of runs reach, by file, line and port.
fn reached(runs: u64) -> BTreeMap<(String, u32, &'static str), Site> {
    let mut found = BTreeMap::new();
    for (_, list) in lists(runs) {
        for (site, port) in sites(&list) {
            let file = site.file().rsplit_once("protocol/src/").expect("in protocol").1;
            found.insert((file.to_owned(), site.line(), port), site);
        }
    }
    found
}

/// The lists with which calls are muted: those that are kept, then so many from seeds; with their names.
fn lists(within: u64) -> impl Iterator<Item = (String, List)> {
    let folder = tests::fleet::root().join("tests/regressions/simulation");
    let mut kept: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("the folder").flatten().map(|entry| entry.path()).collect();
    kept.sort();
    let kept = kept.into_iter().map(|path| {
        let words = std::fs::read_to_string(&path).expect("readable");
        let name = path.file_stem().unwrap_or_default().display().to_string();
        (name, text::read(&words).expect("a list"))
    });
    kept.chain((0..within).map(|number| (format!("run {number}"), list(SEED.wrapping_add(number)))))
}

/// The first list whose run breaks a promise while a call is muted, and keeps it otherwise.
fn notice(site: Site, within: u64) -> Option<(String, Breach)> {
    lists(within).find_map(|(name, list)| {
        let breach = run_muted(&list, site).1?;
        // What breaks a promise unmuted says nothing about the call.
        run(&list, Mutation::None).1.is_none().then_some((name, breach))
    })
}

/// A call of each kind, for every change: whether they are noticed at all.
#[test]
fn some_muted_port_calls_are_noticed() {
    let wanted = [
        "router/cancel.rs purge_work 1",
        "router/intake/arrived.rs answer 1",
        "router/place.rs reserve 1",
        "worker/claim.rs create_claim 1",
        "worker/settle.rs publish 1",
    ];
    let reached = reached(20);
    for name in wanted {
        let call = calls().into_iter().find(|call| call.name == name);
        let call = call.unwrap_or_else(|| panic!("`{name}` is no call of a port any more: name another"));
        let site = reached.get(&call.site).unwrap_or_else(|| panic!("no run calls {name}"));
        assert!(notice(site, 60).is_some(), "{name} does nothing, and no promise breaks");
    }
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
    let reached = reached(REACHED_FROM);
    for site in reached.keys() {
        let known = calls.iter().any(|call| call.site == *site);
        assert!(known, "{site:?} calls a port, and is not found in the source");
    }
    let muted: Vec<&Call> =
        calls.iter().filter(|call| wanted.iter().any(|words| call.name.contains(words))).collect();
    let (next, survivors) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(call) = muted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (name, line, site) = (&call.name, call.site.1, reached.get(&call.site));
                    if let Some((list, breach)) = site.and_then(|site| notice(site, within)) {
                        let Breach { promise, words, .. } = breach;
                        println!("{name} (line {line}): {promise:?} in {list}: {words}");
                    } else {
                        let is_reached = if site.is_some() { "reached" } else { "not reached" };
                        println!("{name} (line {line}): NOT NOTICED, {is_reached}");
                        survivors.lock().unwrap_or_else(PoisonError::into_inner).push(name.clone());
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
    let unlisted: Vec<&String> =
        survivors.iter().filter(|survivor| !listed.contains(&survivor.as_str())).collect();
    assert!(
        unlisted.is_empty(),
        "not noticed, and without a reason in tests/regressions/muted.txt: {unlisted:?}"
    );
    let unneeded: Vec<&&str> =
        listed.iter().filter(|name| !survivors.iter().any(|survivor| survivor == **name)).collect();
    println!("listed and noticed: {unneeded:?}");
}
