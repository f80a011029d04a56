//! What a job waits for, in a sentence: every router answers in the same words.

use schemas::api::JobWait;
use schemas::calendar::{DAY_MS, date_of};
use schemas::{Backend, Class, Lane};

use crate::plan::WAITING;

/// A time of day in UTC, with the date where it is not today.
#[must_use]
pub fn utc(at_ms: i64, now_ms: i64) -> String {
    let second = at_ms.rem_euclid(DAY_MS) / 1_000;
    let clock = format!("{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60);
    if at_ms.div_euclid(DAY_MS) == now_ms.div_euclid(DAY_MS) {
        return format!("{clock} UTC");
    }
    let (year, month, day) = date_of(at_ms.div_euclid(DAY_MS));
    format!("{year:04}-{month:02}-{day:02} {clock} UTC")
}

/// How long something is, in its largest whole unit.
#[must_use]
pub fn length(time_ms: i64) -> String {
    const UNITS: [(i64, &str); 4] = [(DAY_MS, "days"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    let unit = UNITS.into_iter().find(|(unit_ms, _)| time_ms >= 2 * unit_ms);
    unit.map_or_else(|| format!("{time_ms} ms"), |(unit_ms, name)| format!("{} {name}", time_ms / unit_ms))
}

/// A job that a router holds.
#[must_use]
pub fn held(waits_for: &str, since_ms: i64, next_look_ms: Option<i64>, lane: Lane, now_ms: i64) -> JobWait {
    let waits_for = waits_for.strip_prefix(WAITING).unwrap_or(waits_for);
    JobWait { lane: Some(lane), ..wait(waits_for.to_owned(), since_ms, next_look_ms, now_ms) }
}

/// A job in its lane that no router holds, with how many lie before it: counted, or at the least where there are more than
/// can be counted.
#[must_use]
pub fn in_lane(lane: Lane, (ahead, is_counted): (u64, bool), since_ms: i64, now_ms: i64) -> JobWait {
    let before = format!("{}{ahead} ahead", if is_counted { "" } else { "at least " });
    let waits_for = format!("its turn in lane {}, {before}", lane.as_str());
    let sentence = format!("in lane {}, {before}, since {}", lane.as_str(), utc(since_ms, now_ms));
    let ahead = is_counted.then_some(ahead);
    JobWait { waits_for, since_ms, next_look_ms: None, lane: Some(lane), ahead, sentence }
}

/// An attempt that was placed and has not begun.
#[must_use]
pub fn at_backend(backend: &Backend, class: &Class, backlog: u64, since_ms: i64, now_ms: i64) -> JobWait {
    let verb = if backlog == 1 { "job waits or runs" } else { "jobs wait or run" };
    let waits_for = format!("a free slot at {backend}: {backlog} {verb} there in class {class}");
    wait(waits_for, since_ms, None, now_ms)
}

/// The next attempt after one that failed.
#[must_use]
pub fn next_attempt(why: &str, since_ms: i64, next_look_ms: Option<i64>, now_ms: i64) -> JobWait {
    wait(format!("the next attempt, after {why}"), since_ms, next_look_ms, now_ms)
}

fn wait(waits_for: String, since_ms: i64, next_look_ms: Option<i64>, now_ms: i64) -> JobWait {
    let mut sentence = format!("{waits_for}; since {}", utc(since_ms, now_ms));
    if let Some(next_ms) = next_look_ms {
        sentence.push_str(&format!("; looked at next at {}", utc(next_ms, now_ms)));
    }
    JobWait { waits_for, since_ms, next_look_ms, lane: None, ahead: None, sentence }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-02-28 14:02:00 UTC.
    const AT_MS: i64 = 1_772_287_320_000;

    #[test]
    fn times_are_utc_with_the_date_of_another_day() {
        assert_eq!(utc(AT_MS, AT_MS + 60_000), "14:02:00 UTC");
        assert_eq!(utc(AT_MS + DAY_MS, AT_MS), "2026-03-01 14:02:00 UTC");
        assert_eq!(utc(0, AT_MS), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(1_709_208_000_000, AT_MS), "2024-02-29 12:00:00 UTC");
        assert_eq!(utc(-1, AT_MS), "1969-12-31 23:59:59 UTC");
    }

    #[test]
    fn the_sentence_names_what_since_when_and_when_next() {
        let far = in_lane(Lane::Batch, (19_003, false), AT_MS, AT_MS + 60_000);
        assert_eq!(far.sentence, "in lane batch, at least 19003 ahead, since 14:02:00 UTC");
        assert_eq!((far.ahead, far.lane), (None, Some(Lane::Batch)));
        let in_lane = in_lane(Lane::Standard, (412, true), AT_MS, AT_MS + 60_000);
        assert_eq!(in_lane.sentence, "in lane standard, 412 ahead, since 14:02:00 UTC");
        let budget = "cloud: daily budget of studio: $0.0228 of $0.03 used, until 00:00 UTC";
        let held = held(budget, AT_MS, Some(AT_MS + 5_000), Lane::Batch, AT_MS);
        assert_eq!(held.sentence, format!("{budget}; since 14:02:00 UTC; looked at next at 14:02:05 UTC"));
        assert_eq!((held.waits_for.as_str(), held.lane), (budget, Some(Lane::Batch)));
    }
}
