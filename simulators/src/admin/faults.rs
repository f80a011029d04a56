//! Armed faults: which failures a simulator should show, how often and for how long.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::{Error, chance, clock};

/// One armed fault. Without `times`, `probability` and `for_ms` it fires every time it can.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// One of the simulator's fault names.
    pub name: String,
    /// Fires this many times, then disarms itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// Fires with this probability, 0 to 1 (deterministic by seed and number of the occasion).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Armed for this long in wall milliseconds, from when it was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    /// ComfyUI `oom`: only on nodes of this id or class; `lacks`: the class that is not installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Length of a delay in wall milliseconds, for the faults that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
}

impl Fault {
    /// Fires every time.
    pub fn always(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Fires `times` times.
    pub fn times(name: &str, times: u32) -> Self {
        Self { times: Some(times), ..Self::always(name) }
    }
}

struct Armed {
    fault: Fault,
    until_ms: Option<u64>,
}

impl Armed {
    fn spent(&self, now_ms: u64) -> bool {
        self.fault.times == Some(0) || self.until_ms.is_some_and(|until| until <= now_ms)
    }
}

pub(super) struct Faults {
    known: &'static [&'static str],
    seed: u64,
    state: Mutex<(Vec<Armed>, u64)>,
}

impl Faults {
    pub(super) fn new(known: &'static [&'static str], seed: u64) -> Self {
        Self { known, seed, state: Mutex::default() }
    }

    pub(super) fn known(&self) -> &'static [&'static str] {
        self.known
    }

    pub(super) fn list(&self) -> Vec<Fault> {
        let now_ms = clock::now_ms();
        self.lock().0.iter().filter(|armed| !armed.spent(now_ms)).map(|armed| armed.fault.clone()).collect()
    }

    pub(super) fn replace(&self, faults: Vec<Fault>) -> Result<(), Error> {
        if let Some(odd) = faults.iter().find(|fault| !self.known.contains(&fault.name.as_str())) {
            return Err(Error::UnknownFault { name: odd.name.clone(), known: self.known.join(", ") });
        }
        let now_ms = clock::now_ms();
        self.lock().0 = faults
            .into_iter()
            .map(|fault| Armed { until_ms: fault.for_ms.map(|ms| now_ms.saturating_add(ms)), fault })
            .collect();
        Ok(())
    }

    pub(super) fn take(&self, name: &str, matches: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let now_ms = clock::now_ms();
        let mut state = self.lock();
        let (armed, occasions) = &mut *state;
        armed.retain(|one| !one.spent(now_ms));
        let hit = armed.iter_mut().find(|one| one.fault.name == name && matches(&one.fault))?;
        *occasions += 1;
        if let Some(probability) = hit.fault.probability {
            let draw = chance::hash(self.seed, &[b"fault", name.as_bytes(), &occasions.to_be_bytes()]);
            if (draw >> 11) as f64 / (1u64 << 53) as f64 >= probability {
                return None;
            }
        }
        if let Some(times) = &mut hit.fault.times {
            *times -= 1;
        }
        Some(hit.fault.clone())
    }

    fn lock(&self) -> MutexGuard<'_, (Vec<Armed>, u64)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_run_out_and_probabilities_repeat() {
        let faults = Faults::new(&["a", "b"], 3);
        faults.replace(vec![Fault::times("a", 2)]).unwrap();
        assert!(faults.take("b", |_| true).is_none());
        assert!(faults.take("a", |_| true).is_some());
        assert!(faults.take("a", |_| true).is_some());
        assert!(faults.take("a", |_| true).is_none());
        assert!(faults.list().is_empty());

        let half = || {
            let faults = Faults::new(&["a"], 3);
            faults.replace(vec![Fault { probability: Some(0.5), ..Fault::always("a") }]).unwrap();
            (0..64).map(|_| faults.take("a", |_| true).is_some()).collect::<Vec<_>>()
        };
        let fired = half().iter().filter(|hit| **hit).count();
        assert!((16..48).contains(&fired), "{fired}");
        assert_eq!(half(), half());
    }

    #[test]
    fn unknown_names_are_refused_and_change_nothing() {
        let faults = Faults::new(&["a"], 3);
        faults.replace(vec![Fault::always("a")]).unwrap();
        assert!(faults.replace(vec![Fault::always("zzz")]).is_err());
        assert_eq!(faults.list(), vec![Fault::always("a")]);
    }
}
