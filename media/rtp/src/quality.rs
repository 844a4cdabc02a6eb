//! What a listener would say of the call: the E-model (ITU-T G.107), reduced to codec, loss and delay.

use antiphon_media_frame::Span;

/// Transmission rating with every default of G.107 table 2.
const BASE_RATING: f64 = 93.2;

/// Equipment impairment and robustness against random loss (ITU-T G.113 appendix I; concealment assumed).
fn impairment(codec: &str) -> (f64, f64) {
    let is = |name: &str| codec.eq_ignore_ascii_case(name);
    if is("PCMU") || is("PCMA") || is("G711") {
        (0.0, 25.1)
    } else if is("G722") {
        (0.0, 13.0)
    } else if is("OPUS") {
        (0.0, 20.0)
    } else if is("G729") {
        (11.0, 19.0)
    } else {
        // An unknown codec counts as a middling one.
        (5.0, 10.0)
    }
}

/// Mean opinion score, 1 to 4.5, of one direction: `codec` by its SDP name, `loss` from 0 to 1 (lost and late
/// together), `delay` from mouth to ear. Wideband codecs are rated on the narrowband scale.
#[must_use]
pub fn mos(codec: &str, loss: f64, delay: Span) -> f64 {
    let loss_percent = if loss.is_finite() { loss.clamp(0.0, 1.0) * 100.0 } else { 0.0 };
    let (equipment, robustness) = impairment(codec);
    let equipment = equipment + (95.0 - equipment) * loss_percent / (loss_percent + robustness);
    let delay_ms = delay.secs_f64() * 1e3;
    let delayed = 0.024 * delay_ms + 0.11 * (delay_ms - 177.3).max(0.0);
    score(BASE_RATING - equipment - delayed)
}

/// G.107 annex B.
fn score(rating: f64) -> f64 {
    if rating <= 0.0 {
        return 1.0;
    }
    if rating >= 100.0 {
        return 4.5;
    }
    (1.0 + 0.035 * rating + rating * (rating - 60.0) * (100.0 - rating) * 7e-6).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_call_is_rated_as_the_recommendation_does() {
        assert!((mos("PCMU", 0.0, Span::ZERO) - 4.41).abs() < 0.01);
    }

    #[test]
    fn loss_and_delay_only_ever_lower_the_score() {
        for codec in ["PCMA", "g722", "opus", "?"] {
            let mut last = 5.0;
            for percent in 0..=100 {
                let now = mos(codec, f64::from(percent) / 100.0, Span::from_millis(100));
                assert!(now <= last && (1.0..=4.5).contains(&now), "{codec} at {percent} %");
                last = now;
            }
        }
        assert!(mos("PCMU", 0.0, Span::from_millis(400)) < mos("PCMU", 0.0, Span::from_millis(150)) - 0.5);
        assert!(mos("PCMU", f64::NAN, Span::from_nanos(u64::MAX)) >= 1.0);
    }
}
