//! What a start waits for just now, for whoever wants to say so.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What is waited for longer than this is told.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What is still waited for is told again.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// What is waited for at present; its clones know the same.
#[derive(Debug, Clone, Default)]
pub struct Waiting(Arc<Mutex<BTreeMap<u64, String>>>);

impl Waiting {
    /// Something is waited for until this work is done or dropped.
    pub async fn during<T>(&self, what: impl Into<String>, work: impl Future<Output = T>) -> T {
        let _wait = self.begin(what.into());
        work.await
    }

    /// Tells what is waited for: what is new within half a second, and what goes on every ten. Never ends.
    pub async fn tell(&self, mut say: impl FnMut(String)) -> Infallible {
        let (mut told, mut told_at) = (BTreeSet::new(), Instant::now());
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now: Vec<String> = self.lock().values().cloned().collect();
            if is_worth_telling(&now, &told, told_at.elapsed()) {
                say(format!("waiting for {}", now.join(", ")));
                told.extend(now);
                told_at = Instant::now();
            }
        }
    }

    fn begin(&self, what: String) -> Wait<'_> {
        let mut all = self.lock();
        let id = all.last_key_value().map_or(0, |(id, _)| id + 1);
        all.insert(id, what);
        Wait { id, of: self }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Wait<'a> {
    id: u64,
    of: &'a Waiting,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.of.lock().remove(&self.id);
    }
}

fn is_worth_telling(now: &[String], told: &BTreeSet<String>, since_told: Duration) -> bool {
    let is_news = now.iter().any(|one| !told.contains(one));
    is_news || (!now.is_empty() && since_told >= AGAIN_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_is_told_at_once_and_the_rest_now_and_then() {
        let set = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<BTreeSet<_>>();
        let (soon, late) = (Duration::from_millis(500), AGAIN_AFTER);
        for (now, told, since, expected) in [
            (&["a"][..], &[][..], soon, true),
            (&["a"], &["a"], soon, false),
            (&["a"], &["a", "b"], soon, false),
            (&["a", "b"], &["a"], soon, true),
            (&["a"], &["a"], late, true),
            (&[], &["a"], late, false),
        ] {
            let words: Vec<String> = now.iter().map(|one| (*one).to_owned()).collect();
            assert_eq!(is_worth_telling(&words, &set(told), since), expected, "{now:?} {told:?} {since:?}");
        }
    }

    #[tokio::test]
    async fn what_takes_long_is_named_until_it_is_done() {
        let waiting = Waiting::default();
        let (tell, told) = tokio::sync::oneshot::channel();
        let (mut tell, mut lines) = (Some(tell), Vec::new());
        let say = |line| {
            lines.push(line);
            tell.take().map(|tell| tell.send(()));
        };
        tokio::select! {
            never = waiting.tell(say) => match never {},
            // Not done before it is told.
            done = waiting.during("the broker", told) => done.expect("told"),
        }
        assert_eq!(lines, ["waiting for the broker"]);
        assert!(waiting.lock().is_empty());
    }
}
