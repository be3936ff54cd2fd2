//! The chance of a simulation: the same seed, the same numbers. SplitMix64.

/// A stream of numbers.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The stream of that seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` to `high`.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.number() % (high - low + 1)
    }

    /// True so often.
    pub fn is(&mut self, part: f64) -> bool {
        part > 0.0 && ((self.number() >> 11) as f64) < part * (1_u64 << 53) as f64
    }

    /// A time of that mean, in milliseconds: short ones more often than long ones.
    pub fn about(&mut self, mean_ms: u64) -> u64 {
        let unit = ((self.number() >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
        (-unit.ln() * mean_ms as f64) as u64
    }

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, from: &[T]) -> T {
        from[(self.number() % from.len() as u64) as usize]
    }
}
