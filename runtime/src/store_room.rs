//! How much room the artifact store has, and for how long it lasts at the rate at which it fills.

use async_nats::jetstream;
use protocol::PortError;
use schemas::topology::{DAY_MS, bucket};

use crate::require::is_missing;

/// What errors name.
const STORE: &str = "the artifact store";

/// The margin is this part of the store, but no more than [`MARGIN_MAX_BYTES`].
const MARGIN_PART: u64 = 16;
/// Enough for what all workers may start between two looks at the store.
const MARGIN_MAX_BYTES: u64 = 256 * 1024 * 1024;
/// A store must have been filling for so long before a rate is believed, milliseconds.
const RATE_MIN_MS: u64 = 60 * 60 * 1000;

/// What the store holds and may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreRoom {
    /// Bytes that it holds.
    pub bytes: u64,
    /// Bytes that it may hold; none where neither it nor the broker's account has a limit.
    pub limit_bytes: Option<u64>,
    /// For how long it has been filling, milliseconds; 0 when it is empty.
    pub filling_ms: u64,
    /// Age at which a file is gone, milliseconds; 0 for never.
    pub max_age_ms: u64,
}

impl StoreRoom {
    /// Asks the broker. `now_ms` is the present, Unix milliseconds.
    ///
    /// # Errors
    /// The store is not there, or the broker does not answer.
    pub async fn measure(jetstream: &jetstream::Context, now_ms: i64) -> Result<Self, PortError> {
        let stream = format!("OBJ_{}", bucket::ARTIFACTS);
        let stream = jetstream.get_stream(stream).await.map_err(|error| match is_missing(&error) {
            true => PortError::Missing { what: STORE },
            false => PortError::Away { what: STORE, source: error.into() },
        })?;
        let info = stream.cached_info();
        let bytes = info.state.bytes;
        let limit_bytes = match u64::try_from(info.config.max_bytes).ok().filter(|limit| *limit > 0) {
            Some(limit) => Some(limit),
            None => {
                let account = jetstream.query_account().await;
                let account = account.map_err(|error| PortError::Away {
                    what: "the broker's account",
                    source: error.into(),
                })?;
                let limit = account.limits.max_storage.and_then(|limit| u64::try_from(limit).ok());
                limit.map(|limit| bytes.saturating_add(limit.saturating_sub(account.storage)))
            }
        };
        Ok(Self { limit_bytes, ..Self::of_stream(info, now_ms) })
    }

    /// What any stream holds and may hold, by its own limit.
    #[must_use]
    pub fn of_stream(info: &jetstream::stream::Info, now_ms: i64) -> Self {
        let bytes = info.state.bytes;
        let first_ms = info.state.first_timestamp.unix_timestamp().saturating_mul(1000);
        // An empty stream tells a time before ours.
        let filling_ms =
            if bytes == 0 || first_ms <= 0 { 0 } else { (now_ms - first_ms).max(0).unsigned_abs() };
        let max_age_ms = u64::try_from(info.config.max_age.as_millis()).unwrap_or(u64::MAX);
        let limit_bytes = u64::try_from(info.config.max_bytes).ok().filter(|limit| *limit > 0);
        Self { bytes, limit_bytes, filling_ms, max_age_ms }
    }

    /// Bytes that are left; none where there is no limit.
    #[must_use]
    pub const fn left_bytes(&self) -> Option<u64> {
        match self.limit_bytes {
            Some(limit) => Some(limit.saturating_sub(self.bytes)),
            None => None,
        }
    }

    /// Bytes that are left alone: several workers look at the store at once and each starts something.
    #[must_use]
    pub fn margin_bytes(&self) -> u64 {
        self.limit_bytes.map_or(0, |limit| (limit / MARGIN_PART).min(MARGIN_MAX_BYTES))
    }

    /// Bytes a day that come in, by what is there and for how long; none when that is too little to tell.
    #[must_use]
    pub fn bytes_per_day(&self) -> Option<u64> {
        let scaled = u128::from(self.bytes) * u128::from(DAY_MS);
        let rate = scaled.checked_div(u128::from(self.filling_ms))?;
        (self.filling_ms >= RATE_MIN_MS).then(|| u64::try_from(rate).unwrap_or(u64::MAX))
    }

    /// In how many days it is full at that rate; none when it will not be, since files go as they come, or when
    /// nobody can tell.
    #[must_use]
    pub fn days(&self) -> Option<u64> {
        let (limit, rate) = (self.limit_bytes?, self.bytes_per_day()?);
        let most = u128::from(rate) * u128::from(self.max_age_ms) / u128::from(DAY_MS);
        if self.max_age_ms > 0 && most <= u128::from(limit) {
            return None;
        }
        limit.saturating_sub(self.bytes).checked_div(rate)
    }

    /// The command that makes it twice as large.
    #[must_use]
    pub fn cure(&self) -> String {
        let twice = self.limit_bytes.unwrap_or_default().saturating_mul(2);
        format!("`argosy topology apply --artifacts-bytes {twice}` makes it twice as large")
    }
}

/// Whole mebibytes, for words.
#[must_use]
pub const fn mib(bytes: u64) -> u64 {
    bytes / (1024 * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1024 * 1024 * 1024;

    fn room(bytes: u64, limit_bytes: Option<u64>, filling_days: u64, max_age_days: u64) -> StoreRoom {
        let (filling_ms, max_age_ms) = (filling_days * DAY_MS, max_age_days * DAY_MS);
        StoreRoom { bytes, limit_bytes, filling_ms, max_age_ms }
    }

    #[test]
    fn days_follow_from_the_rate_and_from_what_goes_by_itself() {
        assert_eq!(room(2 * GIB, Some(4 * GIB), 2, 7).days(), Some(2), "1 GiB a day, 7 GiB at the most");
        assert_eq!(room(GIB, Some(8 * GIB), 2, 7).days(), None, "files go before it is full");
        assert_eq!(room(GIB, Some(8 * GIB), 2, 0).days(), Some(14), "files that never go");
        assert_eq!(room(5 * GIB, Some(4 * GIB), 2, 7).days(), Some(0), "full, and its limit was lowered");
        assert_eq!(room(GIB, None, 2, 7).days(), None, "no limit");
        let young = StoreRoom { filling_ms: RATE_MIN_MS - 1, ..room(GIB, Some(4 * GIB), 0, 7) };
        assert_eq!((young.bytes_per_day(), young.days()), (None, None), "too young to tell");
        let empty = room(0, Some(4 * GIB), 0, 7);
        assert_eq!((empty.days(), empty.left_bytes()), (None, Some(4 * GIB)));
    }

    #[test]
    fn the_margin_grows_with_the_store_and_ends() {
        assert_eq!(room(0, Some(160), 0, 7).margin_bytes(), 10);
        assert_eq!(room(0, Some(4 * GIB), 0, 7).margin_bytes(), 256 * 1024 * 1024);
        assert_eq!(room(0, Some(400 * GIB), 0, 7).margin_bytes(), 256 * 1024 * 1024);
        assert_eq!(room(0, None, 0, 7).margin_bytes(), 0);
    }
}
