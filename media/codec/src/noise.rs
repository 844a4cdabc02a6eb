//! Comfort noise.

use crate::mix;

/// A generator of soft, slightly low-passed noise that keeps a silent line from sounding dead (RFC 3389's purpose,
/// without its spectral parameters). The same seed always gives the same noise.
#[derive(Clone, Debug)]
pub struct ComfortNoise {
    state: u64,
    last: f32,
}

impl ComfortNoise {
    /// A generator; any seed will do.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        // The generator's one fixed point is zero.
        Self { state: seed ^ 0x9e37_79b9_7f4a_7c15 | 1, last: 0.0 }
    }

    /// Overwrites `out` with noise of `level_db` dBFS (-60 is usual; at most -12 is used, so that it never clips).
    pub fn fill(&mut self, out: &mut [i16], level_db: f32) {
        // A sum of two uniform values of ±1 has variance 2/3.
        let scale = mix::factor(level_db.min(-12.0)) * 32_768.0 * 1.5f32.sqrt();
        for sample in out {
            let white = self.uniform();
            *sample = mix::rounded((white + self.last) * scale);
            self.last = white;
        }
    }

    /// The next value in -1..1 (xorshift64*, its upper 24 bits).
    pub(crate) fn uniform(&mut self) -> f32 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let bits = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40;
        bits as f32 / (1 << 23) as f32 - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_the_level_asked_for() {
        let mut out = vec![0; 16_000];
        for db in [-60.0, -50.0, -40.0, -20.0] {
            ComfortNoise::new(7).fill(&mut out, db);
            assert!((mix::level_db(&out) - db).abs() < 0.5, "{db}: {}", mix::level_db(&out));
        }
        ComfortNoise::new(7).fill(&mut out, 40.0);
        assert!(out.iter().all(|s| s.abs() < i16::MAX));
    }

    #[test]
    fn the_seed_decides() {
        let noise = |seed| {
            let mut out = [0; 160];
            ComfortNoise::new(seed).fill(&mut out, -30.0);
            out
        };
        assert_eq!(noise(1), noise(1));
        assert_ne!(noise(2), noise(4));
        assert!(noise(0x9e37_79b9_7f4a_7c15).iter().any(|s| *s != 0));
    }
}
