//! How long jobs run, as they were seen to run: the last successes of a class at a backend.

use std::collections::{HashMap, VecDeque};

use policy::plan::{SPREAD_SEEN, SPREAD_UNSEEN};
use policy::schedule::Run;
use schemas::Class;

/// Successes that are remembered of a class at a backend.
const REMEMBERED: usize = 32;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Learned {
    seen: HashMap<(usize, Class), VecDeque<u64>>,
    runs: HashMap<(usize, Class), Run>,
}

impl Learned {
    /// One more success.
    #[expect(clippy::cast_precision_loss, reason = "a run is far below 2^53 ms")]
    pub(super) fn add(&mut self, backend: usize, class: &Class, run_ms: u64) {
        let key = (backend, class.clone());
        let seen = self.seen.entry(key.clone()).or_default();
        if seen.len() == REMEMBERED {
            seen.pop_front();
        }
        seen.push_back(run_ms);
        let mut sorted: Vec<u64> = seen.iter().copied().collect();
        sorted.sort_unstable();
        let at = |percent: usize| sorted[sorted.len() * percent / 100] as f64;
        let p50_ms = at(50);
        self.runs.insert(key, Run { p50_ms, p90_ms: at(90).max(p50_ms * SPREAD_SEEN) });
    }

    /// What is expected; the catalog's word where nothing was seen.
    #[expect(clippy::cast_precision_loss, reason = "a run is far below 2^53 ms")]
    pub(super) fn run(&self, backend: usize, class: &Class, catalog_ms: u64) -> Run {
        let p50_ms = catalog_ms as f64;
        let unseen = Run { p50_ms, p90_ms: p50_ms * SPREAD_UNSEEN };
        self.runs.get(&(backend, class.clone())).copied().unwrap_or(unseen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_replaces_the_catalogs_word() {
        let class: Class = "image-xl".parse().expect("a name");
        let mut learned = Learned::default();
        assert_eq!(learned.run(0, &class, 23_000), Run { p50_ms: 23_000.0, p90_ms: 34_500.0 });
        learned.add(0, &class, 4_000);
        assert_eq!(learned.run(0, &class, 23_000), Run { p50_ms: 4_000.0, p90_ms: 4_800.0 });
        // At another backend nothing was seen.
        assert!((learned.run(1, &class, 23_000).p50_ms - 23_000.0).abs() < 1e-9);
        (1..=100).for_each(|nth| learned.add(0, &class, nth * 100));
        let run = learned.run(0, &class, 23_000);
        assert!((8_000.0..9_000.0).contains(&run.p50_ms) && run.p90_ms > 9_500.0, "{run:?}");
    }
}
