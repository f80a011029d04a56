//! A contact sheet: everything that was made, on one page. Pictures are decoded and shrunk by averaging
//! boxes of pixels; what is no PNG is shown as a card with its name.

use font8x8::UnicodeFonts as _;
use std::io::Cursor;

/// Pixels of a cell, and between cells.
const CELL_PX: usize = 144;
const GAP_PX: usize = 8;
/// Cells in a row.
const COLUMNS: usize = 10;
/// More files than these are left out: a sheet is for looking at.
pub const CELLS_MAX: usize = 400;
/// Larger pictures become a card: a few hundred of them would fill the memory.
const DECODED_MAX_BYTES: usize = 256 * 1024 * 1024;
/// Letters of the built-in font.
const LETTER_PX: usize = 8;

const PAPER: [u8; 3] = [32, 33, 36];
const CARD: [u8; 3] = [70, 74, 84];
const INK: [u8; 3] = [225, 228, 232];

/// An image of three bytes a pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// Red, green, blue, row by row.
    pub rgb: Vec<u8>,
}

impl Picture {
    /// A picture of one colour.
    #[must_use]
    pub fn plain(width: usize, height: usize, colour: [u8; 3]) -> Self {
        Self { width, height, rgb: colour.repeat(width * height) }
    }

    fn set(&mut self, x: usize, y: usize, colour: [u8; 3]) {
        if x < self.width && y < self.height {
            let at = (y * self.width + x) * 3;
            self.rgb[at..at + 3].copy_from_slice(&colour);
        }
    }

    fn paste(&mut self, other: &Self, left: usize, top: usize) {
        for row in 0..other.height.min(self.height.saturating_sub(top)) {
            let length = other.width.min(self.width.saturating_sub(left)) * 3;
            let (to, from) = (((top + row) * self.width + left) * 3, row * other.width * 3);
            self.rgb[to..to + length].copy_from_slice(&other.rgb[from..from + length]);
        }
    }

    fn write(&mut self, text: &str, left: usize, top: usize) {
        for (index, letter) in text.chars().enumerate() {
            let glyph = font8x8::BASIC_FONTS.get(letter).unwrap_or_default();
            for (row, bits) in glyph.iter().enumerate() {
                for column in (0..LETTER_PX).filter(|column| bits & (1 << column) != 0) {
                    self.set(left + index * LETTER_PX + column, top + row, INK);
                }
            }
        }
    }

    /// Shrunk to fit a square, its form kept; each pixel is the mean of the box it stands for.
    #[must_use]
    pub fn shrunk(&self, side: usize) -> Self {
        let longest = self.width.max(self.height).max(1);
        if longest <= side {
            return self.clone();
        }
        let scaled = |length: usize| (length * side / longest).max(1);
        let (width, height) = (scaled(self.width), scaled(self.height));
        let mut rgb = Vec::with_capacity(width * height * 3);
        for y in 0..height {
            let rows =
                y * self.height / height..((y + 1) * self.height / height).max(y * self.height / height + 1);
            for x in 0..width {
                let left = x * self.width / width;
                let right = ((x + 1) * self.width / width).max(left + 1);
                let mut sums = [0_usize; 3];
                for row in rows.clone() {
                    for pixel in
                        self.rgb[(row * self.width + left) * 3..(row * self.width + right) * 3].chunks(3)
                    {
                        sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += usize::from(*value));
                    }
                }
                let count = rows.len() * (right - left);
                rgb.extend(sums.map(|sum| u8::try_from(sum / count).unwrap_or(u8::MAX)));
            }
        }
        Self { width, height, rgb }
    }

    /// As a PNG file.
    ///
    /// # Errors
    /// The sizes do not fit the format.
    pub fn to_png(&self) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut encoder =
            png::Encoder::new(&mut bytes, u32::try_from(self.width)?, u32::try_from(self.height)?);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        encoder.write_header()?.write_image_data(&self.rgb)?;
        Ok(bytes)
    }

    /// From a PNG file; none for anything else, or for one that is damaged or enormous.
    #[must_use]
    pub fn from_png(bytes: &[u8]) -> Option<Self> {
        let mut decoder =
            png::Decoder::new_with_limits(Cursor::new(bytes), png::Limits { bytes: DECODED_MAX_BYTES });
        decoder.set_transformations(png::Transformations::normalize_to_color8());
        let mut reader = decoder.read_info().ok()?;
        let size = reader.output_buffer_size().filter(|size| *size <= DECODED_MAX_BYTES)?;
        let mut buffer = vec![0; size];
        let frame = reader.next_frame(&mut buffer).ok()?;
        let pixels = &buffer[..frame.buffer_size()];
        let rgb = match frame.color_type {
            png::ColorType::Rgb => pixels.to_vec(),
            png::ColorType::Rgba => {
                pixels.chunks(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect()
            }
            png::ColorType::Grayscale => pixels.iter().flat_map(|grey| [*grey; 3]).collect(),
            png::ColorType::GrayscaleAlpha => pixels.chunks(2).flat_map(|pixel| [pixel[0]; 3]).collect(),
            png::ColorType::Indexed => return None,
        };
        Some(Self { width: frame.width as usize, height: frame.height as usize, rgb })
    }
}

/// A file of the sheet, ready to be pasted: shrunk, or a card with its name.
#[must_use]
pub fn cell(name: &str, bytes: &[u8]) -> Picture {
    Picture::from_png(bytes).map_or_else(|| card(name), |picture| picture.shrunk(CELL_PX))
}

fn card(name: &str) -> Picture {
    let mut card = Picture::plain(CELL_PX, CELL_PX, CARD);
    let letters: Vec<char> = name.chars().collect();
    let per_line = CELL_PX / LETTER_PX - 1;
    for (line, part) in letters.chunks(per_line).enumerate() {
        let text: String = part.iter().collect();
        card.write(&text, LETTER_PX / 2, CELL_PX / 3 + line * (LETTER_PX + 4));
    }
    card
}

/// The page.
#[must_use]
pub fn sheet(cells: &[Picture]) -> Picture {
    let columns = COLUMNS.min(cells.len().max(1));
    let rows = cells.len().div_ceil(columns).max(1);
    let step = CELL_PX + GAP_PX;
    let mut page = Picture::plain(columns * step + GAP_PX, rows * step + GAP_PX, PAPER);
    for (index, cell) in cells.iter().enumerate() {
        let (column, row) = (index % columns, index / columns);
        let left = GAP_PX + column * step + (CELL_PX - cell.width.min(CELL_PX)) / 2;
        let top = GAP_PX + row * step + (CELL_PX - cell.height.min(CELL_PX)) / 2;
        page.paste(cell, left, top);
    }
    page
}

/// A landscape in plain colours: the photo that image-to-image jobs begin with.
#[must_use]
pub fn photo() -> Picture {
    const SIDE: usize = 512;
    let mut picture = Picture::plain(SIDE, SIDE, [120, 170, 220]);
    for y in 0..SIDE {
        for x in 0..SIDE {
            let hill = 300 + (x as i64 - 180).pow(2) / 900;
            let colour = if (x as i64 - 380).pow(2) + (y as i64 - 110).pow(2) < 2_500 {
                [250, 220, 130]
            } else if y as i64 > hill {
                [60, 110, 70]
            } else {
                [120, 170, u8::try_from(180 + y / 8).unwrap_or(u8::MAX)]
            };
            picture.set(x, y, colour);
        }
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_becomes_its_mean_and_a_png_comes_back() {
        let mut picture = Picture::plain(2 * CELL_PX, CELL_PX, [0, 0, 0]);
        (0..CELL_PX).for_each(|y| (0..CELL_PX).for_each(|x| picture.set(2 * x, y, [200, 100, 50])));
        let small = picture.shrunk(CELL_PX);
        assert_eq!((small.width, small.height), (CELL_PX, CELL_PX / 2));
        assert_eq!(small.rgb[..3], [100, 50, 25]);
        let again = Picture::from_png(&small.to_png().unwrap()).unwrap();
        assert_eq!(again, small);
        assert_eq!(Picture::from_png(b"not a picture"), None);
    }

    #[test]
    fn the_page_holds_all_cells_and_cards_name_their_file() {
        let film = cell("0199-0.mp4", b"\0\0\0\x20ftyp");
        assert!(film.rgb.chunks(3).any(|pixel| pixel == INK), "the name is on the card");
        let page = sheet(&vec![film; 23]);
        assert_eq!(page.width, 10 * (CELL_PX + GAP_PX) + GAP_PX);
        assert_eq!(page.height, 3 * (CELL_PX + GAP_PX) + GAP_PX);
        assert!(page.rgb.chunks(3).filter(|pixel| *pixel == CARD).count() > 22 * CELL_PX * CELL_PX / 2);
    }
}
