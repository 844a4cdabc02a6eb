//! ITU-T G.722 (09/2012), mode 1: 64 kbit/s sub-band ADPCM at 16 kHz.
//!
//! Written from the block descriptions of clauses 3 (transmitter), 5 and 6 of the recommendation; the names of blocks
//! and tables are its own. Arithmetic is 16-bit fixed point with saturation where the recommendation puts it, carried
//! in `i32`, so that the output is bit-exact with the ITU's test sequences.

/// Turns bytes into pairs of samples.
#[derive(Clone, Debug)]
pub(crate) struct Decoder {
    low: Band,
    high: Band,
    synthesis: Synthesis,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self {
            low: Band::low(),
            high: Band::high(),
            synthesis: Synthesis { sum: [0; 12], difference: [0; 12] },
        }
    }

    /// Writes two samples for each byte; `out` is at least twice as long.
    pub(crate) fn decode(&mut self, payload: &[u8], out: &mut [i16]) {
        for (code, pair) in payload.iter().zip(out.chunks_exact_mut(2)) {
            let low_code = usize::from(code & 0x3f);
            let high_code = usize::from(code >> 6);
            // The output uses all six bits, the predictor only the four that no mode takes away.
            let fine = (self.low.scale * QM6[low_code]) >> 15;
            let low = limit(self.low.predicted + fine);
            self.low.step_low(low_code);
            let high = limit(self.high.predicted + ((self.high.scale * QM2[high_code]) >> 15));
            self.high.step_high(high_code);
            let [first, second] = self.synthesis.step(low, high);
            pair[0] = first;
            pair[1] = second;
        }
    }
}

/// Turns pairs of samples into bytes.
#[derive(Clone, Debug)]
pub(crate) struct Encoder {
    low: Band,
    high: Band,
    /// The latest twelve samples of each phase, oldest first.
    even: [i32; 12],
    odd: [i32; 12],
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self { low: Band::low(), high: Band::high(), even: [0; 12], odd: [0; 12] }
    }

    /// Writes a byte for each pair of samples; `out` is at least half as long.
    pub(crate) fn encode(&mut self, pcm: &[i16], out: &mut [u8]) {
        for (pair, code) in pcm.chunks_exact(2).zip(out) {
            let (low, high) = self.split(i32::from(pair[0]), i32::from(pair[1]));
            let low_code = quantise_low(saturate(low - self.low.predicted), self.low.scale);
            self.low.step_low(low_code);
            let high_code = quantise_high(saturate(high - self.high.predicted), self.high.scale);
            self.high.step_high(high_code);
            *code = ((high_code << 6) | low_code) as u8;
        }
    }

    /// The transmit quadrature mirror filter: one sample of each half band (clause 3.1).
    fn split(&mut self, even: i32, odd: i32) -> (i32, i32) {
        push(&mut self.even, even);
        push(&mut self.odd, odd);
        let from_even: i32 = self.even.iter().zip(QMF).map(|(x, h)| x * h).sum();
        let from_odd: i32 = self.odd.iter().zip(QMF.iter().rev()).map(|(x, h)| x * h).sum();
        (limit((from_odd + from_even) >> 14), limit((from_odd - from_even) >> 14))
    }
}

/// The receive quadrature mirror filter (clause 4.4).
#[derive(Clone, Debug)]
struct Synthesis {
    /// The latest twelve sums and differences of the half bands, oldest first.
    sum: [i32; 12],
    difference: [i32; 12],
}

impl Synthesis {
    fn step(&mut self, low: i32, high: i32) -> [i16; 2] {
        push(&mut self.sum, low + high);
        push(&mut self.difference, low - high);
        let first: i32 = self.difference.iter().zip(QMF.iter().rev()).map(|(x, h)| x * h).sum();
        let second: i32 = self.sum.iter().zip(QMF).map(|(x, h)| x * h).sum();
        [saturate(first >> 11) as i16, saturate(second >> 11) as i16]
    }
}

/// One half band's adaptive quantiser scale and predictor: two poles, six zeros (clauses 3.4 to 3.6).
#[derive(Clone, Debug)]
struct Band {
    /// The predictor's output, `s`.
    predicted: i32,
    /// The zeros' share of it, `sz`.
    zeros: i32,
    /// The quantiser's scale factor, `det`, and its logarithm, `nb`.
    scale: i32,
    log_scale: i32,
    /// Pole coefficients `a1`, `a2` and the two last reconstructed signals.
    poles: [i32; 2],
    reconstructed: [i32; 2],
    /// Zero coefficients `b1` to `b6` and the six last quantised differences.
    zero_coefficients: [i32; 6],
    differences: [i32; 6],
    /// The two last partially reconstructed signals, `p`.
    partial: [i32; 2],
}

impl Band {
    fn low() -> Self {
        Self::at(32)
    }

    fn high() -> Self {
        Self::at(8)
    }

    fn at(scale: i32) -> Self {
        Self {
            predicted: 0,
            zeros: 0,
            scale,
            log_scale: 0,
            poles: [0; 2],
            reconstructed: [0; 2],
            zero_coefficients: [0; 6],
            differences: [0; 6],
            partial: [0; 2],
        }
    }

    /// Adapts to a six-bit code of the lower band: INVQAL, LOGSCL, SCALEL, then the predictor.
    fn step_low(&mut self, code: usize) {
        let coarse = code >> 2;
        let difference = (self.scale * QM4[coarse]) >> 15;
        self.log_scale = (((self.log_scale * 127) >> 7) + WL[coarse]).clamp(0, 18_432);
        self.scale = linear(self.log_scale, 8);
        self.adapt(difference);
    }

    /// Adapts to a two-bit code of the higher band: INVQAH, LOGSCH, SCALEH, then the predictor.
    fn step_high(&mut self, code: usize) {
        let difference = (self.scale * QM2[code]) >> 15;
        self.log_scale = (((self.log_scale * 127) >> 7) + WH[code]).clamp(0, 22_528);
        self.scale = linear(self.log_scale, 10);
        self.adapt(difference);
    }

    /// Moves the predictor on by one quantised difference (blocks PARREC to PREDIC).
    fn adapt(&mut self, difference: i32) {
        let partial = saturate(self.zeros + difference);
        let reconstructed = saturate(self.predicted + difference);
        self.adapt_poles(partial);
        self.adapt_zeros(difference);
        self.partial = [partial, self.partial[0]];
        self.reconstructed = [reconstructed, self.reconstructed[0]];
        self.differences.copy_within(..5, 1);
        self.differences[0] = difference;

        let poles = self.reconstructed.iter().zip(self.poles).map(|(r, a)| (saturate(2 * r) * a) >> 15).sum();
        self.zeros = self
            .differences
            .iter()
            .zip(self.zero_coefficients)
            .rev()
            .fold(0, |sum, (d, b)| saturate(sum + ((saturate(2 * d) * b) >> 15)));
        self.predicted = saturate(saturate(poles) + self.zeros);
    }

    /// UPPOL2, then UPPOL1, whose limit depends on it.
    fn adapt_poles(&mut self, partial: i32) {
        let same = |other: i32| (partial < 0) == (other < 0);
        let turn = saturate(4 * self.poles[0]);
        let turn = if same(self.partial[0]) { saturate(-turn) } else { turn };
        let sign = if same(self.partial[1]) { 128 } else { -128 };
        let second = (sign + (turn >> 7) + ((self.poles[1] * 32_512) >> 15)).clamp(-12_288, 12_288);
        let sign = if same(self.partial[0]) { 192 } else { -192 };
        let bound = 15_360 - second;
        let first = (sign + ((self.poles[0] * 32_640) >> 15)).clamp(-bound, bound);
        self.poles = [first, second];
    }

    /// UPZERO.
    fn adapt_zeros(&mut self, difference: i32) {
        let gain = if difference == 0 { 0 } else { 128 };
        for (coefficient, old) in self.zero_coefficients.iter_mut().zip(self.differences) {
            let sign = if (difference < 0) == (old < 0) { gain } else { -gain };
            *coefficient = saturate(sign + ((*coefficient * 32_640) >> 15));
        }
    }
}

/// QUANTL: the six-bit code of a difference in the lower band.
fn quantise_low(difference: i32, scale: i32) -> usize {
    let magnitude = if difference < 0 { !difference } else { difference };
    let level = Q6.partition_point(|q| (q * scale) >> 12 <= magnitude);
    // Codes count down from the sign's first; the two largest negative levels share what would be forbidden codes.
    match (difference < 0, level) {
        (true, 1..=2) => 64 - level,
        (true, _) => 34 - level,
        (false, _) => 62 - level,
    }
}

/// QUANTH: the two-bit code of a difference in the higher band.
fn quantise_high(difference: i32, scale: i32) -> usize {
    let magnitude = if difference < 0 { !difference } else { difference };
    let outer = magnitude >= (564 * scale) >> 12;
    match (difference < 0, outer) {
        (true, false) => 1,
        (true, true) => 0,
        (false, false) => 3,
        (false, true) => 2,
    }
}

/// SCALEL and SCALEH: from the logarithmic to the linear scale factor.
fn linear(log_scale: i32, shift: i32) -> i32 {
    let mantissa = ILB[(log_scale >> 6) as usize & 31];
    let shift = shift - (log_scale >> 11);
    (if shift < 0 { mantissa << -shift } else { mantissa >> shift }) << 2
}

/// Saturates at 16 bits.
fn saturate(value: i32) -> i32 {
    value.clamp(-32_768, 32_767)
}

/// Saturates at the 15 bits of a half band.
fn limit(value: i32) -> i32 {
    value.clamp(-16_384, 16_383)
}

fn push(line: &mut [i32; 12], value: i32) {
    line.copy_within(1.., 0);
    line[11] = value;
}

/// Even coefficients of the quadrature mirror filter (table 11); the odd ones are the same backwards.
const QMF: [i32; 12] = [3, -11, 12, 32, -210, 951, 3_876, -805, 362, -156, 53, -11];

/// Decision levels of the lower band's six-bit quantiser (table 14), the first for the sentinel zero.
const Q6: [i32; 30] = [
    0, 35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1_023, 1_121,
    1_219, 1_339, 1_458, 1_612, 1_765, 1_980, 2_195, 2_557, 2_919,
];

/// Outputs of the six-bit inverse quantiser by code (table 17).
const QM6: [i32; 64] = [
    -136, -136, -136, -136, -24_808, -21_904, -19_008, -16_704, -14_984, -13_512, -12_280, -11_192, -10_232,
    -9_360, -8_576, -7_856, -7_192, -6_576, -6_000, -5_456, -4_944, -4_464, -4_008, -3_576, -3_168, -2_776,
    -2_400, -2_032, -1_688, -1_360, -1_040, -728, 24_808, 21_904, 19_008, 16_704, 14_984, 13_512, 12_280,
    11_192, 10_232, 9_360, 8_576, 7_856, 7_192, 6_576, 6_000, 5_456, 4_944, 4_464, 4_008, 3_576, 3_168,
    2_776, 2_400, 2_032, 1_688, 1_360, 1_040, 728, 432, 136, -432, -136,
];

/// Outputs of the four-bit inverse quantiser by code (table 18).
const QM4: [i32; 16] = [
    0, -20_456, -12_896, -8_968, -6_288, -4_240, -2_584, -1_200, 20_456, 12_896, 8_968, 6_288, 4_240, 2_584,
    1_200, 0,
];

/// Outputs of the two-bit inverse quantiser by code.
const QM2: [i32; 4] = [-7_408, -1_616, 7_408, 1_616];

/// Logarithmic scale steps of the lower band by four-bit code.
const WL: [i32; 16] = [-60, 3_042, 1_198, 538, 334, 172, 58, -30, 3_042, 1_198, 538, 334, 172, 58, -30, -60];

/// Logarithmic scale steps of the higher band by two-bit code.
const WH: [i32; 4] = [798, -214, 798, -214];

/// Powers of two in steps of 1/32, times 2048.
const ILB: [i32; 32] = [
    2_048, 2_093, 2_139, 2_186, 2_233, 2_282, 2_332, 2_383, 2_435, 2_489, 2_543, 2_599, 2_656, 2_714, 2_774,
    2_834, 2_896, 2_960, 3_025, 3_091, 3_158, 3_228, 3_298, 3_371, 3_444, 3_520, 3_597, 3_676, 3_756, 3_838,
    3_922, 4_008,
];
