//! What was used and what arrives, decayed: the share that each tenant had, and the work that comes by its patience.

use std::collections::{BTreeMap, HashMap};

use super::Expected;

/// In which time what a tenant used is forgotten, milliseconds.
const USED_FOR_MS: f64 = 60_000.0;

/// In which time the rate of arrivals is measured, milliseconds.
const RATE_FOR_MS: f64 = 120_000.0;

/// A rate is measured over at least this, milliseconds.
const MEASURED_MIN_MS: f64 = 20_000.0;

/// A tenant that used less than this is forgotten where there is no room, milliseconds.
const FORGOTTEN_MS: f64 = 1_000.0;

/// A sum that decays.
#[derive(Debug, Clone, Copy)]
struct Decayed {
    value: f64,
    at_ms: i64,
}

impl Decayed {
    #[expect(clippy::cast_precision_loss, reason = "times of a run are far below 2^53")]
    fn at(&self, now_ms: i64, over_ms: f64) -> f64 {
        self.value * (-((now_ms - self.at_ms) as f64) / over_ms).exp()
    }
}

/// Tenants that are remembered at most; those that used least are forgotten first.
pub const TENANTS_MAX: usize = 10_000;

/// What was used and what arrives.
#[derive(Debug, Default)]
pub struct Rates {
    first_ms: Option<i64>,
    used: HashMap<String, Decayed>,
    /// By half powers of two of the patience.
    arrived: BTreeMap<u32, Decayed>,
}

impl Rates {
    /// A tenant used our own slots for that long, milliseconds.
    pub fn used(&mut self, tenant: &str, run_ms: f64, now_ms: i64) {
        let value = self.used_by(tenant, now_ms) + run_ms;
        let used = Decayed { value, at_ms: now_ms };
        if let Some(known) = self.used.get_mut(tenant) {
            *known = used;
            return;
        }
        if self.used.len() >= TENANTS_MAX {
            self.used.retain(|_, used| used.at(now_ms, USED_FOR_MS) > FORGOTTEN_MS);
        }
        if self.used.len() < TENANTS_MAX {
            self.used.insert(tenant.to_owned(), used);
        }
    }

    /// What a tenant used lately, milliseconds.
    #[must_use]
    pub fn used_by(&self, tenant: &str, now_ms: i64) -> f64 {
        self.used.get(tenant).map_or(0.0, |used| used.at(now_ms, USED_FOR_MS))
    }

    /// Work for our own slots arrived: it bears to wait for its end that long, and takes a slot that long, milliseconds.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a patience of at least 1 ms has a small logarithm"
    )]
    pub fn arrived(&mut self, patience_ms: f64, run_ms: f64, now_ms: i64) {
        self.first_ms.get_or_insert(now_ms);
        let bucket = (patience_ms.max(1.0).log2() * 2.0).round() as u32;
        let before = self.arrived.get(&bucket).map_or(0.0, |rate| rate.at(now_ms, RATE_FOR_MS));
        self.arrived.insert(bucket, Decayed { value: before + run_ms, at_ms: now_ms });
    }

    /// What is expected to arrive for so many slots.
    #[expect(clippy::cast_precision_loss, reason = "times of a run are far below 2^53")]
    #[must_use]
    pub fn expected(&self, slots: usize, now_ms: i64) -> Vec<Expected> {
        let since_ms = (now_ms - self.first_ms.unwrap_or(now_ms)) as f64;
        let over_ms = RATE_FOR_MS * (1.0 - (-since_ms.max(MEASURED_MIN_MS) / RATE_FOR_MS).exp());
        let each = |(bucket, rate): (&u32, &Decayed)| Expected {
            patience_ms: (f64::from(*bucket) / 2.0).exp2(),
            share: rate.at(now_ms, RATE_FOR_MS) / over_ms / slots.max(1) as f64,
        };
        self.arrived.iter().map(each).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_measured_as_it_is() {
        let mut rates = Rates::default();
        // A second of work every other second, for two slots: a quarter of them.
        (0..300).for_each(|nth| rates.arrived(30_000.0, 1_000.0, nth * 2_000));
        let expected = rates.expected(2, 598_000);
        assert_eq!(expected.len(), 1);
        assert!((0.23..0.27).contains(&expected[0].share), "{expected:?}");
        assert!((25_000.0..36_000.0).contains(&expected[0].patience_ms), "{expected:?}");
        rates.used("studio-a", 10_000.0, 0);
        assert!((3_600.0..3_800.0).contains(&rates.used_by("studio-a", 60_000)));
    }
}
