//! Chances that a seed decides, the same on every machine.

/// A step of the splitmix64 generator.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The chances of a seed. Parts keep streams apart: arrivals do not shift when a duration is drawn more.
    #[must_use]
    pub fn of(seed: u64, parts: &[u64]) -> Self {
        let mut chance = Self(seed);
        for part in parts {
            chance.0 = chance.draw() ^ part.wrapping_mul(0xff51_afd7_ed55_8ccd);
        }
        chance
    }

    /// The next number.
    pub const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In 0 to 1, 1 excluded.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    pub const fn unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number from `least` to `most`, both included; `least` where `most` is less.
    pub const fn between(&mut self, least: u64, most: u64) -> u64 {
        if most <= least { least } else { least + self.draw() % (most - least + 1) }
    }

    /// True in so many of a thousand cases.
    pub const fn permille(&mut self, share: u64) -> bool {
        self.draw() % 1_000 < share
    }

    /// An exponentially distributed time, milliseconds.
    pub fn exponential_ms(&mut self, mean_ms: f64) -> f64 {
        -mean_ms * (1.0 - self.unit()).ln()
    }

    /// A logarithmically normal time around a median, milliseconds; `sigma` is the spread of the logarithm.
    pub fn lognormal_ms(&mut self, median_ms: f64, sigma: f64) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.unit()).cos();
        median_ms * (sigma * normal).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_and_its_parts_decide() {
        let draw = |seed, parts: &[u64]| Chance::of(seed, parts).draw();
        assert_eq!(draw(1, &[2, 3]), draw(1, &[2, 3]));
        let all = [draw(1, &[2, 3]), draw(1, &[3, 2]), draw(2, &[2, 3]), draw(1, &[2])];
        assert!((0..4).all(|one| (0..one).all(|other| all[one] != all[other])), "{all:?}");
    }

    #[test]
    fn means_and_medians_are_what_was_asked_for() {
        let mut chance = Chance::of(7, &[]);
        let mean = (0..20_000).map(|_| chance.exponential_ms(100.0)).sum::<f64>() / 20_000.0;
        assert!((95.0..105.0).contains(&mean), "{mean}");
        let above = (0..20_000).filter(|_| chance.lognormal_ms(100.0, 0.5) > 100.0).count();
        assert!((9_500..10_500).contains(&above), "{above}");
    }
}
