//! FLAC (RFC 9639), mono, 16 bits, written frame by frame: fixed predictors and Rice codes.

use antiphon_media_frame::SampleRate;

/// Samples of a frame, but for the last one.
const BLOCK: usize = 4_096;
/// Parts of a whole frame that have a Rice parameter of their own, as a power of two.
const PARTS: u32 = 4;
/// The largest Rice parameter of four bits; 15 would mean something else.
const LARGEST: u32 = 14;
/// The largest order of the fixed predictors.
const ORDERS: usize = 4;

/// A file that is being written.
pub(super) struct Flac {
    rate: SampleRate,
    /// Samples that do not fill a frame yet.
    pcm: Vec<i16>,
    frames: u32,
    begun: bool,
}

impl Flac {
    pub(super) fn new(rate: SampleRate) -> Self {
        Self { rate, pcm: Vec::new(), frames: 0, begun: false }
    }

    /// Codes samples; whole frames go to the end of `out`.
    pub(super) fn add(&mut self, pcm: &[i16], out: &mut Vec<u8>) {
        self.begin(out);
        self.pcm.extend_from_slice(pcm);
        let whole = self.pcm.len() / BLOCK * BLOCK;
        let pcm: Vec<i16> = self.pcm.drain(..whole).collect();
        for block in pcm.chunks_exact(BLOCK) {
            self.frame(block, out);
        }
    }

    /// Codes what is left.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        self.begin(out);
        let rest = std::mem::take(&mut self.pcm);
        if !rest.is_empty() {
            self.frame(&rest, out);
        }
    }

    /// The marker and the one block of metadata (section 8.2): no length and no checksum, which nobody knows yet.
    fn begin(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        out.extend_from_slice(b"fLaC");
        out.extend_from_slice(&[0x80, 0, 0, 34]);
        for _ in 0..2 {
            out.extend_from_slice(&(BLOCK as u16).to_be_bytes());
        }
        // The sizes of frames: unknown.
        out.extend_from_slice(&[0; 6]);
        // 20 bits of rate, 3 of channels less one, 5 of bits less one, 36 of samples.
        let packed = u64::from(self.rate.hz()) << 44 | 15 << 36;
        out.extend_from_slice(&packed.to_be_bytes());
        out.extend_from_slice(&[0; 16]);
    }

    /// One frame (section 9).
    fn frame(&mut self, block: &[i16], out: &mut Vec<u8>) {
        let begin = out.len();
        // Blocks of one size; the size and no rate follow; mono; 16 bits.
        out.extend_from_slice(&[0xff, 0xf8, 0x70, 0x08]);
        number(self.frames, out);
        self.frames += 1;
        out.extend_from_slice(&((block.len() - 1) as u16).to_be_bytes());
        let check = crc8(&out[begin..]);
        out.push(check);
        let mut bits = Bits::default();
        subframe(block, &mut bits);
        bits.finish(out);
        let check = crc16(&out[begin..]);
        out.extend_from_slice(&check.to_be_bytes());
    }
}

/// A subframe of a fixed predictor (section 9.2.5).
fn subframe(block: &[i16], bits: &mut Bits) {
    let (order, residual) = predict(block);
    bits.put(8, (0b00_1000 | order as u32) << 1);
    for sample in &block[..order] {
        bits.put(16, u32::from(sample.cast_unsigned()));
    }
    let parts = if block.len() == BLOCK { PARTS } else { 0 };
    // Rice codes with parameters of four bits.
    bits.put(2, 0);
    bits.put(4, parts);
    let size = block.len() >> parts;
    let mut rest = &residual[..];
    for part in 0..1usize << parts {
        let (now, later) = rest.split_at(if part == 0 { size - order } else { size });
        rest = later;
        let parameter = parameter(now);
        bits.put(4, parameter);
        for value in now {
            bits.rice(zigzag(*value), parameter);
        }
    }
}

/// The order whose errors are the smallest, and the errors after its first samples.
fn predict(block: &[i16]) -> (usize, Vec<i32>) {
    let mut errors: Vec<i32> = block.iter().map(|sample| i32::from(*sample)).collect();
    let mut best = (0, errors.clone(), u64::MAX);
    // The first part has to hold the samples that the predictor starts from.
    for order in 0..=ORDERS.min(block.len() - 1) {
        if order > 0 {
            for n in (order..errors.len()).rev() {
                errors[n] -= errors[n - 1];
            }
        }
        let cost = errors[order..].iter().map(|error| u64::from(error.unsigned_abs())).sum();
        if cost < best.2 {
            best = (order, errors[order..].to_vec(), cost);
        }
    }
    (best.0, best.1)
}

/// Whole numbers without a sign: 0, -1, 1, -2, …
fn zigzag(value: i32) -> u32 {
    (value << 1 ^ value >> 31).cast_unsigned()
}

/// The Rice parameter that suits the mean.
fn parameter(values: &[i32]) -> u32 {
    let sum: u64 = values.iter().map(|value| u64::from(zigzag(*value))).sum();
    let mean = sum / (values.len() as u64).max(1);
    (u64::BITS - mean.leading_zeros()).saturating_sub(1).min(LARGEST)
}

/// The number of a frame, coded as UTF-8 codes characters (section 9.1.5).
fn number(n: u32, out: &mut Vec<u8>) {
    if n < 0x80 {
        out.push(n as u8);
        return;
    }
    let more = match n {
        0..0x800 => 1,
        0x800..0x1_0000 => 2,
        0x1_0000..0x20_0000 => 3,
        0x20_0000..0x400_0000 => 4,
        _ => 5,
    };
    let lead = !(0xffu32 >> (more + 1)) & 0xff;
    out.push((lead | n >> (6 * more)) as u8);
    for part in (0..more).rev() {
        out.push((0x80 | n >> (6 * part) & 0x3f) as u8);
    }
}

fn crc8(octets: &[u8]) -> u8 {
    octets.iter().fold(0, |crc, octet| {
        (0..8).fold(crc ^ octet, |crc, _| if crc & 0x80 == 0 { crc << 1 } else { crc << 1 ^ 0x07 })
    })
}

fn crc16(octets: &[u8]) -> u16 {
    octets.iter().fold(0, |crc, octet| {
        let crc: u16 = crc ^ u16::from(*octet) << 8;
        (0..8).fold(crc, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x8005 })
    })
}

/// Bits, the highest first.
#[derive(Default)]
struct Bits {
    octets: Vec<u8>,
    held: u64,
    count: u32,
}

impl Bits {
    /// Adds the lowest `count` bits of `value`, at most 32.
    fn put(&mut self, count: u32, value: u32) {
        self.held = self.held << count | u64::from(value) & ((1 << count) - 1);
        self.count += count;
        while self.count >= 8 {
            self.count -= 8;
            self.octets.push((self.held >> self.count) as u8);
        }
    }

    /// A Rice code: as many zeros as the upper bits say, a one, the lower bits.
    fn rice(&mut self, value: u32, parameter: u32) {
        let mut zeros = value >> parameter;
        while zeros >= 32 {
            self.put(32, 0);
            zeros -= 32;
        }
        self.put(zeros + 1, 1);
        self.put(parameter, value);
    }

    /// Fills the last octet with zeros.
    fn finish(mut self, out: &mut Vec<u8>) {
        if self.count > 0 {
            self.put(8 - self.count, 0);
        }
        out.append(&mut self.octets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // The values that catalogues of checksums state for "123456789": CRC-8/SMBUS, CRC-16/UMTS.
        assert_eq!((crc8(b"123456789"), crc16(b"123456789")), (0xf4, 0xfee8));
    }

    #[test]
    fn numbers_of_frames_are_coded_as_characters_are() {
        for n in [0, 0x7f, 0x80, 0x7ff, 0x800, 0xffff, 0x1_0000, 0x10_ffff] {
            let Some(c) = char::from_u32(n) else { continue };
            let mut out = Vec::new();
            number(n, &mut out);
            assert_eq!(out, c.to_string().as_bytes(), "{n:x}");
        }
    }
}
