//! Dollars as people write them, into micro-dollars. Digits only, no float in between: `0.1` is 100000.

use schemas::MicroUsd;

/// Micro-dollars in a dollar.
const MICRO: i64 = 1_000_000;
/// Decimal places of a micro-dollar.
const PLACES: usize = 6;

/// Why a text is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an amount: write dollars with up to six decimal places, for example 0.05")]
pub struct NotAnAmount(String);

/// Reads `0.05`, `$1`, `.5`; never negative.
///
/// # Errors
/// [`NotAnAmount`]: other characters, more than six decimal places, or beyond the range of money.
pub fn parse(text: &str) -> Result<MicroUsd, NotAnAmount> {
    let bad = || NotAnAmount(text.to_owned());
    let digits = text.strip_prefix('$').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return Err(bad());
    }
    if fraction.len() > PLACES {
        return Err(bad());
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| bad())? };
    let fraction: i64 = format!("{fraction:0<PLACES$}").parse().map_err(|_| bad())?;
    let micro = whole.checked_mul(MICRO).and_then(|micro| micro.checked_add(fraction));
    micro.map(MicroUsd).ok_or_else(bad)
}

/// Dollars with all six places and without their sign, for spreadsheets and programs: `0.007220`.
#[must_use]
pub fn usd(micro_usd: i64) -> String {
    MicroUsd(micro_usd).to_string().replace('$', "")
}
