//! Chance from a seed: the same seed, the same run.

/// A stream of numbers (splitmix64). No generator of a library: its algorithm may change with a version,
/// and kept lists would replay differently.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own for one question, the same however many other questions were asked.
    pub(crate) fn keyed(seed: u64, parts: [u64; 3]) -> Self {
        let mut chance = Self::new(seed);
        for part in parts {
            chance = Self::new(chance.next() ^ part.wrapping_mul(0xa076_1d64_78bd_642f));
        }
        chance
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let number = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    /// From 0 to below `whole`.
    pub(crate) const fn below(&mut self, whole: u64) -> u64 {
        self.next() % whole
    }

    /// From `low` to `high`, both included.
    pub(crate) const fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1).unsigned_abs()).cast_signed()
    }

    /// True in so many of a thousand cases.
    pub(crate) const fn per_mille(&mut self, share: u64) -> bool {
        self.next() % 1_000 < share
    }
}
