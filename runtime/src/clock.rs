//! The one clock. Decisions get the time as an argument; only plumbing asks for it.
//!
//! Processes on several machines compare times, so each goes by the broker's clock: it measures how far its own is off
//! ([`follow`]) and corrects it. A process that has not measured yet goes by its machine.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use async_nats::Client;
use schemas::calendar::{DAY_MS, date_of, day_of};
use schemas::topology::stream;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::metrics;

/// How often the clock is compared with the broker's.
const MEASURE_EVERY: Duration = Duration::from_secs(5);

/// An answer that takes longer says too little.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// A correction is changed when it is off by more than this and by more than the measurement's own error: time does not
/// jump to and fro between two measurements.
const CORRECT_FROM_MS: i64 = 100;

/// What the machine's clock is shifted by: a wrong clock, for drills and tests.
static SHIFT_MS: AtomicI64 = AtomicI64::new(0);

/// How far the machine's clock is ahead of the broker's.
static SKEW_MS: AtomicI64 = AtomicI64::new(0);

static IS_MEASURED: AtomicBool = AtomicBool::new(false);

/// Now by the broker's clock, in Unix milliseconds.
#[must_use]
pub fn now_ms() -> i64 {
    machine_ms() - SKEW_MS.load(Ordering::Relaxed)
}

/// Now by the machine's clock, in Unix milliseconds.
#[must_use]
pub fn machine_ms() -> i64 {
    i64::try_from(since_epoch().as_millis()).unwrap_or(i64::MAX) + SHIFT_MS.load(Ordering::Relaxed)
}

/// How far the machine's clock is ahead of the broker's, milliseconds; none before the first measurement.
#[must_use]
pub fn skew_ms() -> Option<i64> {
    IS_MEASURED.load(Ordering::Relaxed).then(|| SKEW_MS.load(Ordering::Relaxed))
}

/// Makes this process's clock wrong, as on a machine without time synchronisation.
pub(crate) fn shift(shift_ms: i64) {
    SHIFT_MS.store(shift_ms, Ordering::Relaxed);
}

/// One comparison with the broker's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// How far the machine's clock is ahead, milliseconds.
    pub skew_ms: i64,
    /// By how much that may be wrong, milliseconds.
    pub error_ms: i64,
}

/// Compares the machine's clock with the broker's; none when the broker does not say its time soon.
pub async fn measure(client: &Client) -> Option<Measured> {
    let (before_ms, asked) = (machine_ms(), Instant::now());
    let subject = format!("$JS.API.STREAM.INFO.{}", stream::WORK);
    let reply = tokio::time::timeout(ANSWER_WITHIN, client.request(subject, "".into())).await.ok()?.ok()?;
    let took_ms = i64::try_from(asked.elapsed().as_millis()).unwrap_or(i64::MAX);
    let broker_ms = utc_ms(&serde_json::from_slice::<Told>(&reply.payload).ok()?.ts)?;
    Some(Measured { skew_ms: before_ms + took_ms / 2 - broker_ms, error_ms: took_ms / 2 + 1 })
}

/// The broker's time in its answer.
#[derive(Deserialize)]
struct Told {
    ts: String,
}

/// A time as nats-servers write it (RFC 3339 in UTC, such as `2026-02-28T14:02:00.123456789Z`), in Unix milliseconds.
#[must_use]
pub fn utc_ms(text: &str) -> Option<i64> {
    let (date, clock) = text.strip_suffix('Z')?.split_once('T')?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let numbers = |text: &str, by: char| -> Option<[i64; 3]> {
        let numbers: Option<Vec<i64>> = text.split(by).map(|part| part.parse().ok()).collect();
        numbers?.try_into().ok()
    };
    let ([year, month, day], [hour, minute, second]) = (numbers(date, '-')?, numbers(clock, ':')?);
    let thousandths: i64 = fraction.chars().chain("000".chars()).take(3).collect::<String>().parse().ok()?;
    Some((((day_of(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1_000 + thousandths)
}

/// A time in Unix milliseconds as [`utc_ms`] reads it.
#[must_use]
pub fn utc(at_ms: i64) -> String {
    let (year, month, day) = date_of(at_ms.div_euclid(DAY_MS));
    let (second, thousandths) = (at_ms.rem_euclid(DAY_MS) / 1_000, at_ms.rem_euclid(1_000));
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{thousandths:03}Z")
}

/// The correction after a measurement.
const fn corrected(present_ms: i64, measured: Measured) -> i64 {
    let off_ms = (measured.skew_ms - present_ms).abs();
    if off_ms > CORRECT_FROM_MS + measured.error_ms { measured.skew_ms } else { present_ms }
}

/// Measures once and corrects the clock.
pub async fn correct(client: &Client) {
    let Some(measured) = measure(client).await else { return };
    let present_ms = SKEW_MS.load(Ordering::Relaxed);
    let skew_ms = corrected(present_ms, measured);
    if skew_ms != present_ms {
        tracing::info!(skew_ms, before_ms = present_ms, "this machine's clock differs from the broker's");
    }
    SKEW_MS.store(skew_ms, Ordering::Relaxed);
    IS_MEASURED.store(true, Ordering::Relaxed);
    #[expect(clippy::cast_precision_loss, reason = "a gauge")]
    metrics::CLOCK_SKEW.set(skew_ms as f64 / 1_000.0);
}

/// Keeps the clock corrected until stopped.
///
/// # Errors
/// Never.
pub async fn follow(client: Client, soft: CancellationToken) -> Result<(), std::convert::Infallible> {
    while !soft.is_cancelled() {
        tokio::select! {
            () = soft.cancelled() => return Ok(()),
            () = tokio::time::sleep(MEASURE_EVERY) => correct(&client).await,
        }
    }
    Ok(())
}

/// Now, in Unix microseconds: for measurements.
#[must_use]
pub fn now_us() -> i64 {
    i64::try_from(since_epoch().as_micros()).unwrap_or(i64::MAX)
}

/// The broker's time of a message, which comes in Unix nanoseconds, in Unix milliseconds.
#[must_use]
pub fn ms_of_ns(unix_ns: i128) -> i64 {
    i64::try_from(unix_ns / 1_000_000).unwrap_or_default()
}

fn since_epoch() -> Duration {
    #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correction_follows_what_is_certain_and_not_the_noise() {
        let measured = |skew_ms, error_ms| Measured { skew_ms, error_ms };
        assert_eq!(corrected(0, measured(80, 3)), 0, "within what two machines always differ by");
        assert_eq!(corrected(0, measured(1_500, 1_900)), 0, "a slow answer says too little");
        assert_eq!(corrected(0, measured(-12_000, 3)), -12_000);
        assert_eq!(corrected(-12_000, measured(-12_050, 3)), -12_000);
        assert_eq!(corrected(-12_000, measured(3, 3)), 3, "somebody set the clock");
    }

    #[test]
    fn a_time_is_written_as_it_is_read() {
        assert_eq!(utc(1_772_287_320_123), "2026-02-28T14:02:00.123Z");
        for at_ms in [0, 7, 999, 1_709_208_000_000, 1_709_164_799_999, 4_102_444_800_001, -1] {
            assert_eq!(utc_ms(&utc(at_ms)), Some(at_ms), "{}", utc(at_ms));
        }
    }

    #[test]
    fn the_brokers_time_is_read_with_its_nanoseconds() {
        assert_eq!(utc_ms("2026-02-28T14:02:00.123456789Z"), Some(1_772_287_320_123));
        assert_eq!(utc_ms("2024-02-29T12:00:00Z"), Some(1_709_208_000_000));
        assert_eq!(utc_ms("1970-01-01T00:00:00.5Z"), Some(500));
        for odd in ["", "2026-02-28", "2026-02-28T14:02:00+01:00", "2026-02-28T14:02Z"] {
            assert_eq!(utc_ms(odd), None, "{odd}");
        }
    }
}
