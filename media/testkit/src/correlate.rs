//! Where one recording lies in another.

/// Finds the lag of `b` against `a` by normalised cross-correlation: `b[n + lag]` looks like `a[n]`, so a positive
/// lag says that `b` is late. Returns the lag in samples, within `±max_lag`, and the correlation there, -1 to 1 (1
/// where the two are one signal at any gain). Silence correlates with nothing: 0 at lag 0.
#[must_use]
pub fn correlate(a: &[i16], b: &[i16], max_lag: usize) -> (i64, f64) {
    let mut best = (0, 0.0);
    let reach = max_lag.min(a.len().max(b.len()));
    // From no lag outwards, so that of equal peaks the nearest is found.
    for distance in 0..=reach as i64 {
        for lag in [distance, -distance] {
            let peak = at_lag(a, b, lag);
            if peak > best.1 {
                best = (lag, peak);
            }
        }
    }
    best
}

fn at_lag(a: &[i16], b: &[i16], lag: i64) -> f64 {
    let skip = lag.unsigned_abs() as usize;
    let (a, b) = if lag >= 0 {
        (a, b.get(skip..).unwrap_or_default())
    } else {
        (a.get(skip..).unwrap_or_default(), b)
    };
    let overlap = a.len().min(b.len());
    // A sliver of overlap matches anything.
    if overlap == 0 || overlap < a.len().max(b.len()) / 4 {
        return 0.0;
    }
    let (mut ab, mut aa, mut bb) = (0i64, 0i64, 0i64);
    for (&x, &y) in a.iter().zip(b) {
        let (x, y) = (i64::from(x), i64::from(y));
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    let energy = (aa as f64 * bb as f64).sqrt();
    if energy > 0.0 { ab as f64 / energy } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::noise;
    use antiphon_media_frame::{SampleRate, Span};

    #[test]
    fn a_shift_is_found_to_the_sample_in_both_directions() {
        let signal = noise(1, SampleRate::HZ_8000, Span::from_millis(500), -6.0);
        for lag in [0usize, 1, 37, 160] {
            let late: Vec<i16> = std::iter::repeat_n(0, lag).chain(signal.iter().map(|s| s / 2)).collect();
            let (found, peak) = correlate(&signal, &late, 200);
            assert_eq!(found, lag as i64);
            assert!(peak > 0.99, "{peak}");
            assert_eq!(correlate(&late, &signal, 200).0, -(lag as i64));
        }
    }

    #[test]
    fn strangers_and_silence_do_not_correlate() {
        let a = noise(1, SampleRate::HZ_8000, Span::from_millis(500), -6.0);
        let b = noise(2, SampleRate::HZ_8000, Span::from_millis(500), -6.0);
        assert!(correlate(&a, &b, 200).1 < 0.1);
        assert_eq!(correlate(&a, &[0; 4_000], 200), (0, 0.0));
        assert_eq!(correlate(&[], &[], 10), (0, 0.0));
    }
}
