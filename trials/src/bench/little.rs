//! Little's law: what is in a system is what comes in a second times how long it stays. Counted and timed
//! independently, the two must agree; where they do not, one of the clocks or counters is wrong, and so is every
//! figure made from them.

use anyhow::ensure;

/// How far the two may be apart, as a share. Samples of a count and milliseconds of a clock are no finer.
const APART_MAX: f64 = 0.15;
/// Less than so many jobs in the system on average says nothing.
const LEAST: f64 = 5.0;

/// A count over time, as sampled.
#[derive(Debug, Clone, Default)]
pub(super) struct Inside {
    last: Option<(f64, f64)>,
    area: f64,
}

impl Inside {
    /// So many are inside at this moment (seconds).
    pub(super) fn sample(&mut self, at_s: f64, inside: f64) {
        if let Some((before_s, before)) = self.last {
            self.area += (at_s - before_s) * (inside + before) / 2.0;
        }
        self.last = Some((at_s, inside));
    }

    /// Jobs times seconds.
    pub(super) const fn area(&self) -> f64 {
        self.area
    }
}

/// Holds the sampled count against the summed stays of all jobs, over a time in which the system was empty first
/// and last.
///
/// # Errors
/// They disagree.
pub(super) fn check(inside: &Inside, stays_s: f64, wall_s: f64) -> anyhow::Result<f64> {
    let mean = inside.area() / wall_s;
    if mean < LEAST {
        return Ok(0.0);
    }
    let apart = (inside.area() - stays_s).abs() / stays_s.max(f64::MIN_POSITIVE);
    ensure!(
        apart <= APART_MAX,
        "Little's law does not hold: {mean:.1} jobs were inside on average, but the time they stayed makes {:.1}",
        stays_s / wall_s
    );
    Ok(apart)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ten_for_ten_seconds() -> Inside {
        let mut inside = Inside::default();
        (0..=10).for_each(|second| inside.sample(f64::from(second), 10.0));
        inside
    }

    #[test]
    fn counts_and_stays_that_agree_pass() {
        assert!(check(&ten_for_ten_seconds(), 98.0, 10.0).expect("they agree") < 0.05);
    }

    #[test]
    fn a_clock_that_is_wrong_is_noticed() {
        let error = check(&ten_for_ten_seconds(), 50.0, 10.0).expect_err("half the time is missing");
        assert!(error.to_string().contains("Little"), "{error}");
    }

    #[test]
    fn next_to_nothing_says_nothing() {
        let mut inside = Inside::default();
        inside.sample(0.0, 1.0);
        inside.sample(10.0, 1.0);
        assert_eq!(check(&inside, 50.0, 10.0).expect("too little to tell"), 0.0);
    }
}
