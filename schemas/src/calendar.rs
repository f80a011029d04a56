//! Days since 1970-01-01 and dates, in the proleptic Gregorian calendar and in UTC.
//!
//! A date library was rejected for this: two conversions, both pure, are all that the fleet needs. Years begin in March
//! here, so that a leap day is the last of its year.

/// A UTC day, milliseconds.
pub const DAY_MS: i64 = 86_400_000;

/// Days of 400 years, after which the calendar repeats.
const ERA_DAYS: i64 = 146_097;
/// Days from the first of March of year 0 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;

/// Year, month (1 to 12) and day of the month (1 to 31) of a day since 1970-01-01.
#[must_use]
pub const fn date_of(day: i64) -> (i64, i64, i64) {
    let day = day + EPOCH_DAYS;
    let (era, of_era) = (day.div_euclid(ERA_DAYS), day.rem_euclid(ERA_DAYS));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day_of_month)
}

/// The day since 1970-01-01 of a date: the inverse of [`date_of`].
#[must_use]
pub const fn day_of(year: i64, month: i64, day_of_month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let month_from_march = (month + 9) % 12;
    365 * year + leap_days + (153 * month_from_march + 2) / 5 + day_of_month - 1 - EPOCH_DAYS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_each_others_inverse() {
        for (day, date) in [
            (0, (1970, 1, 1)),
            (-1, (1969, 12, 31)),
            (364, (1970, 12, 31)),
            (11_016, (2000, 2, 29)),
            (19_782, (2024, 2, 29)),
            (19_783, (2024, 3, 1)),
            (-25_508, (1900, 3, 1)),
        ] {
            assert_eq!(date_of(day), date, "{day}");
        }
        for day in -800_000..800_000 {
            let (year, month, day_of_month) = date_of(day);
            assert!((1..=12).contains(&month) && (1..=31).contains(&day_of_month), "{day}");
            assert_eq!(day_of(year, month, day_of_month), day);
        }
    }
}
