//! Animated WebP: each frame's lossless stream, taken out of its own file and put into one animation.

use image_webp::{ColorType, WebPEncoder};

use super::canvas::Canvas;

/// `frames` must have at least one. Later frames carry only the rectangle that changed.
pub(super) fn animate(
    width: usize,
    height: usize,
    duration_ms: u32,
    frames: impl Iterator<Item = Canvas>,
) -> Vec<u8> {
    let mut body = Vec::new();
    let mut header = vec![0b10, 0, 0, 0]; // animation, no alpha
    header.extend(le24(width as u32 - 1));
    header.extend(le24(height as u32 - 1));
    chunk(&mut body, b"VP8X", &header);
    chunk(&mut body, b"ANIM", &[0, 0, 0, 0xff, 0, 0]); // black, for ever
    let mut previous: Option<Canvas> = None;
    for canvas in frames {
        let area = previous.as_ref().map_or((0, 0, width, height), |before| changed(before, &canvas));
        chunk(&mut body, b"ANMF", &animation_frame(&canvas, area, duration_ms));
        previous = Some(canvas);
    }
    let mut file = b"RIFF".to_vec();
    file.extend((body.len() as u32 + 4).to_le_bytes());
    file.extend(b"WEBP");
    file.extend(body);
    file
}

fn animation_frame(canvas: &Canvas, (x, y, width, height): (usize, usize, usize, usize), ms: u32) -> Vec<u8> {
    let pixels: Vec<u8> = (y..y + height)
        .flat_map(|row| {
            let start = row * canvas.width + x;
            &canvas.rgb[start * 3..(start + width) * 3]
        })
        .copied()
        .collect();
    let mut file = Vec::new();
    // Cannot fail: the buffer has the size it says, and writing to memory does not fail.
    WebPEncoder::new(&mut file).encode(&pixels, width as u32, height as u32, ColorType::Rgb8).ok();
    let mut frame = Vec::new();
    frame.extend(le24(x as u32 / 2));
    frame.extend(le24(y as u32 / 2));
    frame.extend(le24(width as u32 - 1));
    frame.extend(le24(height as u32 - 1));
    frame.extend(le24(ms));
    frame.push(0b10); // overwrite, keep
    // A single-picture file is the RIFF header (12 bytes) and the one chunk wanted here.
    frame.extend(file.get(12..).unwrap_or_default());
    frame
}

/// The smallest rectangle at even coordinates that holds every difference; one pixel if there is none.
fn changed(before: &Canvas, after: &Canvas) -> (usize, usize, usize, usize) {
    let stride = after.width * 3;
    let (mut left, mut right, mut top, mut bottom) = (after.width, 0, after.height, 0);
    for (y, (a, b)) in before.rgb.chunks_exact(stride).zip(after.rgb.chunks_exact(stride)).enumerate() {
        if a == b {
            continue;
        }
        let differs = |x: &usize| a[x * 3..x * 3 + 3] != b[x * 3..x * 3 + 3];
        top = top.min(y);
        bottom = y + 1;
        left = left.min((0..after.width).find(differs).unwrap_or(0));
        right = right.max((0..after.width).rev().find(differs).unwrap_or(0) + 1);
    }
    if right == 0 {
        return (0, 0, 1, 1);
    }
    let (x, y) = (left & !1, top & !1);
    (x, y, right - x, bottom - y)
}

fn chunk(into: &mut Vec<u8>, kind: &[u8; 4], payload: &[u8]) {
    into.extend(kind);
    into.extend((payload.len() as u32).to_le_bytes());
    into.extend(payload);
    if payload.len() % 2 == 1 {
        into.push(0);
    }
}

fn le24(value: u32) -> [u8; 3] {
    let [a, b, c, _] = value.to_le_bytes();
    [a, b, c]
}
