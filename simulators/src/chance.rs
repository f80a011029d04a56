//! Chance without randomness: everything that varies is a hash of the configured seed and of what is asked.
//!
//! The same seed and the same request give the same latency and the same picture, run after run; a general
//! random generator was rejected because its state would depend on the order in which requests happen to arrive.

use sha2::{Digest, Sha256};

/// 64 bits from a seed and any number of parts; parts are length-prefixed so that `ab,c` differs from `a,bc`.
pub(crate) fn hash(seed: u64, parts: &[&[u8]]) -> u64 {
    let digest = digest(seed, parts);
    u64::from_be_bytes(digest[..8].try_into().unwrap_or_default())
}

fn digest(seed: u64, parts: &[&[u8]]) -> [u8; 32] {
    let mut sha = Sha256::new();
    sha.update(seed.to_be_bytes());
    for part in parts {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part);
    }
    sha.finalize().into()
}

/// Lower-case hex, `len` characters (64 at most) of the hash.
pub(crate) fn hex(seed: u64, parts: &[&[u8]], len: usize) -> String {
    let mut text: String = digest(seed, parts).iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(len);
    text
}

/// A version-4-looking UUID, as the providers mint them. Distinct for distinct parts.
pub(crate) fn uuid(seed: u64, parts: &[&[u8]]) -> String {
    let bytes: [u8; 16] = digest(seed, parts)[..16].try_into().unwrap_or_default();
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// A duration around `median_ms`: 0.75 to 1.35 of it, the same for the same seed and key.
pub(crate) fn latency_ms(median_ms: u64, seed: u64, key: &[u8]) -> u64 {
    median_ms * (750 + hash(seed, &[b"latency", key]) % 601) / 1000
}

/// A small, fast stream of numbers from one hash (splitmix64), for drawing.
#[derive(Debug, Clone)]
pub(crate) struct Stream(u64);

impl Stream {
    pub(crate) fn new(start: u64) -> Self {
        Self(start)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform enough in `low..high` (`high > low`).
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low).max(1) as u64) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(hash(1, &[b"ab", b"c"]), hash(1, &[b"a", b"bc"]));
        assert_ne!(hash(1, &[b"ab"]), hash(2, &[b"ab"]));
        assert_eq!(hash(1, &[b"ab"]), hash(1, &[b"ab"]));
    }

    #[test]
    fn latency_stays_in_its_band() {
        for key in 0..200u32 {
            let ms = latency_ms(1000, 7, &key.to_be_bytes());
            assert!((750..=1350).contains(&ms), "{ms}");
        }
    }
}
