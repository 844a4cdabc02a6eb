//! ITU-T G.711 (11/88): µ-law and A-law.
//!
//! Samples are 16-bit with the codec's 14 (µ-law) or 13 (A-law) significant bits at the top. Decoding is a table
//! built at compile time from the segment arithmetic of tables 1 and 2 of the recommendation.

/// 16-bit values of the 256 µ-law codes.
pub(crate) const MU_LAW: [i16; 256] = table(true);
/// 16-bit values of the 256 A-law codes.
pub(crate) const A_LAW: [i16; 256] = table(false);

/// Offset that makes µ-law segments start at powers of two, at 16 bits.
const MU_BIAS: i32 = 33 << 2;
/// Even bits are sent inverted in A-law (section 3.3 of the recommendation).
const EVEN_BITS: u8 = 0x55;

/// Writes a sample for each byte of `payload`; `out` is at least as long.
pub(crate) fn decode(table: &[i16; 256], payload: &[u8], out: &mut [i16]) {
    for (sample, code) in out.iter_mut().zip(payload) {
        *sample = table[usize::from(*code)];
    }
}

/// Writes a byte for each sample of `pcm`; `out` is at least as long.
pub(crate) fn encode(law: fn(i16) -> u8, pcm: &[i16], out: &mut [u8]) {
    for (code, sample) in out.iter_mut().zip(pcm) {
        *code = law(*sample);
    }
}

/// The µ-law code of a sample.
pub(crate) fn mu_law(sample: i16) -> u8 {
    let negative = sample < 0;
    // A decision value belongs to the lower magnitude on the negative side: one's complement, at 14 bits.
    let magnitude = i32::from(if negative { !sample } else { sample }) >> 2;
    let biased = ((magnitude << 2) + MU_BIAS).min(0x7fff);
    let segment = 24 - (biased as u32).leading_zeros();
    let step = (biased >> (segment + 3)) & 0x0f;
    let code = ((segment as u8) << 4) | step as u8;
    // All bits are sent inverted, and a set sign bit means positive.
    !code ^ if negative { 0x80 } else { 0 }
}

/// The A-law code of a sample.
pub(crate) fn a_law(sample: i16) -> u8 {
    let negative = sample < 0;
    let magnitude = i32::from(if negative { !sample } else { sample }) >> 4;
    // The first two segments have the same step; later ones double it.
    let code = if magnitude < 32 {
        magnitude as u8
    } else {
        let segment = 28 - (magnitude as u32).leading_zeros();
        ((segment as u8) << 4) | ((magnitude >> (segment - 1)) & 0x0f) as u8
    };
    code ^ EVEN_BITS ^ if negative { 0 } else { 0x80 }
}

const fn table(mu: bool) -> [i16; 256] {
    let mut values = [0; 256];
    let mut code = 0;
    while code < 256 {
        values[code] = if mu { mu_value(code as u8) } else { a_value(code as u8) };
        code += 1;
    }
    values
}

const fn mu_value(code: u8) -> i16 {
    let bits = !code;
    let segment = (bits >> 4) & 7;
    // The middle of the step, half a step above its edge.
    let magnitude = ((((bits & 0x0f) as i32) << 3) + MU_BIAS) << segment;
    let value = (magnitude - MU_BIAS) as i16;
    if bits & 0x80 != 0 { -value } else { value }
}

const fn a_value(code: u8) -> i16 {
    let bits = code ^ EVEN_BITS;
    let segment = (bits >> 4) & 7;
    let step = ((bits & 0x0f) as i32) << 4;
    let magnitude = match segment {
        0 => step + 8,
        _ => (step + 0x108) << (segment - 1),
    };
    if bits & 0x80 == 0 { -(magnitude as i16) } else { magnitude as i16 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last positive and negative virtual decision values and the zero codes, from tables 1a to 2b.
    #[test]
    fn corner_values_are_those_of_the_recommendation() {
        assert_eq!((MU_LAW[0x80], MU_LAW[0x00], MU_LAW[0xff], MU_LAW[0x7f]), (32124, -32124, 0, 0));
        assert_eq!((A_LAW[0xaa], A_LAW[0x2a], A_LAW[0xd5], A_LAW[0x55]), (32256, -32256, 8, -8));
        assert_eq!((mu_law(i16::MAX), mu_law(i16::MIN), mu_law(0)), (0x80, 0x00, 0xff));
        assert_eq!((a_law(i16::MAX), a_law(i16::MIN), a_law(0)), (0xaa, 0x2a, 0xd5));
    }

    #[test]
    fn every_code_survives_a_round_trip() {
        for code in 0..=u8::MAX {
            assert_eq!(a_law(A_LAW[usize::from(code)]), code, "a-law {code:#04x}");
            // Negative zero decodes to zero, which encodes as positive zero.
            let expected = if code == 0x7f { 0xff } else { code };
            assert_eq!(mu_law(MU_LAW[usize::from(code)]), expected, "mu-law {code:#04x}");
        }
    }

    #[test]
    fn the_error_stays_within_half_a_step() {
        for sample in i16::MIN..=i16::MAX {
            let magnitude = i32::from(sample).abs();
            for (law, table) in [(mu_law as fn(i16) -> u8, &MU_LAW), (a_law, &A_LAW)] {
                let error = (i32::from(table[usize::from(law(sample))]) - i32::from(sample)).abs();
                assert!(
                    error <= (magnitude / 32 + 9).max(9) || magnitude > 32_635 - 132,
                    "{sample}: {error}"
                );
            }
        }
    }
}
