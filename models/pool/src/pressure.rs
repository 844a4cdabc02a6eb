//! How hard the devices are pressed, and what is shed for it, in order.

use std::time::Duration;

/// What is shed, each step with all before it. Nothing of it touches final words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Nothing.
    #[default]
    None,
    /// Batch work gets its guaranteed part and nothing more.
    BatchPaused,
    /// Interim words come once in a second of speech, and the streams are told so.
    PartialsThinned,
}

impl Pressure {
    /// Its name in figures and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::BatchPaused => "batch paused",
            Self::PartialsThinned => "partials thinned",
        }
    }
}

/// Computing time that live and outbound streams take of a device, above which it is pressed so; below the second figure
/// it no longer is.
const STEPS: [(Pressure, f64, f64); 2] =
    [(Pressure::BatchPaused, 0.80, 0.70), (Pressure::PartialsThinned, 0.92, 0.80)];
/// Waiting that is as bad as the load beside it.
const WAITS: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(500)];

/// Judges the pressure on one device from what happened in the last while.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gauge {
    now: Pressure,
}

impl Gauge {
    /// `busy` is the part of the time that live and outbound rows were computed, `waited` the longest that one of them
    /// waited for its turn.
    pub fn judge(&mut self, busy: f64, waited: Duration) -> Pressure {
        let mut judged = Pressure::None;
        for ((pressure, above, below), wait) in STEPS.into_iter().zip(WAITS) {
            let held = self.now >= pressure;
            let pressed = busy >= above || waited >= wait;
            let eased = busy < below && waited < wait / 2;
            if pressed || (held && !eased) {
                judged = pressure;
            }
        }
        self.now = judged;
        judged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_are_shed_in_order_and_come_back_with_some_room_to_spare() {
        let mut gauge = Gauge::default();
        let calm = Duration::ZERO;
        for (busy, expected) in [
            (0.5, Pressure::None),
            (0.81, Pressure::BatchPaused),
            (0.75, Pressure::BatchPaused),
            (0.93, Pressure::PartialsThinned),
            (0.85, Pressure::PartialsThinned),
            (0.75, Pressure::BatchPaused),
            (0.69, Pressure::None),
        ] {
            assert_eq!(gauge.judge(busy, calm), expected, "{busy}");
        }
        assert_eq!(
            gauge.judge(0.1, Duration::from_millis(600)),
            Pressure::PartialsThinned,
            "waiting counts, too"
        );
    }
}
