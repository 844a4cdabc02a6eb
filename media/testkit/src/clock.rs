//! Clocks that do not agree.

use antiphon_media_frame::MediaTime;

/// A far side's clock: it shows more time than passed where `ppm` is positive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SkewedClock {
    /// Parts per million by which the clock runs fast (slow, where negative).
    pub ppm: f64,
}

impl SkewedClock {
    /// What the skewed clock shows when the true one shows `now`; both start at zero.
    #[must_use]
    pub fn shows(self, now: MediaTime) -> MediaTime {
        now.shifted((now.nanos() as f64 * self.ppm * 1e-6).round() as i64)
    }

    /// What the true clock shows when the skewed one shows `local`.
    #[must_use]
    pub fn truth(self, local: MediaTime) -> MediaTime {
        MediaTime::from_nanos((local.nanos() as f64 / (1.0 + self.ppm * 1e-6)).round() as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_at_200_ppm_is_720_ms_off_and_comes_back() {
        let clock = SkewedClock { ppm: 200.0 };
        let hour = MediaTime::from_millis(3_600_000);
        assert_eq!(clock.shows(hour).millis(), 3_600_720);
        assert!(clock.truth(clock.shows(hour)).offset_from(hour).abs() < 1_000);
    }
}
