//! The header `Retry-After` (RFC 9110, section 10.2.3): seconds from now, or a moment.

use std::time::{Duration, UNIX_EPOCH};

use reqwest::header::{HeaderMap, RETRY_AFTER};

/// What is asked for beyond this is cut, milliseconds: a day. A provider that is asked too early says so again.
pub const LONGEST_MS: u64 = 24 * 3_600_000;

/// How long an answer asks to wait, milliseconds. None where it does not, or not in a form that can be read.
#[must_use]
pub fn wait_ms(headers: &HeaderMap, now_ms: i64) -> Option<u64> {
    let said = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait_ms = match said.parse::<u64>() {
        Ok(seconds) => seconds.saturating_mul(1_000),
        Err(_) => {
            let at = httpdate::parse_http_date(said).ok()?.duration_since(UNIX_EPOCH).ok()?;
            let now = Duration::from_millis(u64::try_from(now_ms).unwrap_or_default());
            u64::try_from(at.saturating_sub(now).as_millis()).unwrap_or(u64::MAX)
        }
    };
    Some(wait_ms.min(LONGEST_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_moments_are_read_and_bounded() {
        // Sun, 06 Nov 1994 08:49:37 GMT.
        const NOW_MS: i64 = 784_111_777_000;
        let cases = [
            ("120", Some(120_000)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30_000)),
            ("Sunday, 06-Nov-94 08:50:07 GMT", Some(30_000)),
            ("Sun Nov  6 08:50:07 1994", Some(30_000)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("Fri, 31 Dec 2100 00:00:00 GMT", Some(LONGEST_MS)),
            ("99999999999999999", Some(LONGEST_MS)),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ];
        for (said, expected) in cases {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, said.parse().expect("a value"))]);
            assert_eq!(wait_ms(&headers, NOW_MS), expected, "{said}");
        }
        assert_eq!(wait_ms(&HeaderMap::new(), NOW_MS), None);
    }
}
