//! GSM full rate, decoding only (ETSI EN 300 961, "06.10"; RPE-LTP): recordings of exchanges that kept 13 kbit/s.
//!
//! The arithmetic is the standard's own, of 16 and 32 bits with saturation, so that the samples are bit-exact.

/// Samples of a frame at 8 kHz: 20 ms.
pub const FRAME: usize = 160;
/// Octets of a frame as `.gsm` files and RTP (RFC 3551 section 4.5.8) have it.
pub const OCTETS: usize = 33;
/// Octets of two frames as WAV files have them (format 0x31).
pub const PAIR: usize = 65;

/// Why a frame is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GsmError {
    /// It is not as long as a frame.
    #[error("a GSM frame of {0} octets")]
    Length(usize),
    /// It does not begin with 0xD.
    #[error("a GSM frame that does not begin with the signature 0xD")]
    Signature,
}

/// Decodes one stream.
#[derive(Clone, Debug)]
pub struct GsmDecoder {
    /// The last 120 samples of the residual, for the long-term predictor.
    residual: [i16; 120],
    /// The lag that was valid last.
    lag: usize,
    /// Log-area ratios of the frame before.
    ratios: [i16; 8],
    /// State of the lattice filter.
    lattice: [i16; 9],
    /// State of the de-emphasis.
    emphasis: i16,
}

/// One frame's parameters.
struct Frame {
    ratios: [i16; 8],
    parts: [Part; 4],
}

/// A quarter of a frame.
#[derive(Clone, Copy, Default)]
struct Part {
    lag: i16,
    gain: i16,
    grid: i16,
    block: i16,
    pulses: [i16; 13],
}

/// Bits of the log-area ratios.
const RATIO_BITS: [u32; 8] = [6, 6, 5, 5, 4, 4, 3, 3];
/// Table 4.1: additions, smallest codes and inverted slopes of the log-area ratios.
const RATIO_B: [i16; 8] = [0, 0, 2_048, -2_560, 94, -1_792, -341, -1_144];
const RATIO_MIC: [i16; 8] = [-32, -32, -16, -16, -8, -8, -4, -4];
const RATIO_INVA: [i16; 8] = [13_107, 13_107, 13_107, 13_107, 19_223, 17_476, 31_454, 29_708];
/// Table 4.3b: gains of the long-term predictor.
const GAINS: [i16; 4] = [3_277, 11_469, 21_299, 32_767];
/// Table 4.6: normalised mantissas.
const MANTISSAS: [i16; 8] = [18_431, 20_479, 22_527, 24_575, 26_623, 28_671, 30_719, 32_767];

fn add(a: i16, b: i16) -> i16 {
    a.saturating_add(b)
}

fn sub(a: i16, b: i16) -> i16 {
    a.saturating_sub(b)
}

/// The standard's `mult_r`: product of fractions, rounded.
fn mult_r(a: i16, b: i16) -> i16 {
    if a == i16::MIN && b == i16::MIN {
        return i16::MAX;
    }
    ((i32::from(a) * i32::from(b) + 16_384) >> 15) as i16
}

/// Takes bits out of octets.
struct Bits<'a> {
    octets: &'a [u8],
    at: usize,
    /// Whether the first bit of an octet is its lowest.
    low_first: bool,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> i16 {
        let mut value = 0;
        for n in 0..count {
            let octet = self.octets.get(self.at / 8).copied().unwrap_or(0);
            let within = self.at % 8;
            let bit = if self.low_first { octet >> within } else { octet >> (7 - within) } & 1;
            if self.low_first {
                value |= i16::from(bit) << n;
            } else {
                value = value << 1 | i16::from(bit);
            }
            self.at += 1;
        }
        value
    }

    fn frame(&mut self) -> Frame {
        let ratios = RATIO_BITS.map(|bits| self.take(bits));
        let parts = [(); 4].map(|()| Part {
            lag: self.take(7),
            gain: self.take(2),
            grid: self.take(2),
            block: self.take(6),
            pulses: [(); 13].map(|()| self.take(3)),
        });
        Frame { ratios, parts }
    }
}

impl Default for GsmDecoder {
    fn default() -> Self {
        Self { residual: [0; 120], lag: 40, ratios: [0; 8], lattice: [0; 9], emphasis: 0 }
    }
}

impl GsmDecoder {
    /// Decodes one frame of [`OCTETS`].
    ///
    /// # Errors
    /// [`GsmError`].
    pub fn decode(&mut self, octets: &[u8]) -> Result<[i16; FRAME], GsmError> {
        if octets.len() != OCTETS {
            return Err(GsmError::Length(octets.len()));
        }
        let mut bits = Bits { octets, at: 0, low_first: false };
        if bits.take(4) != 0xd {
            return Err(GsmError::Signature);
        }
        Ok(self.synthesise(&bits.frame()))
    }

    /// Decodes two frames in the [`PAIR`] octets in which WAV files have them.
    ///
    /// # Errors
    /// [`GsmError::Length`].
    pub fn decode_pair(&mut self, octets: &[u8]) -> Result<[[i16; FRAME]; 2], GsmError> {
        if octets.len() != PAIR {
            return Err(GsmError::Length(octets.len()));
        }
        let mut bits = Bits { octets, at: 0, low_first: true };
        let (first, second) = (bits.frame(), bits.frame());
        Ok([self.synthesise(&first), self.synthesise(&second)])
    }

    /// Sections 5.3.1 to 5.3.7.
    fn synthesise(&mut self, frame: &Frame) -> [i16; FRAME] {
        let mut residual = [0; FRAME];
        for (part, out) in frame.parts.iter().zip(residual.as_chunks_mut::<40>().0) {
            self.predict(part, out);
        }
        let ratios = log_area_ratios(&frame.ratios);
        let mut pcm = self.filter(&ratios, &residual);
        self.ratios = ratios;
        for sample in &mut pcm {
            self.emphasis = add(*sample, mult_r(self.emphasis, 28_180));
            *sample = add(self.emphasis, self.emphasis) & !7;
        }
        pcm
    }

    /// The residual of a quarter: its pulses, and what the long-term predictor adds.
    fn predict(&mut self, part: &Part, out: &mut [i16; 40]) {
        let excitation = excitation(part);
        if (40..=120).contains(&part.lag) {
            self.lag = part.lag as usize;
        }
        let gain = GAINS[usize::from(part.gain as u16 & 3)];
        for (n, out) in out.iter_mut().enumerate() {
            // The lag is at least a quarter, so that this is never of the quarter itself.
            *out = add(excitation[n], mult_r(gain, self.residual[120 + n - self.lag]));
        }
        self.residual.copy_within(40.., 0);
        self.residual[80..].copy_from_slice(out);
    }

    /// The lattice filter, with reflection coefficients that go over from the frame before in three steps.
    fn filter(&mut self, ratios: &[i16; 8], residual: &[i16; FRAME]) -> [i16; FRAME] {
        let before = self.ratios;
        let mut pcm = [0; FRAME];
        for (range, step) in [(0..13, 0), (13..27, 1), (27..40, 2), (40..FRAME, 3)] {
            let mut coefficients = [0; 8];
            for (n, coefficient) in coefficients.iter_mut().enumerate() {
                let (old, new) = (before[n], ratios[n]);
                let ratio = match step {
                    0 => add(add(old >> 2, new >> 2), old >> 1),
                    1 => add(old >> 1, new >> 1),
                    2 => add(add(old >> 2, new >> 2), new >> 1),
                    _ => new,
                };
                *coefficient = reflection(ratio);
            }
            for n in range {
                let mut sample = residual[n];
                for k in (0..8).rev() {
                    sample = sub(sample, mult_r(coefficients[k], self.lattice[k]));
                    self.lattice[k + 1] = add(self.lattice[k], mult_r(coefficients[k], sample));
                }
                self.lattice[0] = sample;
                pcm[n] = sample;
            }
        }
        pcm
    }
}

/// Section 5.2.8: log-area ratios of their codes.
fn log_area_ratios(codes: &[i16; 8]) -> [i16; 8] {
    let mut ratios = [0; 8];
    for (n, ratio) in ratios.iter_mut().enumerate() {
        let coded = add(codes[n], RATIO_MIC[n]) << 10;
        let slope = mult_r(RATIO_INVA[n], sub(coded, RATIO_B[n] << 1));
        *ratio = add(slope, slope);
    }
    ratios
}

/// Section 5.2.9.2: a reflection coefficient of its log-area ratio.
fn reflection(ratio: i16) -> i16 {
    let size = ratio.saturating_abs();
    let coefficient = match size {
        ..11_059 => size << 1,
        11_059..20_070 => size + 11_059,
        _ => add(size >> 2, 26_112),
    };
    if ratio < 0 { -coefficient } else { coefficient }
}

/// Sections 5.3.1 and 5.2.17: the pulses of a quarter, dequantised and put on their grid.
fn excitation(part: &Part) -> [i16; 40] {
    let mut exponent = if part.block > 15 { (part.block >> 3) - 1 } else { 0 };
    let mut mantissa = part.block - (exponent << 3);
    if mantissa == 0 {
        (exponent, mantissa) = (-4, 7);
    } else {
        while mantissa <= 7 {
            mantissa = mantissa << 1 | 1;
            exponent -= 1;
        }
        mantissa -= 8;
    }
    let factor = MANTISSAS[usize::from(mantissa as u16 & 7)];
    let shift = 6 - exponent;
    let rounding = if shift > 0 { 1 << (shift - 1) } else { 0 };
    let mut excitation = [0; 40];
    for (n, &pulse) in part.pulses.iter().enumerate() {
        let coded = ((pulse << 1) - 7) << 12;
        excitation[usize::from(part.grid as u16 & 3) + 3 * n] = add(mult_r(factor, coded), rounding) >> shift;
    }
    excitation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_that_are_no_frame_are_refused() {
        let mut decoder = GsmDecoder::default();
        assert_eq!(decoder.decode(&[0xd0; 32]), Err(GsmError::Length(32)));
        assert_eq!(decoder.decode(&[0xc0; 33]), Err(GsmError::Signature));
        assert_eq!(decoder.decode_pair(&[0; 33]), Err(GsmError::Length(33)));
    }

    #[test]
    fn any_octets_of_the_right_length_are_sound() {
        let mut decoder = GsmDecoder::default();
        let mut seed = 1_u32;
        for _ in 0..2_000 {
            let mut octets = [0; PAIR];
            for octet in &mut octets {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *octet = (seed >> 24) as u8;
            }
            decoder.decode_pair(&octets).expect("a pair");
            octets[0] = octets[0] & 0x0f | 0xd0;
            decoder.decode(&octets[..OCTETS]).expect("a frame");
        }
    }
}
