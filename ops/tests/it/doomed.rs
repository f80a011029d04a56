//! A second copy of this test program that plays a parent and is killed, to see what becomes of its children.

use crate::scratch;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const WITHIN: Duration = Duration::from_secs(60);
/// Tells the copy that it is one, and where to write its children's process ids.
const DIR: &str = "ARGOSY_TEST_PARENT_DIR";

pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + WITHIN;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {WITHIN:?}: {what}");
        std::thread::yield_now();
    }
}

/// The state letter of a process in /proc; `None` when there is no such process.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// A zombie has ended: its new parent has merely not looked yet.
pub(crate) fn lives(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

/// In the copy: where to work. `None` when the ignored test was run by hand.
pub(crate) fn doomed_dir() -> Option<PathBuf> {
    std::env::var_os(DIR).map(PathBuf::from)
}

/// In the copy: says which children it has; never returns.
pub(crate) fn settle_and_wait_for_death(dir: &Path, children: &[u32]) {
    let pids: Vec<String> = children.iter().map(ToString::to_string).collect();
    std::fs::write(dir.join("pids.new"), pids.join(" ")).unwrap();
    std::fs::rename(dir.join("pids.new"), dir.join("pids")).unwrap();
    loop {
        std::thread::park();
    }
}

/// Runs the ignored test `parent` in a copy of this program, kills that with SIGKILL once it has its children,
/// and waits for the end of each of them.
pub(crate) fn kill_the_parent(parent: &str) {
    let (_scratch, dir) = scratch();
    let log = std::fs::File::create(dir.join("parent.log")).unwrap();
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", parent])
        .env(DIR, &dir)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    wait_until("the parent has its children", || {
        if process.try_wait().unwrap().is_some() {
            panic!("{}", std::fs::read_to_string(dir.join("parent.log")).unwrap());
        }
        dir.join("pids").exists()
    });
    let pids = std::fs::read_to_string(dir.join("pids")).unwrap();
    let children: Vec<u32> = pids.split(' ').map(|pid| pid.parse().unwrap()).collect();
    assert!(children.iter().all(|&child| lives(child)), "all run until the parent is killed");
    process.kill().unwrap();
    process.wait().unwrap();
    for child in children {
        wait_until("the child has ended", || !lives(child));
    }
}
