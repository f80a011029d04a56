//! Moments and durations on the command line: a date, an RFC 3339 time or `7d` goes in, UTC comes out.

use anyhow::bail;
use schemas::calendar::{DAY_MS, date_of, day_of};

/// What is asked for where a moment is not one.
const CURE: &str = "write a date (2026-11-01, its first moment in UTC) or a time \
    (2026-11-01T13:00:00Z, 2026-11-01T14:00:00+01:00)";

/// Reads a date, which means its first moment in UTC, or an RFC 3339 time (seconds may be left out), in Unix
/// milliseconds.
///
/// # Errors
/// What is wrong with it, and how it is written.
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    let no_time = || format!("`{text}` is no time: {CURE}");
    // A text that is no ASCII may have no character border where it is cut.
    if !text.is_ascii() {
        return Err(no_time());
    }
    let (date, time) = text.split_at_checked(10).ok_or_else(no_time)?;
    let [year, month, day] = numbers(date, "____-__-__").ok_or_else(no_time)?;
    let days = day_of(year, month, day);
    if date_of(days) != (year, month, day) || year < 1970 {
        return Err(format!("`{date}` is no date between 1970 and 9999: {CURE}"));
    }
    if time.is_empty() {
        return Ok(days * DAY_MS);
    }
    let time = time.strip_prefix(['T', 't', ' ']).ok_or_else(no_time)?;
    let at = time.find(['Z', 'z', '+', '-']).ok_or_else(|| {
        format!("`{text}` does not say its time zone: add Z for UTC, or an offset such as +01:00")
    })?;
    let (clock, zone) = time.split_at(at);
    let of_day_ms = clock_ms(clock).ok_or_else(no_time)?;
    let offset_ms = offset_ms(zone).ok_or_else(no_time)?;
    Ok(days * DAY_MS + of_day_ms - offset_ms)
}

/// `13:00`, `13:00:00` or `13:00:00.125` in milliseconds.
fn clock_ms(clock: &str) -> Option<i64> {
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [hour, minute, second] = match whole.len() {
        5 => {
            let [hour, minute] = numbers(whole, "__:__")?;
            [hour, minute, 0]
        }
        _ => numbers(whole, "__:__:__")?,
    };
    let is_fraction = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let is_whole = whole.len() == clock.len() || whole.len() == 8;
    if hour > 23 || minute > 59 || second > 59 || !is_fraction || !is_whole {
        return None;
    }
    let thousandths: i64 = fraction.chars().chain("000".chars()).take(3).collect::<String>().parse().ok()?;
    Some(((hour * 60 + minute) * 60 + second) * 1_000 + thousandths)
}

/// `Z` or `+01:00` in milliseconds.
fn offset_ms(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let [hours, minutes] = numbers(rest, "__:__")?;
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60_000)
}

/// The numbers of a text that is shaped like this: digits where the shape has `_`.
fn numbers<const N: usize>(text: &str, shape: &str) -> Option<[i64; N]> {
    let fits = text.len() == shape.len()
        && text.bytes().zip(shape.bytes()).all(|(byte, like)| match like {
            b'_' => byte.is_ascii_digit(),
            _ => byte == like,
        });
    let separators = |c: char| !c.is_ascii_digit();
    let numbers: Option<Vec<i64>> = text.split(separators).map(|part| part.parse().ok()).collect();
    numbers.filter(|_| fits)?.try_into().ok()
}

/// `90s`, `30m`, `24h`, `7d` in milliseconds.
pub(crate) fn duration_ms(text: &str) -> Result<i64, String> {
    let read = || -> anyhow::Result<i64> {
        let Some(unit) = text.chars().last() else { bail!("empty") };
        let unit_ms = match unit {
            's' => 1_000,
            'm' => 60_000,
            'h' => 3_600_000,
            'd' => DAY_MS,
            _ => bail!("no unit"),
        };
        let number: u32 = text[..text.len() - 1].parse()?;
        Ok(i64::from(number) * unit_ms)
    };
    read().map_err(|_| format!("`{text}` is not a duration: write 90s, 30m, 24h or 7d"))
}

/// A moment for people: `2026-11-01 13:00:00 UTC`, with its milliseconds where it has any.
#[must_use]
pub(crate) fn shown(time_ms: i64) -> String {
    let (date, clock) = parts(time_ms);
    format!("{date} {clock} UTC")
}

/// A moment for programs, as RFC 3339 has it: `2026-11-01T13:00:00Z`.
#[must_use]
pub(crate) fn rfc3339(time_ms: i64) -> String {
    let (date, clock) = parts(time_ms);
    format!("{date}T{clock}Z")
}

/// Date and time of day in UTC, with milliseconds where it has any.
pub(crate) fn parts(time_ms: i64) -> (String, String) {
    let (day, of_day) = (time_ms.div_euclid(DAY_MS), time_ms.rem_euclid(DAY_MS));
    let (year, month, day) = date_of(day);
    let (second, thousandths) = (of_day / 1_000, of_day % 1_000);
    let fraction = if thousandths == 0 { String::new() } else { format!(".{thousandths:03}") };
    let clock = format!("{:02}:{:02}:{:02}{fraction}", second / 3_600, second / 60 % 60, second % 60);
    (format!("{year:04}-{month:02}-{day:02}"), clock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_are_read_in_utc() {
        for (text, time_ms) in [
            ("1970-01-01", 0),
            ("2026-11-23", 1_795_392_000_000),
            ("2024-02-29", 1_709_164_800_000),
            ("2024-02-29T12:00:00Z", 1_709_208_000_000),
            ("2024-02-29t12:00:00z", 1_709_208_000_000),
            ("2024-02-29 12:00Z", 1_709_208_000_000),
            ("2024-02-29T13:30:00+01:30", 1_709_208_000_000),
            ("2024-02-28T21:00:00-15:00", 1_709_208_000_000),
            ("2024-02-29T12:00:00.5Z", 1_709_208_000_500),
            ("2024-02-29T12:00:00.123987654Z", 1_709_208_000_123),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ] {
            assert_eq!(parse(text), Ok(time_ms), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused_with_its_cure() {
        for (text, words) in [
            ("", "is no time"),
            ("yesterday", "is no time"),
            ("gestern früh", "is no time"),
            ("2026-11-1", "is no time"),
            ("2026/11/01", "is no time"),
            ("+026-11-01", "is no time"),
            ("20261101T00", "is no time"),
            ("2026-02-29", "no date"),
            ("2026-13-01", "no date"),
            ("2026-00-10", "no date"),
            ("1969-12-31", "no date"),
            ("2026-11-01T13:00:00", "time zone: add Z"),
            ("2026-11-01T13", "time zone: add Z"),
            ("2026-11-01x13:00:00Z", "is no time"),
            ("2026-11-01T24:00:00Z", "is no time"),
            ("2026-11-01T13:60:00Z", "is no time"),
            ("2026-11-01T13:00:61Z", "is no time"),
            ("2026-11-01T13:00:00.Z", "is no time"),
            ("2026-11-01T13:00.5Z", "is no time"),
            ("2026-11-01T13:00:00+1:00", "is no time"),
            ("2026-11-01T13:00:00+24:00", "is no time"),
            ("2026-11-01T13:00:00ZZ", "is no time"),
        ] {
            let said = parse(text).expect_err(text);
            assert!(
                said.contains(words) && (said.contains("2026-11-01") || said.contains("add Z")),
                "{said}"
            );
        }
    }

    #[test]
    fn durations_are_a_number_and_a_unit() {
        for (text, ms) in [("90s", 90_000), ("30m", 1_800_000), ("24h", DAY_MS), ("7d", 7 * DAY_MS)] {
            assert_eq!(duration_ms(text), Ok(ms), "{text}");
        }
        for text in ["", "7", "d", "7w", "-7d", "1.5h", "7ü"] {
            assert!(duration_ms(text).expect_err(text).contains("write 90s, 30m, 24h or 7d"), "{text}");
        }
    }

    #[test]
    fn what_is_shown_says_utc_and_is_read_again() {
        assert_eq!(shown(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(shown(1_709_208_000_123), "2024-02-29 12:00:00.123 UTC");
        assert_eq!(rfc3339(1_709_208_000_000), "2024-02-29T12:00:00Z");
        for time_ms in [0, 1, 999, 1_709_208_000_123, 253_402_300_799_999] {
            assert_eq!(parse(&rfc3339(time_ms)), Ok(time_ms));
        }
    }
}
