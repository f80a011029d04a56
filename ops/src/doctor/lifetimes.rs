//! Whether what guards work outlives it: claims on paid attempts, keys, requests to cancel, input files.

use runtime::claims::{ClaimStore, ClaimsRoom};
use schemas::api::LaneStatus;
use schemas::topology::DAY_MS;

use super::{Finding, NEARLY_FULL_PERCENT, Verdict};
use crate::words::duration;

/// A fleet may be off for a weekend: claims that are kept for less are called short, milliseconds.
const CLAIMS_KEPT_MIN_MS: u64 = 4 * DAY_MS;

/// Whether claims on paid attempts are kept long enough, and whether there is room for more.
#[must_use]
pub fn claims(store: &ClaimStore, room: &ClaimsRoom) -> Finding {
    const CHECK: &str = "claims";
    if let Some(refusal) = room.refusal() {
        let seen = format!("no paid work is started: {}", refusal.split(": ").next().unwrap_or(&refusal));
        return Finding::not(Verdict::Bad, CHECK, seen, room.cure());
    }
    let kept_ms = store.kept_ms.and_then(|kept_ms| u64::try_from(kept_ms).ok());
    let kept = kept_ms.map_or_else(|| "for ever".to_owned(), |kept_ms| format!("for {}", duration(kept_ms)));
    if kept_ms.is_some_and(|kept_ms| kept_ms < CLAIMS_KEPT_MIN_MS) {
        let seen = format!(
            "claims are kept {kept}: a fleet that is off for longer books paid work as possibly paid"
        );
        return Finding::not(Verdict::Warning, CHECK, seen, "run `argosy topology apply --claims-days 14`");
    }
    let Some(limit_bytes) = room.limit_bytes else { return Finding::good(CHECK, format!("kept {kept}")) };
    let percent = room.bytes.saturating_mul(100) / limit_bytes.max(1);
    let seen = format!("ATTEMPTS is {percent} % full ({} of {limit_bytes} bytes), kept {kept}", room.bytes);
    if percent >= NEARLY_FULL_PERCENT {
        return Finding::not(Verdict::Warning, CHECK, seen, room.cure());
    }
    Finding::good(CHECK, seen)
}

/// A bucket of keys or of requests to cancel that is nearly full: nothing goes from it before its job is over.
#[must_use]
pub fn guards(bucket: &str, bytes: u64, limit: i64) -> Option<Finding> {
    let limit = u64::try_from(limit).ok().filter(|limit| *limit > 0)?;
    let percent = bytes.saturating_mul(100) / limit;
    if percent < NEARLY_FULL_PERCENT {
        return None;
    }
    let seen = format!("{bucket} is {percent} % full ({bytes} of {limit} bytes): what is full takes no more");
    let cure = format!(
        "look why routers do not remove what is over (log, `argosy_router_guards_removed_total`), or make it larger: \
         `nats stream edit KV_{bucket} --max-bytes {}`",
        limit.saturating_mul(2)
    );
    Some(Finding::not(if percent >= 100 { Verdict::Bad } else { Verdict::Warning }, "room", seen, cure))
}

/// Jobs that wait for nearly as long as input files are kept. `kept_ms` is the age at which files go, 0 for never.
#[must_use]
pub fn inputs(lanes: &[LaneStatus], kept_ms: u64) -> Option<Finding> {
    let oldest_ms = lanes.iter().filter_map(|lane| lane.oldest_age_ms).max()?;
    if kept_ms == 0 || oldest_ms < kept_ms - kept_ms / 4 {
        return None;
    }
    let seen = format!(
        "the oldest job in the lanes has waited for {}, and input files are kept for {}: jobs whose inputs go end",
        duration(oldest_ms),
        duration(kept_ms)
    );
    let days = kept_ms.div_ceil(DAY_MS).saturating_mul(2);
    let cure = format!("run `argosy topology apply --artifacts-days {days}`, or add workers");
    Some(Finding::not(Verdict::Warning, "inputs", seen, cure))
}

#[cfg(test)]
mod tests {
    use schemas::Lane;

    use super::*;

    fn store(days: i64) -> ClaimStore {
        ClaimStore { created_at_ms: 0, kept_ms: (days > 0).then_some(days * 86_400_000) }
    }

    #[test]
    fn claims_are_kept_long_enough_and_have_room_or_the_cure_is_said() {
        let room = |bytes| ClaimsRoom { bytes, limit_bytes: Some(1_000) };
        for (days, bytes, verdict) in [
            (14, 100, Verdict::Good),
            (0, 100, Verdict::Good),
            (3, 100, Verdict::Warning),
            (14, 800, Verdict::Warning),
            (14, 937, Verdict::Warning),
            (14, 939, Verdict::Bad),
            (3, 2_000, Verdict::Bad),
        ] {
            let finding = claims(&store(days), &room(bytes));
            assert_eq!(finding.verdict, verdict, "{days} {bytes}: {finding:?}");
            assert_eq!(finding.cure.is_some(), verdict != Verdict::Good, "{finding:?}");
        }
        let full = claims(&store(14), &room(1_000));
        assert!(full.cure.is_some_and(|cure| cure.contains("--max-bytes 2000")));
        let endless = ClaimsRoom { bytes: 1, limit_bytes: None };
        assert_eq!(claims(&store(0), &endless).seen, "kept for ever");
    }

    #[test]
    fn guards_speak_up_before_their_bucket_is_full() {
        assert_eq!((guards("KEYS", 79, 100), guards("KEYS", 100, -1)), (None, None));
        let of = |bytes| guards("CANCELS", bytes, 100).map(|finding| finding.verdict);
        assert_eq!((of(80), of(100)), (Some(Verdict::Warning), Some(Verdict::Bad)));
    }

    #[test]
    fn inputs_of_old_jobs_are_spoken_of_before_they_go() {
        let lane = |oldest_age_ms| LaneStatus { lane: Lane::Batch, jobs: 1, oldest_age_ms };
        let week_ms = 7 * DAY_MS;
        let old = |days: u64| [lane(None), lane(Some(days * DAY_MS))];
        assert_eq!((inputs(&old(5), week_ms), inputs(&[], week_ms), inputs(&old(90), 0)), (None, None, None));
        let said = inputs(&old(6), week_ms).expect("it is said");
        assert!(said.cure.is_some_and(|cure| cure.contains("--artifacts-days 14")), "{}", said.seen);
    }
}
