//! Days and months in UTC, counted from 1970: what budgets are kept by.

use ledger_read::clamp_ms;
use schemas::calendar::{DAY_MS, date_of};

/// Days since 1970-01-01.
pub(crate) fn day_of(time_ms: i64) -> i32 {
    i32::try_from(clamp_ms(time_ms) / DAY_MS).unwrap_or(i32::MAX)
}

/// Months since January 1970 of a day.
pub(crate) fn month_of(day: i32) -> i32 {
    let (year, month, _) = date_of(i64::from(day));
    i32::try_from((year - 1970) * 12 + month - 1).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_change_where_the_calendar_says() {
        assert_eq!(month_of(0), 0, "1970-01-01");
        assert_eq!(month_of(30), 0, "1970-01-31");
        assert_eq!(month_of(31), 1, "1970-02-01");
        assert_eq!(month_of(364), 11, "1970-12-31");
        assert_eq!(month_of(365), 12, "1971-01-01");
        assert_eq!(month_of(19_781), 649, "2024-02-28");
        assert_eq!(month_of(19_782), 649, "2024-02-29");
        assert_eq!(month_of(19_783), 650, "2024-03-01");
        assert_eq!(month_of(day_of(1_795_428_000_000)), 56 * 12 + 10, "2026-11-23");
    }

    #[test]
    fn no_number_is_out_of_range() {
        for time_ms in [i64::MIN, -1, 0, i64::MAX] {
            let day = day_of(time_ms);
            assert!((0..=2_932_896).contains(&day), "{time_ms} is day {day}");
        }
    }
}
