//! The background: a sky in bands, a sun, stars and four ranges of hills, all from one seed.

use super::canvas::{Canvas, Rgb, hsv, mix};
use crate::chance::{self, Stream};

/// Rows of one colour; fewer bands compress better, more look smoother.
const SKY_BANDS: i64 = 48;
const RANGES: i64 = 4;

pub(super) fn paint(canvas: &mut Canvas, prompt: &str, seed: u64) {
    let mut dice = Stream::new(chance::hash(seed, &[b"landscape", prompt.as_bytes()]));
    let hue = dice.between(0, 1536);
    let top = hsv(hue, 190, dice.between(70, 150));
    let bottom = hsv(hue + dice.between(120, 420), 130, 245);
    let (width, height) = (canvas.width as i64, canvas.height as i64);

    for y in 0..height {
        let band = y * SKY_BANDS / height;
        canvas.span(y, 0, width, mix(top, bottom, band * 3, SKY_BANDS * 2));
    }
    stars(canvas, &mut dice, bottom);
    let radius = width.min(height) * dice.between(6, 14) / 100;
    let (sun_x, sun_y) = (width * dice.between(15, 85) / 100, height * dice.between(18, 45) / 100);
    canvas.disc(sun_x, sun_y, radius * 5 / 4, mix(bottom, [255, 255, 255], 1, 4));
    canvas.disc(sun_x, sun_y, radius, mix(bottom, [255, 250, 220], 3, 4));
    for range in 0..RANGES {
        hills(canvas, &mut dice, range, mix(bottom, hsv(hue + 60, 160, 40), range + 1, RANGES));
    }
}

fn stars(canvas: &mut Canvas, dice: &mut Stream, color: Rgb) {
    let size = (canvas.width.min(canvas.height) as i64 / 400).max(1);
    for _ in 0..40 {
        let x = dice.between(0, canvas.width as i64);
        let y = dice.between(0, canvas.height as i64 / 2);
        canvas.rect(x, y, size, size, color);
    }
}

fn hills(canvas: &mut Canvas, dice: &mut Stream, range: i64, color: Rgb) {
    let (width, height) = (canvas.width as i64, canvas.height as i64);
    let base = height * (52 + range * 12) / 100;
    let swing = height * dice.between(5, 10) / 100;
    let waves: [(i64, i64, i64); 3] = std::array::from_fn(|i| {
        let i = i as i64;
        (dice.between(500, 1600) * (i + 1), dice.between(0, 1024), swing / (i + 1))
    });
    let crest: Vec<i64> = (0..width)
        .map(|x| {
            base - waves
                .iter()
                .map(|(length, phase, lift)| lift * wave(x * length / width + phase) / 1024)
                .sum::<i64>()
        })
        .collect();
    let highest = crest.iter().copied().min().unwrap_or(base).max(0);
    for y in highest..height {
        let mut x = 0;
        while x < width {
            // Runs instead of pixels: below the crest a row is mostly one run.
            let inside = y >= crest[x as usize];
            let start = x;
            while x < width && (y >= crest[x as usize]) == inside {
                x += 1;
            }
            if inside {
                canvas.span(y, start, x, color);
            }
        }
    }
}

/// A sine by parabolas: period 1024, amplitude 1024; exact on every machine, unlike a float sine.
fn wave(phase: i64) -> i64 {
    let phase = phase.rem_euclid(1024);
    let half = phase % 512;
    let lobe = half * (512 - half) / 64;
    if phase < 512 { lobe } else { -lobe }
}
