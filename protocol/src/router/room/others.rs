//! What waits in the hands of other routers, as they said it last.

use std::collections::HashMap;

use schemas::digest::Digest;

/// What a router said is good for this long, milliseconds.
const HEARD_FOR_MS: i64 = 2_000;

/// Routers that are listened to.
const ROUTERS_MAX: usize = 64;

/// What other routers said.
#[derive(Debug, Default)]
pub(crate) struct Others(HashMap<String, (Digest, i64)>);

impl Others {
    /// A router said what waits there; it replaces what it said before.
    pub(super) fn hear(&mut self, digest: Digest, now_ms: i64) {
        self.0.retain(|_, (_, heard_ms)| is_good(*heard_ms, now_ms));
        if digest.jobs.is_empty() {
            self.0.remove(&digest.router);
        } else if self.0.len() < ROUTERS_MAX || self.0.contains_key(&digest.router) {
            self.0.insert(digest.router.clone(), (digest, now_ms));
        }
    }

    /// What is good still.
    pub(crate) fn digests(&self, now_ms: i64) -> impl Iterator<Item = &Digest> {
        self.0.values().filter(move |(_, heard_ms)| is_good(*heard_ms, now_ms)).map(|(digest, _)| digest)
    }
}

const fn is_good(heard_ms: i64, now_ms: i64) -> bool {
    // One that was heard in the future was heard by a clock that was set back since.
    heard_ms <= now_ms && now_ms - heard_ms < HEARD_FOR_MS
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::digest::DigestJob;

    fn said(router: &str, jobs: usize) -> Digest {
        let jobs = vec![DigestJob(0, 1, None, 1.0, 0, 0); jobs];
        Digest { router: router.to_owned(), jobs, ..Digest::default() }
    }

    #[test]
    fn the_last_word_counts_for_two_seconds() {
        let mut others = Others::default();
        others.hear(said("a", 3), 0);
        others.hear(said("b", 1), 500);
        others.hear(said("a", 2), 1_000);
        let jobs =
            |others: &Others, now_ms| others.digests(now_ms).map(|digest| digest.jobs.len()).sum::<usize>();
        assert_eq!(jobs(&others, 1_000), 3);
        assert_eq!(jobs(&others, 2_499), 3);
        assert_eq!(jobs(&others, 2_500), 2, "b is silent");
        assert_eq!(jobs(&others, 999), 1, "nobody speaks in the future");
        others.hear(said("a", 0), 2_600);
        assert_eq!(jobs(&others, 2_600), 0, "nothing waits there any more");
    }

    #[test]
    fn memory_is_bounded() {
        let mut others = Others::default();
        (0..1_000).for_each(|router| others.hear(said(&router.to_string(), 1), 0));
        assert_eq!(others.digests(0).count(), ROUTERS_MAX);
    }
}
