//! How long a step of so many rows takes, learnt from the steps themselves.

use std::time::Duration;

/// The weight of the newest step.
const WEIGHT: f64 = 0.1;
/// The widest batch that is told apart; wider ones count as this one.
const WIDEST: usize = 256;

/// What is known of an engine's steps on one device.
#[derive(Clone, Debug, PartialEq)]
pub struct StepCost {
    /// Seconds by rows, index 0 unused; 0 where no step of that width was ever seen.
    seen: Vec<f64>,
    /// Assumed for one row until the first step.
    first: f64,
}

impl StepCost {
    /// Nothing seen yet; a step of one row is taken for `first` long.
    #[must_use]
    pub fn new(rows: usize, first: Duration) -> Self {
        Self { seen: vec![0.0; rows.clamp(1, WIDEST) + 1], first: first.as_secs_f64() }
    }

    /// A step of `rows` took `took`.
    pub fn learn(&mut self, rows: usize, took: Duration) {
        let rows = rows.clamp(1, self.widest());
        let (seen, took) = (&mut self.seen[rows], took.as_secs_f64());
        *seen = if *seen == 0.0 { took } else { *seen + WEIGHT * (took - *seen) };
    }

    /// How long a step of `rows` will take: between two known widths by a straight line, beyond the widest in proportion,
    /// below the narrowest as long as that.
    #[must_use]
    pub fn of(&self, rows: usize) -> Duration {
        let rows = rows.clamp(1, self.widest());
        let known = |n: &usize| self.seen[*n] > 0.0;
        let below = (1..=rows).rev().find(known);
        let above = (rows..=self.widest()).find(known);
        let at = |n: usize| self.seen[n];
        let seconds = match (below, above) {
            (Some(a), Some(b)) if a < b => {
                let share = (rows - a) as f64 / (b - a) as f64;
                at(a) + share * (at(b) - at(a)).max(0.0)
            }
            (Some(a), Some(_)) => at(a),
            (Some(a), None) => at(a) * rows as f64 / a as f64,
            // One row of eight is not an eighth: nobody knows what of it is fixed.
            (None, Some(b)) => at(b),
            (None, None) => self.first * rows as f64,
        };
        Duration::from_secs_f64(seconds)
    }

    /// The most rows, at most `limit`, whose step is over within `time`; 0 where not even one is.
    #[must_use]
    pub fn within(&self, time: Duration, limit: usize) -> usize {
        // Costs grow with the width, so that the first width that fits, from above, is the widest.
        (1..=limit.min(self.widest())).rev().find(|rows| self.of(*rows) <= time).unwrap_or(0)
    }

    /// Rows a second at the best width, and that width.
    #[must_use]
    pub fn best(&self) -> (f64, usize) {
        (1..=self.widest())
            .map(|rows| (rows as f64 / self.of(rows).as_secs_f64().max(1e-9), rows))
            .fold((0.0, 1), |best, next| if next.0 > best.0 * 1.02 { next } else { best })
    }

    fn widest(&self) -> usize {
        self.seen.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn unknown_widths_lie_on_the_line_between_known_ones() {
        let mut cost = StepCost::new(8, ms(10));
        assert_eq!(cost.of(3), ms(30), "nothing seen: in proportion");
        cost.learn(2, ms(20));
        cost.learn(6, ms(40));
        assert_eq!([1, 2, 4, 6].map(|n| cost.of(n)), [ms(20), ms(20), ms(30), ms(40)]);
        assert_eq!(cost.of(8).as_millis(), 53, "beyond the widest: in proportion");
        assert_eq!((cost.within(ms(31), 8), cost.within(ms(19), 8), cost.within(ms(99), 5)), (4, 0, 5));
    }

    #[test]
    fn the_best_width_is_the_one_with_most_rows_a_second() {
        let mut cost = StepCost::new(4, ms(10));
        for rows in 1..=4 {
            cost.learn(rows, ms(6 + 3 * rows as u64));
        }
        let (rate, width) = cost.best();
        assert_eq!(width, 4);
        assert!((rate - 4.0 / 0.018).abs() < 1.0, "{rate}");
    }

    #[test]
    fn a_change_of_pace_is_followed() {
        let mut cost = StepCost::new(1, ms(10));
        cost.learn(1, ms(10));
        (0..100).for_each(|_| cost.learn(1, ms(20)));
        assert!(cost.of(1) > ms(19) && cost.of(1) <= ms(20), "{:?}", cost.of(1));
    }
}
