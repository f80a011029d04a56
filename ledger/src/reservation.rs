//! Whether a reservation can be one at all, whichever process asks: routers ask for nothing else.

use schemas::MicroUsd;
use schemas::calendar::DAY_MS;
use schemas::reserve::Reservation;

/// The most that one attempt may reserve: far above what any attempt costs, far below what would make a sum wrong.
const AMOUNT_MAX: MicroUsd = MicroUsd(10_000 * 1_000_000);

/// How far the time of a reservation, and of its job's id, may be from now, milliseconds. Routers ask with the time of
/// the moment; it decides which day's budget pays.
const APART_MAX_MS: i64 = DAY_MS;

/// Checks amount, time and id.
///
/// # Errors
/// The field, the limit and the cure, in words.
pub(crate) fn check(wanted: &Reservation, now_ms: i64) -> Result<(), String> {
    let amount = wanted.amount_micro_usd;
    if amount <= MicroUsd::ZERO {
        return Err(format!(
            "amount_micro_usd is {amount}, and a reservation is above 0: what costs nothing needs none"
        ));
    }
    if amount > AMOUNT_MAX {
        return Err(format!("amount_micro_usd is {amount}, and one attempt reserves at most {AMOUNT_MAX}"));
    }
    if wanted.time_ms.abs_diff(now_ms) > APART_MAX_MS.unsigned_abs() {
        return Err(format!(
            "time_ms is {} and now is {now_ms}: a reservation counts against the day in which it is made",
            wanted.time_ms
        ));
    }
    if wanted.job.time_ms().is_some_and(|made_ms| made_ms.saturating_sub(now_ms) > APART_MAX_MS) {
        return Err(format!("job {} has an id that is dated more than a day ahead", wanted.job));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use schemas::{JobId, samples};

    use super::*;

    const NOW_MS: i64 = 1_800_000_000_000;

    #[test]
    fn what_no_router_asks_for_is_refused_with_the_field() {
        let wanted = || {
            let mut wanted = samples::reserve().0.reservations.remove(0);
            (wanted.time_ms, wanted.amount_micro_usd) = (NOW_MS, MicroUsd(1));
            wanted
        };
        assert_eq!(check(&wanted(), NOW_MS), Ok(()));
        let table: [(i64, bool); 5] =
            [(0, false), (-1, false), (i64::MIN, false), (10_000_000_000, true), (10_000_000_001, false)];
        for (amount, fits) in table {
            let asked = Reservation { amount_micro_usd: MicroUsd(amount), ..wanted() };
            let checked = check(&asked, NOW_MS);
            assert_eq!(checked.is_ok(), fits, "{amount}: {checked:?}");
            assert!(fits || checked.unwrap_err().starts_with("amount_micro_usd"), "{amount}");
        }
        for (ahead_ms, fits) in [(DAY_MS, true), (-DAY_MS, true), (DAY_MS + 1, false), (-DAY_MS - 1, false)] {
            let asked = Reservation { time_ms: NOW_MS + ahead_ms, ..wanted() };
            assert_eq!(check(&asked, NOW_MS).is_ok(), fits, "{ahead_ms}");
        }
        assert!(check(&Reservation { time_ms: i64::MIN, ..wanted() }, NOW_MS).is_err());
        for (ahead_ms, fits) in [(-90 * DAY_MS, true), (DAY_MS, true), (DAY_MS + 1, false)] {
            let job = JobId::from_parts(NOW_MS + ahead_ms, [1; 10]);
            assert_eq!(check(&Reservation { job, ..wanted() }, NOW_MS).is_ok(), fits, "{ahead_ms}");
        }
        let without_time = "00000000-0000-4000-8000-000000000001".parse().expect("an id");
        assert_eq!(check(&Reservation { job: without_time, ..wanted() }, NOW_MS), Ok(()));
    }
}
