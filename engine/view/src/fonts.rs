//! Fonts found on the system, and text drawn with them.

use std::fs;

use ab_glyph::{Font, FontVec, Glyph, GlyphId, PxScale, ScaleFont, point};
use tiny_skia::{ColorU8, Pixmap, PremultipliedColorU8};

/// Where Debian, Fedora, Arch, Alpine and macOS keep a Latin font worth reading.
const LATIN: &[&str] = &[
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf",
    "/usr/share/fonts/TTF/DejaVuSans.ttf",
    "/usr/share/fonts/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/truetype/noto/NotoSans-Regular.ttf",
    "/usr/share/fonts/truetype/liberation/LiberationSans-Regular.ttf",
    "/Library/Fonts/Arial Unicode.ttf",
];

/// Where the same systems keep Chinese.
const CHINESE: &[&str] = &[
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc",
    "/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf",
    "/usr/share/fonts/truetype/arphic/uming.ttc",
    "/System/Library/Fonts/PingFang.ttc",
];

/// Fonts larger than this are not read.
const LARGEST: u64 = 64 << 20;

/// The fonts of a picture, in the order they are asked for a character.
pub(crate) struct Fonts {
    fonts: Vec<FontVec>,
}

impl Fonts {
    /// Reads the first Latin font there is, and the first Chinese one if `text` needs it.
    pub(crate) fn for_text(text: &str) -> Self {
        let mut fonts: Vec<FontVec> = LATIN.iter().find_map(|path| read(path)).into_iter().collect();
        let missing = text.chars().any(|c| !c.is_whitespace() && !fonts.iter().any(|f| f.glyph_id(c).0 != 0));
        if missing {
            fonts.extend(CHINESE.iter().find_map(|path| read(path)));
        }
        Self { fonts }
    }

    /// No fonts at all.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self { fonts: Vec::new() }
    }

    /// Whether nothing can be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.fonts.is_empty()
    }

    /// Whether every character of `text` has a shape.
    pub(crate) fn covers(&self, text: &str) -> bool {
        text.chars().all(|c| c.is_whitespace() || self.fonts.iter().any(|f| f.glyph_id(c).0 != 0))
    }

    /// How wide `text` is at `size` pixels.
    pub(crate) fn width(&self, text: &str, size: f32) -> f32 {
        let mut end = 0.0;
        self.lay_out(text, size, |_, _, next| end = next);
        end
    }

    /// Writes `text` with its left end at `x` and its baseline at `y`.
    pub(crate) fn draw(&self, pixmap: &mut Pixmap, text: &str, x: f32, y: f32, size: f32, color: ColorU8) {
        self.lay_out(text, size, |font, mut glyph, _| {
            glyph.position = point(x + glyph.position.x, y);
            let Some(outline) = font.outline_glyph(glyph) else { return };
            let bounds = outline.px_bounds();
            outline.draw(|gx, gy, coverage| {
                blend(
                    pixmap,
                    bounds.min.x as i32 + gx as i32,
                    bounds.min.y as i32 + gy as i32,
                    coverage,
                    color,
                );
            });
        });
    }

    /// Calls `each` with a font, a glyph placed from 0 on, and where the next one starts.
    fn lay_out(&self, text: &str, size: f32, mut each: impl FnMut(&FontVec, Glyph, f32)) {
        let Some(first) = self.fonts.first() else { return };
        let mut x = 0.0;
        let mut before: Option<(usize, GlyphId)> = None;
        for c in text.chars() {
            let (index, font) =
                self.fonts.iter().enumerate().find(|(_, f)| f.glyph_id(c).0 != 0).unwrap_or((0, first));
            let scaled = font.as_scaled(PxScale::from(size));
            let id = font.glyph_id(c);
            if let Some((_, other)) = before.filter(|(i, _)| *i == index) {
                x += scaled.kern(other, id);
            }
            let next = x + scaled.h_advance(id);
            each(font, id.with_scale_and_position(PxScale::from(size), point(x, 0.0)), next);
            x = next;
            before = Some((index, id));
        }
    }
}

fn read(path: &str) -> Option<FontVec> {
    if fs::metadata(path).ok()?.len() > LARGEST {
        return None;
    }
    let data = fs::read(path).ok()?;
    FontVec::try_from_vec_and_index(data, 0).ok()
}

/// Lays `color` over a pixel, `coverage` of it.
fn blend(pixmap: &mut Pixmap, x: i32, y: i32, coverage: f32, color: ColorU8) {
    let (width, height) = (pixmap.width() as i32, pixmap.height() as i32);
    if !(0..width).contains(&x) || !(0..height).contains(&y) {
        return;
    }
    let pixel = &mut pixmap.pixels_mut()[(y * width + x) as usize];
    let alpha = coverage.clamp(0.0, 1.0) * f32::from(color.alpha()) / 255.0;
    let mix =
        |under: u8, over: u8| (f32::from(under) * (1.0 - alpha) + f32::from(over) * alpha).round() as u8;
    let opaque = PremultipliedColorU8::from_rgba(
        mix(pixel.red(), color.red()),
        mix(pixel.green(), color.green()),
        mix(pixel.blue(), color.blue()),
        255,
    );
    // The ground is opaque, so every mix of it is a valid premultiplied colour.
    if let Some(opaque) = opaque {
        *pixel = opaque;
    }
}
