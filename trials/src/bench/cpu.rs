//! Processor time and memory of other processes, from `/proc`: steadier than the wall clock on a machine that
//! others use too.

use anyhow::Context as _;
use std::collections::BTreeMap;
use std::fs;

/// A tick of `/proc/<pid>/stat`, microseconds: the kernel's `USER_HZ` is 100 on every Linux.
const TICK_US: u64 = 10_000;

/// Processes by the name under which their time is added up.
#[derive(Debug, Clone, Default)]
pub struct Watched(Vec<(String, u32)>);

/// Processor time so far, microseconds, by name.
pub type Used = BTreeMap<String, u64>;

impl Watched {
    /// One more process; its children's time is added under the same name.
    pub fn add(&mut self, name: &str, pid: u32) {
        self.0.push((name.to_owned(), pid));
    }

    /// The processor time that all have used so far.
    ///
    /// # Errors
    /// `/proc` cannot be read; one that ended counts nothing.
    pub fn used(&self) -> anyhow::Result<Used> {
        let all = stats()?;
        let mut used = Used::new();
        for (name, pid) in &self.0 {
            let own = all.iter().filter(|stat| stat.pid == *pid || stat.parent == *pid);
            // The time of a child that ended is its parent's: without it the sum would fall when a child ends.
            let time_us =
                |stat: &Stat| stat.used_us + if stat.pid == *pid { stat.ended_children_us } else { 0 };
            *used.entry(name.clone()).or_default() += own.map(time_us).sum::<u64>();
        }
        Ok(used)
    }

    /// Resident memory by name, bytes; the largest where a name has several processes.
    #[must_use]
    pub fn resident_bytes(&self) -> BTreeMap<String, u64> {
        let mut resident = BTreeMap::new();
        for (name, pid) in &self.0 {
            let one = resident.entry(name.clone()).or_insert(0);
            *one = resident_of(*pid).max(*one);
        }
        resident
    }
}

/// What was used between two looks, microseconds.
#[must_use]
pub fn between(before: &Used, after: &Used) -> Used {
    let since = |(name, used): (&String, &u64)| {
        (name.clone(), used.saturating_sub(before.get(name).copied().unwrap_or_default()))
    };
    after.iter().map(since).collect()
}

/// This process's own time so far, microseconds.
///
/// # Errors
/// `/proc` cannot be read.
pub fn own_us() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/self/stat").context("/proc/self/stat")?;
    parse(&text).map(|stat| stat.used_us).context("/proc/self/stat is not as proc(5) says")
}

struct Stat {
    pid: u32,
    parent: u32,
    used_us: u64,
    /// Of children that ended and were waited for.
    ended_children_us: u64,
}

fn stats() -> anyhow::Result<Vec<Stat>> {
    let entries = fs::read_dir("/proc").context("/proc: processor time is measured on Linux only")?;
    let texts = entries
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit));
    // One that ends while we look is passed over.
    Ok(texts.filter_map(|entry| parse(&fs::read_to_string(entry.path().join("stat")).ok()?)).collect())
}

/// `proc(5)`: pid, name in parentheses (which may hold anything), state, parent, ..., utime (14), stime (15), cutime (16),
/// cstime (17).
fn parse(text: &str) -> Option<Stat> {
    let (head, tail) = text.rsplit_once(')')?;
    let pid = head.split_once(' ')?.0.parse().ok()?;
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        used_us: (ticks(11)? + ticks(12)?) * TICK_US,
        ended_children_us: (ticks(13)? + ticks(14)?) * TICK_US,
    })
}

fn resident_of(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let text = "42 (a (b) c) S 7 42 42 0 -1 4194560 1 0 0 0 150 50 30 10 20 0 1 0 100 1 1";
        let stat = parse(text).expect("as the manual says");
        assert_eq!((stat.pid, stat.parent, stat.used_us), (42, 7, 2_000_000));
        assert_eq!(stat.ended_children_us, 400_000);
        assert!(parse("nonsense").is_none());
    }

    #[test]
    fn ones_own_time_grows() {
        let before = own_us().expect("Linux");
        let mut watched = Watched::default();
        watched.add("own", std::process::id());
        let mut sum = 0u64;
        while own_us().expect("Linux") < before + 2 * TICK_US {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(watched.used().expect("Linux")["own"] > before);
        assert!(watched.resident_bytes()["own"] > 1024 * 1024);
    }
}
