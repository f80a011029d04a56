//! Films: the scene stands still while a marker crosses it and a bar at the bottom fills up.
//!
//! Frames differ in a few blocks only, which keeps both containers small without a real video encoder.

use super::canvas::Canvas;
use super::{Scene, h264, mp4 as container, webp};

/// More frames than this are not drawn; a ten-second film has 240.
const MAX_FRAMES: u32 = 480;

const MARKER: i64 = 16;

/// An animated WebP (lossless), `frames` long at `fps`.
pub(crate) fn animated_webp(scene: &Scene, frames: u32, fps: f64) -> Vec<u8> {
    let base = scene.paint();
    let duration_ms = (1000.0 / fps.clamp(0.01, 1000.0)).round().clamp(1.0, 60_000.0) as u32;
    let frames = frames.clamp(1, MAX_FRAMES);
    webp::animate(base.width, base.height, duration_ms, (0..frames).map(|n| frame(&base, n, frames)))
}

/// An MP4 with H.264 video, `frames` long at `fps`. Odd sizes lose their last row or column: 4:2:0 has none.
pub(crate) fn mp4(scene: &Scene, frames: u32, fps: f64) -> Vec<u8> {
    let base =
        Scene { width: (scene.width & !1).max(16), height: (scene.height & !1).max(16), ..scene.clone() };
    let base = base.paint();
    let frames = frames.clamp(1, MAX_FRAMES);
    let mut encoder = h264::Encoder::new(base.width, base.height);
    let samples: Vec<Vec<u8>> = (0..frames).map(|n| encoder.encode(&frame(&base, n, frames))).collect();
    container::mux(&container::Track {
        width: base.width as u16,
        height: base.height as u16,
        fps_milli: (fps.clamp(1.0, 240.0) * 1000.0).round() as u32,
        sps: &encoder.sps(),
        pps: &encoder.pps(),
        samples: &samples,
    })
}

fn frame(base: &Canvas, n: u32, of: u32) -> Canvas {
    let mut canvas = base.clone();
    let (width, height) = (canvas.width as i64, canvas.height as i64);
    let last = i64::from(of.max(2) - 1);
    let done = width * i64::from(n) / last;
    // On block borders, so that one step touches one column of blocks.
    canvas.rect(0, height - 6, done / 16 * 16, 6, [255, 255, 255]);
    let x = (width - MARKER).max(0) * i64::from(n) / last / 16 * 16;
    canvas.disc(x + MARKER / 2, height / 8 / 16 * 16 + MARKER / 2, MARKER / 2 - 1, [255, 255, 255]);
    canvas
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene() -> Scene {
        let prompt = "waves".to_owned();
        Scene { width: 200, height: 120, prompt, seed: 4, label: "SIMULATED TEST", plain: None }
    }

    #[test]
    fn webp_decodes_to_all_its_frames() {
        let bytes = animated_webp(&scene(), 8, 8.0);
        let mut decoder = image_webp::WebPDecoder::new(std::io::Cursor::new(&bytes)).unwrap();
        assert!(decoder.is_animated());
        assert_eq!(decoder.dimensions(), (200, 120));
        assert_eq!(decoder.num_frames(), 8);
        let mut pixels = vec![0; decoder.output_buffer_size().unwrap()];
        for _ in 0..8 {
            assert_eq!(decoder.read_frame(&mut pixels).unwrap(), 125);
        }
        // The decoder composes the changed rectangles: the last frame is what was drawn last.
        let wanted = frame(&scene().paint(), 7, 8).rgb;
        let colors = pixels.len() / (200 * 120);
        let got: Vec<u8> = pixels.chunks_exact(colors).flat_map(|p| p[..3].to_vec()).collect();
        assert_eq!(got, wanted);
    }

    #[test]
    fn mp4_is_small_and_repeatable() {
        let bytes = mp4(&scene(), 16, 16.0);
        assert_eq!(&bytes[4..8], b"ftyp");
        assert_eq!(bytes, mp4(&scene(), 16, 16.0));
        // One full picture and little more.
        assert!(bytes.len() < 200 * 120 * 4, "{} bytes", bytes.len());
    }
}
