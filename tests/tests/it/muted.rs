//! Every call of a port in `protocol` is turned into a no-op that says it succeeded, one at a time: the simulation has
//! to notice.

use std::collections::{BTreeMap, BTreeSet};
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

/// What asks nothing of the world outside the process, or is the work itself: the clock, what the process remembers and
/// is set to, how a message is made, what a provider is asked. All other functions of the ports are muted.
const NOT_MUTED: [&str; 32] = [
    "absence_of_claim",
    "attempt",
    "bills",
    "change_fleet",
    "config",
    "deliveries",
    "expected_bytes",
    "find",
    "hard_stopping",
    "is_ledger_available",
    "is_short_of_room_for_events",
    "is_simulated",
    "is_stopping",
    "learn",
    "message",
    "note",
    "now_ms",
    "open",
    "progress",
    "reports",
    "reserve_room",
    "rest",
    "room",
    "room_changed",
    "run",
    "schemas",
    "sleep",
    "stopping",
    "stored_at_ms",
    "wait_for_room",
    "with_fleet",
    "worker",
];

/// The files in which the traits of the ports stand.
const TRAITS: [&str; 4] = ["ports.rs", "router/ports.rs", "worker/ports.rs", "make_room.rs"];

/// What the ports are called that do something outside the process, or ask something of it.
fn ports() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in TRAITS {
        let text = std::fs::read_to_string(source().join(file)).expect("readable");
        let mut is_inside = false;
        for line in text.lines() {
            let of =
                line.strip_prefix("pub trait ").map(|rest| rest.split([':', ' ']).next().unwrap_or(rest));
            is_inside = of.map_or(is_inside && line != "}", |name| name.ends_with("Ports"));
            let name = line.strip_prefix("    fn ").filter(|_| is_inside);
            found.extend(name.map(|rest| rest.split(['(', '<']).next().unwrap_or(rest).to_owned()));
        }
    }
    for name in NOT_MUTED {
        assert!(found.remove(name), "no port is called `{name}`");
    }
    found
}

fn source() -> PathBuf {
    tests::fleet::root().join("protocol/src")
}

/// A call as it stands in the source.
struct Call {
    /// `<file> <port> <which of that file>`.
    name: String,
    site: (String, u32, String),
}

/// All calls of ports in the source of `protocol`.
fn calls() -> Vec<Call> {
    let (source, ports) = (source(), ports());
    let mut files = Vec::new();
    collect(&source, &mut files);
    files.sort();
    let mut found = Vec::new();
    for path in files {
        let file = path.strip_prefix(&source).expect("below it").display().to_string();
        let text = std::fs::read_to_string(&path).expect("readable");
        let mut counted: BTreeMap<&String, u32> = BTreeMap::new();
        for (number, line) in text.lines().take_while(|line| *line != "#[cfg(test)]").enumerate() {
            // What every port does by itself calls another one.
            let called = |port: &&String| {
                line.contains(&format!("ports.{port}("))
                    || file == TRAITS[0] && line.contains(&format!("self.{port}()"))
            };
            for port in ports.iter().filter(called) {
                let nth = counted.entry(port).or_default();
                *nth += 1;
                let line = u32::try_from(number + 1).expect("few lines");
                found.push(Call {
                    name: format!("{file} {port} {nth}"),
                    site: (file.clone(), line, port.clone()),
                });
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
fn reached(runs: u64) -> BTreeMap<(String, u32, String), Site> {
    let mut found = BTreeMap::new();
    for (_, list) in lists(runs) {
        for (site, port) in sites(&list) {
            let file = site.file().rsplit_once("protocol/src/").expect("in protocol").1;
            found.insert((file.to_owned(), site.line(), port.to_owned()), site);
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

/// The first list whose run breaks a promise while a call is muted, and keeps it otherwise; the one that did the last time
/// is looked at first.
fn notice(site: Site, before: Option<&String>, within: u64) -> Option<(String, Breach)> {
    let known = before.and_then(|name| Some((name.clone(), named(name)?)));
    known.into_iter().chain(lists(within)).find_map(|(name, list)| {
        let breach = run_muted(&list, site).1?;
        // What breaks a promise unmuted says nothing about the call.
        run(&list, Mutation::None).1.is_none().then_some((name, breach))
    })
}

/// The list of a name.
fn named(name: &str) -> Option<List> {
    match name.strip_prefix("run ") {
        Some(number) => Some(list(SEED.wrapping_add(number.parse().ok()?))),
        None => lists(0).find(|(known, _)| known == name).map(|(_, list)| list),
    }
}

fn noticed_path() -> PathBuf {
    tests::fleet::root().join("tests/regressions/muted-noticed.txt")
}

/// In which list each call was noticed the last time.
fn noticed_before() -> BTreeMap<String, String> {
    let words = std::fs::read_to_string(noticed_path()).unwrap_or_default();
    let lines = words.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(": "))
        .map(|(call, list)| (call.to_owned(), list.to_owned()))
        .collect()
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
    let (reached, before) = (reached(20), noticed_before());
    for name in wanted {
        let call = calls().into_iter().find(|call| call.name == name);
        let call = call.unwrap_or_else(|| panic!("`{name}` is no call of a port any more: name another"));
        let site = reached.get(&call.site).unwrap_or_else(|| panic!("no run calls {name}"));
        assert!(notice(site, before.get(name), 60).is_some(), "{name} does nothing, and no promise breaks");
    }
}

/// Nine of ten are noticed; each that is not stands in `tests/regressions/muted.txt` with its reason. With
/// `MUTED=<words>,<words>` only the calls are muted whose name has any of the words, and the list is not looked at;
/// `MUTED_SEEDS` says how many seeds each call gets. With `UPDATE_GOLDEN=1` it is written down where each was noticed.
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
    let (before, noticed) = (noticed_before(), Mutex::new(BTreeMap::new()));
    let (next, survivors) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(call) = muted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (name, line, site) = (&call.name, call.site.1, reached.get(&call.site));
                    if let Some((list, breach)) = site.and_then(|site| notice(site, before.get(name), within))
                    {
                        let Breach { promise, words, .. } = breach;
                        println!("{name} (line {line}): {promise:?} in {list}: {words}");
                        noticed.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), list);
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
    let noticed = noticed.into_inner().unwrap_or_else(PoisonError::into_inner);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let known: BTreeMap<String, String> = before.into_iter().chain(noticed).collect();
        let there = known
            .into_iter()
            .filter(|(name, _)| !survivors.contains(name) && calls.iter().any(|call| call.name == *name));
        let lines: String = there.map(|(name, list)| format!("{name}: {list}\n")).collect();
        let head = "# In which list each muted port call was noticed, so that it is looked at first: make muted writes it.\n";
        std::fs::write(noticed_path(), format!("{head}{lines}")).expect("written");
    }
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
