//! Eight-bit RGB pixels and the few shapes that the pictures need.

/// A colour, red first.
pub(super) type Rgb = [u8; 3];

#[derive(Debug, Clone)]
pub(super) struct Canvas {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) rgb: Vec<u8>,
}

impl Canvas {
    pub(super) fn new(width: usize, height: usize) -> Self {
        Self { width, height, rgb: vec![0; width * height * 3] }
    }

    pub(super) fn fill(&mut self, color: Rgb) {
        let row = color.repeat(self.width);
        for line in self.rgb.chunks_exact_mut(self.width * 3) {
            line.copy_from_slice(&row);
        }
    }

    /// Fills `x` up to (not including) `x_end` in one row; both may lie outside.
    pub(super) fn span(&mut self, y: i64, x: i64, x_end: i64, color: Rgb) {
        if y < 0 || y >= self.height as i64 {
            return;
        }
        let (from, to) = (x.clamp(0, self.width as i64) as usize, x_end.clamp(0, self.width as i64) as usize);
        let start = y as usize * self.width;
        for pixel in self.rgb[(start + from) * 3..(start + to.max(from)) * 3].chunks_exact_mut(3) {
            pixel.copy_from_slice(&color);
        }
    }

    pub(super) fn rect(&mut self, x: i64, y: i64, width: i64, height: i64, color: Rgb) {
        for row in y..y + height {
            self.span(row, x, x + width, color);
        }
    }

    pub(super) fn disc(&mut self, center_x: i64, center_y: i64, radius: i64, color: Rgb) {
        let mut half = 0;
        for dy in -radius..=radius {
            let room = radius * radius - dy * dy;
            while (half + 1) * (half + 1) <= room {
                half += 1;
            }
            while half * half > room {
                half -= 1;
            }
            self.span(center_y + dy, center_x - half, center_x + half + 1, color);
        }
    }

    /// Darkens a rectangle to half its light, as a ground for text.
    pub(super) fn shade(&mut self, x: i64, y: i64, width: i64, height: i64) {
        let bound = |value: i64, limit: usize| value.clamp(0, limit as i64) as usize;
        let (from, to) = (bound(x, self.width), bound(x + width, self.width));
        for row in bound(y, self.height)..bound(y + height, self.height) {
            for byte in &mut self.rgb[(row * self.width + from) * 3..(row * self.width + to) * 3] {
                *byte /= 2;
            }
        }
    }
}

/// From `a` at 0 to `b` at `of`.
pub(super) fn mix(a: Rgb, b: Rgb, part: i64, of: i64) -> Rgb {
    let of = of.max(1);
    let part = part.clamp(0, of);
    std::array::from_fn(|i| ((i64::from(a[i]) * (of - part) + i64::from(b[i]) * part) / of) as u8)
}

/// Hue 0..1536, saturation and value 0..=255.
pub(super) fn hsv(hue: i64, saturation: i64, value: i64) -> Rgb {
    let hue = hue.rem_euclid(1536);
    let (sector, rest) = (hue / 256, hue % 256);
    let low = value * (255 - saturation) / 255;
    let falling = value * (255 - saturation * rest / 255) / 255;
    let rising = value * (255 - saturation * (255 - rest) / 255) / 255;
    let (r, g, b) = match sector {
        0 => (value, rising, low),
        1 => (falling, value, low),
        2 => (low, value, rising),
        3 => (low, falling, value),
        4 => (rising, low, value),
        _ => (value, low, falling),
    };
    [r, g, b].map(|part| part.clamp(0, 255) as u8)
}
