//! The short-time spectrum that the network listens to.
//!
//! 768 pre-emphasised samples under a Hann window, padded to 1,024, become the powers of 40 triangular bands. The
//! transform is the plain decimation in time by two, two steps at once, with the data laid out so that four of its
//! butterflies stand side by side. Every sum is formed as in the plain algorithm, so that results are the same to the last
//! bit.

use std::f64::consts::TAU;
use std::ops::{Add, Mul, Sub};
use std::sync::LazyLock;

use wide::f32x4;

/// Samples of a window, and how many windows a spectrum spans.
pub(super) const WINDOW: usize = 256;
const SPANNED: usize = 3;
/// Bands.
pub(super) const BANDS: usize = 40;
/// Where bands begin, peak and end, in bins of 15.625 Hz: each begins at the peak of the one before.
const EDGES: [usize; BANDS + 2] = [
    4, 7, 10, 13, 17, 21, 25, 29, 33, 38, 43, 48, 54, 60, 66, 73, 80, 87, 95, 103, 112, 122, 132, 142, 153,
    165, 178, 191, 205, 220, 236, 253, 270, 289, 309, 330, 353, 376, 402, 428, 456, 486,
];
/// Powers are of samples from -1 to 1.
/// The bin in the middle, from which on powers lie the other way round.
const MIDDLE: usize = 256;
const FULL_SCALE: f32 = 1.0 / (32_768.0 * 32_768.0);

/// Points of the complex transform: half of the real one, whose even samples are real parts here, odd ones imaginary.
const POINTS: usize = 512;
/// Butterflies side by side, and vectors of so many points.
const LANES: usize = 4;
const VECTORS: usize = POINTS / LANES;
/// Complex points of one window.
const HALF: usize = WINDOW / 2;

/// Real and imaginary parts of one window's samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Halves {
    pub(super) even: [f32x4; HALF / LANES],
    pub(super) odd: [f32x4; HALF / LANES],
}

impl Halves {
    pub(super) const SILENT: Self =
        Self { even: [f32x4::ZERO; HALF / LANES], odd: [f32x4::ZERO; HALF / LANES] };
}

/// What does not change from spectrum to spectrum.
struct Tables {
    hann: [Halves; SPANNED],
    /// For the steps from 4 to 16 and from 16 to 64 points, where butterflies side by side share their factors.
    to_16: [[Complex; 3]; 4],
    to_64: [[Complex; 3]; 16],
    /// For those from 64 to 256 and from 256 to 512 points, and to the real transform.
    to_256: [[Complex; 3]; 16],
    to_512: [Complex; 64],
    to_real: [Complex; 64],
    /// Weights of the bins of each band, one band after another.
    weights: Vec<f32>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(Tables::new);

/// Makes what is the same for all, where it is not made yet.
pub(super) fn prepare() {
    LazyLock::force(&TABLES);
}

/// Writes the powers of all bands. `windows` lie in order of time.
pub(super) fn powers(windows: [&Halves; SPANNED], bands: &mut [f32; BANDS]) {
    let tables = &*TABLES;
    let (mut one, mut other) = ([Complex::ZERO; VECTORS], [Complex::ZERO; VECTORS]);
    to_4(windows, &tables.hann, &mut one);
    to_16(&one, &tables.to_16, &mut other);
    to_64(&other, &tables.to_64, &mut one);
    transpose(&one, &mut other);
    to_256(&other, &tables.to_256, &mut one);
    to_512(&one, &tables.to_512, &mut other);
    let (low, high) = to_real(&other, &tables.to_real);
    let mut weights = &tables.weights[..];
    let (low, high) = (low.as_flattened(), high.as_flattened());
    for (band, edges) in bands.iter_mut().zip(EDGES.windows(3)) {
        let (from, to) = (edges[0], edges[2]);
        let (own, rest) = weights.split_at(to - from);
        weights = rest;
        let (below, above) = own.split_at(MIDDLE.clamp(from, to) - from);
        let mut sum = 0.0;
        for (power, weight) in low[from.min(MIDDLE)..].iter().zip(below) {
            sum += power * weight;
        }
        for (power, weight) in high[..=2 * MIDDLE - from.max(MIDDLE)].iter().rev().zip(above) {
            sum += power * weight;
        }
        *band = sum;
    }
}

impl Tables {
    fn new() -> Self {
        let window = |n: usize| {
            // In single precision, as the network was taught with.
            let angle = (f64::from(std::f32::consts::PI) * n as f64 / (WINDOW * SPANNED) as f64) as f32;
            let sine = f64::from(angle).sin() as f32;
            sine * sine
        };
        let hann = std::array::from_fn(|part| {
            let every_other =
                |n: usize| f32x4::new([0, 2, 4, 6].map(|lane| window(part * WINDOW + n + lane)));
            Halves {
                even: std::array::from_fn(|v| every_other(v * 2 * LANES)),
                odd: std::array::from_fn(|v| every_other(v * 2 * LANES + 1)),
            }
        });
        // The two steps that make 4 * `points` of `points` turn by these.
        let three = |k: [usize; LANES], points: usize| {
            [turn(k, points * 2), turn(k, points * 4), turn(k.map(|k| k + points), points * 4)]
        };
        let alike = |k: usize| [k; LANES];
        let neighbours = |v: usize| std::array::from_fn(|lane| v * LANES + lane);
        let mut weights = Vec::new();
        for edges in EDGES.windows(3) {
            let (rise, fall) = (edges[1] - edges[0], edges[2] - edges[1]);
            weights.extend((0..rise).map(|n| n as f32 / rise as f32));
            weights.extend((0..fall).map(|n| (fall - n) as f32 / fall as f32));
        }
        Self {
            hann,
            to_16: std::array::from_fn(|k| three(alike(k), 4)),
            to_64: std::array::from_fn(|k| three(alike(k), 16)),
            to_256: std::array::from_fn(|v| three(neighbours(v), 64)),
            to_512: std::array::from_fn(|v| turn(neighbours(v), POINTS)),
            to_real: std::array::from_fn(|v| turn(neighbours(v), POINTS * 2)),
            weights,
        }
    }
}

/// The factors `exp(-2πi k / points)`, each `k` below half of `points`.
fn turn(k: [usize; LANES], points: usize) -> Complex {
    // Out of one quarter of a sine, so that mirrored factors are the same to the last bit.
    let sine = |step: usize| (TAU * step as f64 / (POINTS * 2) as f64).sin() as f32;
    let quarter = POINTS / 2;
    let factors = k.map(|k| match k * (POINTS * 2 / points) {
        step if step <= quarter => (sine(quarter - step), -sine(step)),
        step => (-sine(step - quarter), -sine(2 * quarter - step)),
    });
    Complex { re: f32x4::new(factors.map(|(re, _)| re)), im: f32x4::new(factors.map(|(_, im)| im)) }
}

/// The first two steps, with the window. A quarter of the points is padding, and drops out.
fn to_4(windows: [&Halves; SPANNED], hann: &[Halves; SPANNED], out: &mut [Complex; VECTORS]) {
    for v in 0..HALF / LANES {
        let under = |part: usize| Complex {
            re: windows[part].even[v] * hann[part].even[v],
            im: windows[part].odd[v] * hann[part].odd[v],
        };
        let (a, b, c) = (under(0), under(1), under(2));
        let (sum, difference) = (a + c, a - c);
        out[v] = sum + b;
        out[32 + v] = Complex { re: difference.re + b.im, im: difference.im - b.re };
        out[64 + v] = sum - b;
        out[96 + v] = Complex { re: difference.re - b.im, im: difference.im + b.re };
    }
}

/// 32 transforms of 16 points, from 128 of 4.
fn to_16(from: &[Complex; VECTORS], turns: &[[Complex; 3]; 4], out: &mut [Complex; VECTORS]) {
    for (k, turns) in turns.iter().enumerate() {
        for v in 0..8 {
            let x = |part: usize| from[k * 32 + part * 8 + v];
            let made = quadruple([x(0), x(1), x(2), x(3)], turns);
            for q in 0..4 {
                out[(k + 4 * q) * 8 + v] = made[q];
            }
        }
    }
}

/// 8 transforms of 64 points, from 32 of 16.
fn to_64(from: &[Complex; VECTORS], turns: &[[Complex; 3]; 16], out: &mut [Complex; VECTORS]) {
    for (k, turns) in turns.iter().enumerate() {
        for v in 0..2 {
            let x = |part: usize| from[k * 8 + part * 2 + v];
            let made = quadruple([x(0), x(1), x(2), x(3)], turns);
            for q in 0..4 {
                out[(k + 16 * q) * 2 + v] = made[q];
            }
        }
    }
}

/// Puts the points of one transform side by side, where so far the same points of all eight were.
fn transpose(from: &[Complex; VECTORS], out: &mut [Complex; VECTORS]) {
    for k in 0..16 {
        for j in 0..2 {
            let rows = [0, 1, 2, 3].map(|row| from[(LANES * k + row) * 2 + j]);
            let re = f32x4::transpose(rows.map(|row| row.re));
            let im = f32x4::transpose(rows.map(|row| row.im));
            for lane in 0..LANES {
                out[(LANES * j + lane) * 16 + k] = Complex { re: re[lane], im: im[lane] };
            }
        }
    }
}

/// 2 transforms of 256 points, from 8 of 64.
fn to_256(from: &[Complex; VECTORS], turns: &[[Complex; 3]; 16], out: &mut [Complex; VECTORS]) {
    for (v, turns) in turns.iter().enumerate() {
        for j in 0..2 {
            let x = |part: usize| from[(j + part * 2) * 16 + v];
            let made = quadruple([x(0), x(1), x(2), x(3)], turns);
            for q in 0..4 {
                out[j * 64 + q * 16 + v] = made[q];
            }
        }
    }
}

/// The transform of 512 points, from 2 of 256.
fn to_512(from: &[Complex; VECTORS], turns: &[Complex; 64], out: &mut [Complex; VECTORS]) {
    for (v, turn) in turns.iter().enumerate() {
        let (a, b) = (from[v], *turn * from[v + 64]);
        out[v] = a + b;
        out[v + 64] = a - b;
    }
}

/// The powers of the real transform: of the lower half of the bins upwards, of the upper half downwards from the last.
/// The first and the last bin, in which no band is interested, are wrong.
fn to_real(from: &[Complex; VECTORS], turns: &[Complex; 64]) -> ([[f32; LANES]; 64], [[f32; LANES]; 65]) {
    let (mut low, mut high) = ([[0.0; LANES]; 64], [[0.0; LANES]; 65]);
    for (v, turn) in turns.iter().enumerate() {
        let (x, y) = (from[v], Complex::mirrored(from[(VECTORS - v) % VECTORS], from[VECTORS - 1 - v]));
        let (sum, difference) = ((x + y).half(), (x - y).half());
        let (re, im) = (turn.re * sum.im, turn.im * sum.im);
        let (crossed_re, crossed_im) = (turn.im * difference.re, turn.re * difference.re);
        let lower = Complex { re: sum.re + re + crossed_re, im: difference.im + im - crossed_im };
        let upper = Complex { re: sum.re - re - crossed_re, im: im - difference.im - crossed_im };
        (low[v], high[v]) = (lower.power(), upper.power());
    }
    high[64] = from[64].power();
    (low, high)
}

/// Two steps: four transforms become one of four times their length, whose quarters these are.
#[inline(always)]
fn quadruple([a, b, c, d]: [Complex; 4], [double, quadruple, third]: &[Complex; 3]) -> [Complex; 4] {
    let (c, d) = (*double * c, *double * d);
    let (even, odd) = (a + c, *quadruple * (b + d));
    let (even_high, odd_high) = (a - c, *third * (b - d));
    [even + odd, even_high + odd_high, even - odd, even_high - odd_high]
}

/// Four complex numbers.
#[derive(Clone, Copy, Debug)]
struct Complex {
    re: f32x4,
    im: f32x4,
}

impl Complex {
    const ZERO: Self = Self { re: f32x4::ZERO, im: f32x4::ZERO };

    /// The first of `first`, then the others of `rest` from the last on.
    #[inline(always)]
    fn mirrored(first: Self, rest: Self) -> Self {
        let turned = |first: f32x4, rest: f32x4| {
            let ([first, ..], [_, a, b, c]) = (first.to_array(), rest.to_array());
            f32x4::new([first, c, b, a])
        };
        Self { re: turned(first.re, rest.re), im: turned(first.im, rest.im) }
    }

    #[inline(always)]
    fn half(self) -> Self {
        let half = f32x4::splat(0.5);
        Self { re: self.re * half, im: self.im * half }
    }

    #[inline(always)]
    fn power(self) -> [f32; LANES] {
        ((self.re * self.re + self.im * self.im) * f32x4::splat(FULL_SCALE)).to_array()
    }
}

impl Add for Complex {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self { re: self.re + other.re, im: self.im + other.im }
    }
}

impl Sub for Complex {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self { re: self.re - other.re, im: self.im - other.im }
    }
}

impl Mul for Complex {
    type Output = Self;

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self { re: self.re * other.re - self.im * other.im, im: self.re * other.im + self.im * other.re }
    }
}
