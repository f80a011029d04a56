//! How long to wait between two looks: growing pauses with jitter, so that a fleet's workers do not ask in
//! step. Pure: the seed is an argument. The documented limit is 2,000 status calls in 10 s per endpoint;
//! with these pauses two hundred attempts at once stay far below it.

/// The longest wait we ask for after "too many requests", milliseconds.
const RATE_LIMIT_WAIT_MAX_MS: u64 = 30_000;
/// The first wait after "too many requests", milliseconds.
const RATE_LIMIT_WAIT_MIN_MS: u64 = 1_000;

/// The pauses of one attempt.
#[derive(Debug, Clone, Copy)]
pub struct Pauses {
    /// The shortest, milliseconds.
    pub min_ms: u64,
    /// The longest, milliseconds.
    pub max_ms: u64,
    /// Spreads the attempts of a fleet.
    pub seed: u64,
}

impl Pauses {
    /// The pause after look number `look`, from 0: grows by half each time, then ±20 %, inside the bounds.
    #[must_use]
    pub fn after(&self, look: u32) -> u64 {
        let mut base = self.min_ms.max(1);
        for _ in 0..look.min(64) {
            base = (base + base / 2 + 1).min(self.max_ms);
        }
        jittered(base, self.seed, u64::from(look)).clamp(self.min_ms, self.max_ms.max(self.min_ms))
    }
}

/// The wait to propose when the provider says "too many requests" and nothing more: doubling from 1 s to
/// 30 s with the times it has said so to this job, with jitter.
#[must_use]
pub fn rate_limit_wait_ms(times_before: u32, seed: u64) -> u64 {
    let base = (RATE_LIMIT_WAIT_MIN_MS << times_before.min(5)).min(RATE_LIMIT_WAIT_MAX_MS);
    jittered(base, seed, u64::from(times_before)).clamp(RATE_LIMIT_WAIT_MIN_MS, RATE_LIMIT_WAIT_MAX_MS)
}

/// `base` ±20 %, decided by seed and step.
fn jittered(base: u64, seed: u64, step: u64) -> u64 {
    let percent = 80 + mix(seed ^ step.wrapping_mul(0x9e37_79b9_7f4a_7c15)) % 41;
    base.saturating_mul(percent) / 100
}

/// The finaliser of splitmix64: neighbouring inputs give unrelated outputs.
const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
