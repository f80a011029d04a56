//! Whose a process number is. The system gives the number of what has ended to the next process that comes along, so a
//! recorded one says nothing by itself; with the moment at which its process started it does.

/// When the process started, in the system's own words: to be compared, never computed with. None where no process has
/// the number, or it has ended and only its parent has not noticed.
#[must_use]
pub fn started(pid: u32) -> Option<String> {
    words(pid)
}

/// Whose a recorded number is by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// Still the process that was recorded.
    Same,
    /// Nobody's.
    Gone,
    /// Another process's, which nobody recorded.
    Stranger,
}

/// Whose a number is, by when its process had started when it was recorded, and by when the one that has it now did. A
/// record without a moment is one of an earlier release: whoever has its number is believed.
#[must_use]
pub fn holder(recorded: Option<&str>, now: Option<&str>) -> Holder {
    match (recorded, now) {
        (_, None) => Holder::Gone,
        (Some(recorded), Some(now)) if recorded != now => Holder::Stranger,
        _ => Holder::Same,
    }
}

#[cfg(target_os = "linux")]
fn words(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Ticks since the machine came up, so that it is said which time that was.
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    ticks(&stat).map(|ticks| format!("{ticks} {}", boot.trim()))
}

/// The moment of start in `/proc/<pid>/stat`. The name, in brackets, may hold anything, spaces and brackets too.
#[cfg(target_os = "linux")]
fn ticks(stat: &str) -> Option<&str> {
    const STATE: usize = 0;
    const START_TIME: usize = 19;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let has_ended = ["Z", "X"].contains(fields.get(STATE)?);
    fields.get(START_TIME).copied().filter(|_| !has_ended)
}

#[cfg(not(target_os = "linux"))]
fn words(pid: u32) -> Option<String> {
    let mut ps = std::process::Command::new("ps");
    let said = ps.args(["-o", "stat=,lstart=", "-p", &pid.to_string()]).env("LC_ALL", "C").output().ok()?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let (state, start) = said.trim().split_once(' ')?;
    (!state.starts_with('Z')).then(|| start.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_whose_it_was_only_with_the_same_start() {
        let table = [
            (Some("7 a"), Some("7 a"), Holder::Same),
            (Some("7 a"), Some("9 a"), Holder::Stranger),
            // The same ticks after another start of the machine.
            (Some("7 a"), Some("7 b"), Holder::Stranger),
            (Some("7 a"), None, Holder::Gone),
            (None, None, Holder::Gone),
            (None, Some("7 a"), Holder::Same),
        ];
        for (recorded, now, expected) in table {
            assert_eq!(holder(recorded, now), expected, "{recorded:?} {now:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_start_is_read_past_any_name() {
        let rest = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
        for (name, state, expected) in
            [("sh", "S", Some("4711")), ("a) R (b", "R", Some("4711")), ("sh", "Z", None), ("sh", "X", None)]
        {
            assert_eq!(ticks(&format!("42 ({name}) {state} {rest}\n")), expected, "{name} {state}");
        }
        assert_eq!(ticks("42 (sh) S 1 2"), None);
    }

    #[test]
    fn this_process_is_itself_and_no_process_has_the_largest_number() {
        let us = started(std::process::id());
        assert!(us.is_some());
        assert_eq!(us, started(std::process::id()));
        assert_eq!(started(i32::MAX as u32), None);
    }
}
