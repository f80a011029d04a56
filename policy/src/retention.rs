//! Which booked facts may leave the stream of events, and what has to stand in their place.
//!
//! A job's `ended` event arbitrates: the broker refuses a second end onto its subject, and a router that gets the job again
//! finds it. So it is never removed while its job can come back, only replaced by its marker. Of a job that is open the
//! placements and failed attempts stay; everything else is in the ledger.

use schemas::calendar::DAY_MS;

use crate::admit::{ID_AHEAD_MAX_MS, ID_BEHIND_MAX_MS};

/// How long after its publish a job can be published again and be taken in, milliseconds: its id may be ahead of the first
/// publish, and behind the last by at most this.
const REPEATED_FOR_MS: i64 = ID_AHEAD_MAX_MS + ID_BEHIND_MAX_MS;

/// When room is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Above this share of the stream's limit room is made, percent.
    pub full_percent: u64,
    /// Facts that are older go even if there is room, milliseconds.
    pub age_ms: u64,
    /// Facts that are younger stay even if there is none, milliseconds: a router or worker that was stopped may wake up and
    /// go on from where it was.
    pub young_ms: u64,
}

/// Room is made until this part of the limit is free below the mark, percent.
const BEYOND_PERCENT: u64 = 10;

impl Default for Limits {
    fn default() -> Self {
        Self { full_percent: 60, age_ms: 7 * DAY_MS.unsigned_abs(), young_ms: 300_000 }
    }
}

/// The stream of events as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// Its first message.
    pub first_sequence: u64,
    /// When that was stored, Unix milliseconds.
    pub first_at_ms: i64,
    /// Up to here the ledger has booked everything.
    pub booked_up_to: u64,
    /// What it holds, bytes.
    pub bytes: u64,
    /// What it may hold, bytes; none where there is no limit.
    pub limit_bytes: Option<u64>,
}

/// A fact as it lies in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its place.
    pub sequence: u64,
    /// When it was stored, Unix milliseconds.
    pub at_ms: i64,
    /// How long it is.
    pub bytes: u64,
}

impl Log {
    /// Whether room is to be made.
    #[must_use]
    pub fn is_due(&self, limits: &Limits, now_ms: i64) -> bool {
        let is_booked = self.booked_up_to >= self.first_sequence && self.bytes > 0;
        is_booked && (self.excess_bytes(limits) > 0 || is_older(self.first_at_ms, limits.age_ms, now_ms))
    }

    /// What has to go for lack of room, bytes.
    fn excess_bytes(&self, limits: &Limits) -> u64 {
        let Some(limit) = self.limit_bytes else { return 0 };
        if self.bytes <= share(limit, limits.full_percent) {
            return 0;
        }
        self.bytes.saturating_sub(share(limit, limits.full_percent.saturating_sub(BEYOND_PERCENT)))
    }
}

/// A part of a limit, without overflow.
const fn share(limit: u64, percent: u64) -> u64 {
    limit / 100 * percent + limit % 100 * percent / 100
}

fn is_older(at_ms: i64, age_ms: u64, now_ms: i64) -> bool {
    now_ms.saturating_sub(at_ms) > i64::try_from(age_ms).unwrap_or(i64::MAX)
}

/// The longest rest after facts were only turned over, milliseconds.
const REST_MAX_MS: u64 = 60_000;

/// The shortest, milliseconds.
const REST_MIN_MS: u64 = 1_000;

/// How long to rest before room is made again, milliseconds. `in_vain` is how many times in a row most of what left had to
/// be stored again. The rest doubles each time, since more haste would only turn the stream over; it is shorter the less
/// room the log has above the mark, since ends wait for that room.
#[must_use]
pub fn rest_ms(log: &Log, limits: &Limits, in_vain: u32) -> u64 {
    if in_vain == 0 {
        return 0;
    }
    let doubled = REST_MIN_MS.saturating_mul(1 << in_vain.saturating_sub(1).min(6)).min(REST_MAX_MS);
    let Some(limit) = log.limit_bytes else { return doubled };
    let above_mark = limit.saturating_sub(share(limit, limits.full_percent)).max(1);
    let free = limit.saturating_sub(log.bytes).min(above_mark);
    let by_room = u128::from(REST_MAX_MS) * u128::from(free) / u128::from(above_mark);
    doubled.min(u64::try_from(by_room).unwrap_or(REST_MAX_MS)).max(REST_MIN_MS)
}

/// Up to which sequence facts leave, by the first ones of the stream in their order: only what is booked and not young, and
/// no more than is needed.
#[must_use]
pub fn cut(log: &Log, first: &[Stored], limits: &Limits, now_ms: i64) -> Option<u64> {
    let mut excess = log.excess_bytes(limits);
    let mut up_to = None;
    for fact in first {
        let is_free = fact.sequence <= log.booked_up_to && is_older(fact.at_ms, limits.young_ms, now_ms);
        let is_wanted = excess > 0 || is_older(fact.at_ms, limits.age_ms, now_ms);
        if !is_free || !is_wanted {
            break;
        }
        excess = excess.saturating_sub(fact.bytes);
        up_to = Some(fact.sequence);
    }
    up_to
}

/// What stands in the place of a fact that leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replacement {
    /// Nothing.
    Nothing,
    /// The marker of the end that it is.
    Marker,
    /// The same once more.
    Copy,
}

/// What is known of a fact's job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfJob {
    /// It has ended: its `ended` event or a marker is in the stream.
    pub is_ended: bool,
    /// The job may be published or delivered again.
    pub may_come_back: bool,
}

/// What stands in the place of a fact. `kind` is its kind, as in its subject.
#[must_use]
pub fn replacement(kind: &str, is_marker: bool, of: OfJob) -> Replacement {
    match kind {
        "ended" | "duplicate" if !of.may_come_back => Replacement::Nothing,
        "ended" if !is_marker => Replacement::Marker,
        "ended" | "duplicate" => Replacement::Copy,
        // Of an open job, where it is and what it has cost.
        "assigned" | "retrying" if !of.is_ended => Replacement::Copy,
        "assigned" | "retrying" | "running" | "charged" | "refused" => Replacement::Nothing,
        // Of a newer version.
        _ => Replacement::Copy,
    }
}

/// Whether a job may be published or delivered again. `submitted_at_ms` is when it was published, `ended_at_ms` when it
/// ended, `oldest_open_ms` when the oldest message was published that waits anywhere: it may be the job's own.
#[must_use]
pub const fn may_come_back(submitted_at_ms: i64, ended_at_ms: i64, oldest_open_ms: i64, now_ms: i64) -> bool {
    now_ms <= submitted_at_ms.saturating_add(REPEATED_FOR_MS) || oldest_open_ms <= ended_at_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;
    const NOW_MS: i64 = 1_795_464_000_000;

    fn log(bytes: u64, booked_up_to: u64) -> Log {
        Log {
            first_sequence: 10,
            first_at_ms: NOW_MS - DAY_MS,
            booked_up_to,
            bytes,
            limit_bytes: Some(100 * MIB),
        }
    }

    fn facts(age_ms: i64) -> Vec<Stored> {
        (10..60).map(|sequence| Stored { sequence, at_ms: NOW_MS - age_ms, bytes: MIB }).collect()
    }

    #[test]
    fn room_is_made_where_it_is_needed_and_no_more_than_that() {
        let limits = Limits::default();
        assert!(!log(60 * MIB, 100).is_due(&limits, NOW_MS), "at the mark");
        assert!(log(61 * MIB, 100).is_due(&limits, NOW_MS));
        assert_eq!(cut(&log(61 * MIB, 100), &facts(DAY_MS), &limits, NOW_MS), Some(20), "11 of them");
        assert_eq!(cut(&log(60 * MIB, 100), &facts(DAY_MS), &limits, NOW_MS), None);
        let endless = Log { limit_bytes: None, ..log(900 * MIB, 100) };
        assert!(!endless.is_due(&limits, NOW_MS));
    }

    #[test]
    fn nothing_goes_that_is_not_booked_or_young() {
        let limits = Limits::default();
        assert!(!log(99 * MIB, 9).is_due(&limits, NOW_MS), "a ledger that was away for long");
        assert_eq!(cut(&log(99 * MIB, 9), &facts(DAY_MS), &limits, NOW_MS), None);
        assert_eq!(cut(&log(99 * MIB, 12), &facts(DAY_MS), &limits, NOW_MS), Some(12));
        assert_eq!(cut(&log(99 * MIB, 100), &facts(300_000), &limits, NOW_MS), None, "young");
        let mut mixed = facts(300_001);
        mixed[4].at_ms = NOW_MS - 5;
        assert_eq!(cut(&log(99 * MIB, 100), &mixed, &limits, NOW_MS), Some(13), "up to the first young one");
    }

    #[test]
    fn what_is_old_goes_even_if_there_is_room() {
        let limits = Limits::default();
        let old = Log { first_at_ms: NOW_MS - 8 * DAY_MS, ..log(MIB, 30) };
        assert!(old.is_due(&limits, NOW_MS));
        assert_eq!(cut(&old, &facts(8 * DAY_MS), &limits, NOW_MS), Some(30));
        assert_eq!(cut(&old, &facts(6 * DAY_MS), &limits, NOW_MS), None);
    }

    #[test]
    fn a_log_that_is_only_turned_over_rests_longer_and_a_full_one_never_long() {
        let limits = Limits::default();
        let rests =
            |mib: u64| [0, 1, 2, 6, 7, 90].map(|in_vain| rest_ms(&log(mib * MIB, 100), &limits, in_vain));
        assert_eq!(rests(61), [0, 1_000, 2_000, 32_000, 58_500, 58_500]);
        assert_eq!(rests(90), [0, 1_000, 2_000, 15_000, 15_000, 15_000]);
        assert_eq!(rests(100), [0, 1_000, 1_000, 1_000, 1_000, 1_000], "ends wait");
        assert_eq!(rests(104), rests(100), "lent room");
        let endless = Log { limit_bytes: None, ..log(900 * MIB, 100) };
        assert_eq!(rest_ms(&endless, &limits, 90), REST_MAX_MS);
    }

    #[test]
    fn an_end_leaves_its_marker_and_an_open_job_stays() {
        use Replacement::{Copy, Marker, Nothing};
        let of = |is_ended, may_come_back| OfJob { is_ended, may_come_back };
        let cases = [
            ("ended", false, of(true, true), Marker),
            ("ended", true, of(true, true), Copy),
            ("ended", false, of(true, false), Nothing),
            ("ended", true, of(true, false), Nothing),
            ("duplicate", false, of(false, true), Copy),
            ("duplicate", false, of(false, false), Nothing),
            ("assigned", false, of(false, true), Copy),
            ("assigned", false, of(true, true), Nothing),
            ("retrying", false, of(false, true), Copy),
            ("retrying", false, of(true, true), Nothing),
            ("running", false, of(false, true), Nothing),
            ("charged", false, of(true, true), Nothing),
            ("refused", false, of(false, true), Nothing),
            ("of-a-newer-version", false, of(true, false), Copy),
        ];
        for (kind, is_marker, of, expected) in cases {
            assert_eq!(replacement(kind, is_marker, of), expected, "{kind}, {is_marker}, {of:?}");
        }
    }

    #[test]
    fn a_job_may_come_back_while_its_id_is_taken_or_a_message_as_old_waits() {
        let submitted = NOW_MS - REPEATED_FOR_MS;
        assert!(may_come_back(submitted, submitted + 1, NOW_MS, NOW_MS), "published once more just now");
        assert!(!may_come_back(submitted - 1, submitted, NOW_MS, NOW_MS));
        assert!(may_come_back(submitted - 1, submitted, submitted, NOW_MS), "what waits may be the job");
        assert!(!may_come_back(submitted - 1, submitted, submitted + 1, NOW_MS));
    }
}
