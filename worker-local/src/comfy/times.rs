//! From when to when the server ran a job, by the times that it notes itself.

use schemas::RunSpan;

use crate::comfy::wire::HistoryEntry;

/// How far the server's clock may be off and be taken for the worker's, milliseconds.
const TOLERANCE_MS: i64 = 1_000;

/// When the server ran a job. `assigned_at_ms` is before that, `seen_at_ms` after it, both by the worker's clock. Where the
/// server's clock is another, the length is right, and the end is when it was seen. None where the server noted no times.
#[must_use]
pub fn ran(entry: &HistoryEntry, assigned_at_ms: i64, seen_at_ms: i64) -> Option<RunSpan> {
    let messages = &entry.status.as_ref()?.messages;
    let time = |data: &serde_json::Value| data.get("timestamp").and_then(serde_json::Value::as_i64);
    let started_at_ms =
        messages.iter().find(|(kind, _)| kind == "execution_start").and_then(|(_, data)| time(data))?;
    let is_end =
        |kind: &str| matches!(kind, "execution_success" | "execution_error" | "execution_interrupted");
    let ended_at_ms = messages.iter().rfind(|(kind, _)| is_end(kind)).and_then(|(_, data)| time(data))?;
    let run_ms = ended_at_ms.checked_sub(started_at_ms).filter(|run_ms| *run_ms >= 0)?;
    let is_same_clock =
        started_at_ms >= assigned_at_ms - TOLERANCE_MS && ended_at_ms <= seen_at_ms + TOLERANCE_MS;
    let ended_at_ms = if is_same_clock { ended_at_ms.min(seen_at_ms) } else { seen_at_ms };
    // A worker never says that an attempt began before it was assigned.
    Some(RunSpan { started_at_ms: (ended_at_ms - run_ms).max(assigned_at_ms).min(ended_at_ms), ended_at_ms })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(messages: &serde_json::Value) -> HistoryEntry {
        serde_json::from_value(json!({"status": {"status_str": "success", "messages": messages}}))
            .expect("an entry")
    }

    #[test]
    fn a_run_is_from_its_start_to_its_end_by_the_server_s_clock() {
        let messages = |from: i64, to: i64, end: &str| json!([["execution_start", {"timestamp": from}], ["execution_cached", {"timestamp": from + 1}], [end, {"timestamp": to}]]);
        let of = |from, to, end| {
            ran(&entry(&messages(from, to, end)), 100_000, 200_000)
                .map(|ran| (ran.started_at_ms, ran.ended_at_ms))
        };
        assert_eq!(
            of(127_000, 128_000, "execution_success"),
            Some((127_000, 128_000)),
            "behind foreign prompts"
        );
        assert_eq!(of(110_000, 122_000, "execution_error"), Some((110_000, 122_000)), "seen long after");
        assert_eq!(
            of(199_500, 200_400, "execution_success"),
            Some((199_100, 200_000)),
            "a clock a little ahead"
        );
        assert_eq!(
            of(3_700_000, 3_712_000, "execution_success"),
            Some((188_000, 200_000)),
            "a clock an hour ahead"
        );
        assert_eq!(of(10_000, 22_000, "execution_interrupted"), Some((188_000, 200_000)), "a clock behind");
        assert_eq!(
            of(99_500, 250_000, "execution_success"),
            Some((100_000, 200_000)),
            "no longer than it can have been"
        );
        assert_eq!(of(122_000, 110_000, "execution_success"), None, "a clock that was set back");
    }

    #[test]
    fn without_times_nothing_is_said() {
        assert_eq!(ran(&HistoryEntry::default(), 0, 1), None);
        assert_eq!(
            ran(&entry(&json!([["execution_start", {}], ["execution_success", {"timestamp": 5}]])), 0, 9),
            None
        );
        assert_eq!(ran(&entry(&json!([["execution_start", {"timestamp": 5}]])), 0, 9), None);
    }
}
