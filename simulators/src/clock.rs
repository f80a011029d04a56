//! The simulators' one clock, and how simulated time relates to it.
//!
//! Every latency is configured in provider time ("an image takes 8 s") and slept in wall time, multiplied by
//! `time_scale`. A scale of 0.01 makes a forty-second video arrive in 400 ms while the provider still reports,
//! and bills, forty seconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "a simulator is a foreign machine and has its own clock")]
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// Translates between provider time and wall time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale(f64);

impl Scale {
    /// A scale outside `0.0001..=100` (or NaN) is pulled to the nearest bound: zero would make time stand still.
    pub(crate) fn new(factor: f64) -> Self {
        Self(if factor.is_nan() { 1.0 } else { factor.clamp(0.0001, 100.0) })
    }

    /// How long to sleep for `provider_ms`.
    pub(crate) fn wall(self, provider_ms: u64) -> Duration {
        Duration::from_secs_f64(provider_ms as f64 * self.0 / 1000.0)
    }

    /// How much provider time passed in `wall_ms`.
    pub(crate) fn provider_ms(self, wall_ms: u64) -> u64 {
        (wall_ms as f64 / self.0).round() as u64
    }
}

/// `YYYY-MM-DDTHH:MM:SSZ` for a Unix time in milliseconds (civil-from-days on the proleptic Gregorian calendar).
pub(crate) fn rfc3339(ms: u64) -> String {
    let secs = ms / 1000;
    let (days, rest) = ((secs / 86_400) as i64, secs % 86_400);
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_civil() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_795_428_000_000, "2026-11-23T10:00:00Z"),
        ] {
            assert_eq!(rfc3339(ms), text);
        }
    }

    #[test]
    fn scale_goes_both_ways() {
        let scale = Scale::new(0.01);
        assert_eq!(scale.wall(4_000), Duration::from_millis(40));
        assert_eq!(scale.provider_ms(40), 4_000);
        assert_eq!(Scale::new(0.0).wall(1_000_000), Duration::from_millis(100));
    }
}
