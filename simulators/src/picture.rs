//! Pictures and films that are real files: a seeded landscape with the prompt on it.
//!
//! The background is made of flat rows (sky, sun, hills), which look well, cost integer arithmetic only and
//! compress to a few kilobytes. Photographs or noise were rejected: the first would have to be shipped, the
//! second makes every artifact megabytes.

mod canvas;
mod film;
mod h264;
mod landscape;
mod mp4;
mod text;
mod webp;

use canvas::Canvas;
pub(crate) use film::{animated_webp, mp4 as mp4_film};

/// What to draw. The same scene gives the same bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scene {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Drawn in the middle, wrapped; may be empty.
    pub(crate) prompt: String,
    pub(crate) seed: u64,
    /// The corner label: who pretends to have made this.
    pub(crate) label: &'static str,
    /// A plain background instead of the landscape (`0xRRGGBB`).
    pub(crate) plain: Option<u32>,
}

/// The largest side that is drawn; larger requests are clamped, so that no request can ask for gigabytes.
pub(crate) const MAX_SIDE: u32 = 4096;

impl Scene {
    fn paint(&self) -> Canvas {
        let (width, height) = (self.width.clamp(1, MAX_SIDE), self.height.clamp(1, MAX_SIDE));
        let mut canvas = Canvas::new(width as usize, height as usize);
        match self.plain {
            Some(color) => canvas.fill([(color >> 16) as u8, (color >> 8) as u8, color as u8]),
            None => landscape::paint(&mut canvas, &self.prompt, self.seed),
        }
        text::caption(&mut canvas, &self.prompt);
        text::corner(&mut canvas, self.label);
        canvas
    }
}

/// A PNG of the scene.
pub(crate) fn png(scene: &Scene) -> Vec<u8> {
    let canvas = scene.paint();
    encode_png(&canvas).unwrap_or_default()
}

fn encode_png(canvas: &Canvas) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, canvas.width as u32, canvas.height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    // Rows are flat: a difference to the left neighbour is nearly always zero.
    encoder.set_filter(png::Filter::Sub);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&canvas.rgb)?;
    writer.finish()?;
    Ok(bytes)
}

/// Width and height of a PNG, from its header.
pub(crate) fn png_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let header = bytes.get(..24)?;
    (header.starts_with(b"\x89PNG\r\n\x1a\n") && &header[12..16] == b"IHDR").then(|| {
        let number =
            |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        (number(16), number(20))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(seed: u64) -> Scene {
        let prompt = "a red fox, watercolor".to_owned();
        Scene { width: 320, height: 200, prompt, seed, label: "SIMULATED TEST", plain: None }
    }

    #[test]
    fn the_same_scene_gives_the_same_bytes_and_the_asked_size() {
        let bytes = png(&scene(1));
        assert_eq!(bytes, png(&scene(1)));
        assert_ne!(bytes, png(&scene(2)));
        assert_eq!(png_size(&bytes), Some((320, 200)));
        let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels.len(), 320 * 200 * 3);
    }

    #[test]
    fn pictures_are_small() {
        let large = Scene { width: 1024, height: 1024, ..scene(3) };
        let bytes = png(&large);
        assert!(bytes.len() < 400_000, "{} bytes", bytes.len());
    }
}
