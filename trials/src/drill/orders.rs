//! Deadlines and cancel requests of a drill: what was promised about them, held against the events.

use schemas::{JobId, JobState};

use super::story::{Story, Told};

/// An attempt that begins so long after a cancel request was answered, or after the deadline, milliseconds, breaks the
/// promise. A worker that is stopped between its last look and the start begins late, and a stop takes less than this.
const LATE_START_MS: i64 = 60_000;

/// What was not kept, in words.
pub(super) fn not_kept(story: &Story) -> impl Iterator<Item = String> {
    story.told.iter().flat_map(|(job, told)| {
        [
            cancelled_unasked(story, *job, told),
            started_late(story, *job, told),
            expired_unasked(story, *job, told),
        ]
        .into_iter()
        .flatten()
    })
}

fn cancelled_unasked(story: &Story, job: JobId, told: &Told) -> Option<String> {
    let is_unasked = told.state == Some(JobState::Cancelled) && !story.cancels.contains_key(&job);
    is_unasked.then(|| format!("job {job} was cancelled without a request"))
}

fn started_late(story: &Story, job: JobId, told: &Told) -> Option<String> {
    let last_start_ms = told.last_start_ms?;
    let answered = story.cancels.get(&job).copied().flatten();
    let answered_ms = answered.filter(|answer| !answer.found.is_terminal()).map(|answer| answer.at_ms);
    let bounds = [
        ("its cancel request was answered", answered_ms),
        ("its deadline", story.deadlines_ms.get(&job).copied()),
    ];
    let (what, after_ms) = bounds.into_iter().find_map(|(what, at_ms)| {
        let after_ms = last_start_ms - at_ms?;
        (after_ms > LATE_START_MS).then_some((what, after_ms))
    })?;
    Some(format!("an attempt of job {job} began {after_ms} ms after {what}"))
}

/// A job may expire before its deadline, where no backend can make it in the time that is left.
fn expired_unasked(story: &Story, job: JobId, told: &Told) -> Option<String> {
    let is_unasked = told.state == Some(JobState::Expired) && !story.deadlines_ms.contains_key(&job);
    is_unasked.then(|| format!("job {job} expired and has no deadline"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::story::CancelAnswer;

    fn story(told: Told, deadline_ms: Option<i64>, cancel: Option<CancelAnswer>) -> Story {
        let job = schemas::samples::job().id;
        Story {
            told: [(job, told)].into(),
            deadlines_ms: deadline_ms.map(|deadline_ms| (job, deadline_ms)).into_iter().collect(),
            cancels: cancel.map(|answer| (job, Some(answer))).into_iter().collect(),
            ..Story::default()
        }
    }

    fn found(told: Told, deadline_ms: Option<i64>, cancel: Option<CancelAnswer>) -> usize {
        not_kept(&story(told, deadline_ms, cancel)).count()
    }

    #[test]
    fn what_was_not_asked_for_and_what_starts_too_late_is_found() {
        let ended = |state, last_start_ms| Told { state: Some(state), last_start_ms, ..Told::default() };
        let answer = |found| Some(CancelAnswer { at_ms: 1_000, found });
        assert_eq!(found(ended(JobState::Cancelled, None), None, None), 1);
        assert_eq!(found(ended(JobState::Cancelled, None), None, answer(JobState::Running)), 0);
        assert_eq!(found(ended(JobState::Expired, None), None, None), 1);
        assert_eq!(found(ended(JobState::Expired, None), Some(100), None), 0);
        let late = |start| ended(JobState::Completed, Some(start));
        assert_eq!(found(late(61_001), None, answer(JobState::Assigned)), 1);
        assert_eq!(found(late(61_000), None, answer(JobState::Assigned)), 0);
        assert_eq!(found(late(61_001), None, answer(JobState::Completed)), 0, "it had ended");
        assert_eq!(found(late(70_001), Some(10_000), None), 1);
        assert_eq!(found(late(70_000), Some(10_000), None), 0);
    }
}
