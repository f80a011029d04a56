//! The smallest honest H.264 encoder: blocks are sent raw (`I_PCM`) when they changed and skipped when not.
//!
//! Constrained baseline, one slice per picture, one reference picture, no deblocking. Every player decodes it, and
//! there is no transform to get wrong. Existing crates were rejected: `less-avc` writes only key frames (a film of
//! megabytes per second), `openh264` compiles a C++ library.

use super::canvas::Canvas;

const BLOCK: usize = 16;
/// `I_PCM` in an I slice; in a P slice the intra types follow five inter types.
const I_PCM: u32 = 25;
const P_INTRA_OFFSET: u32 = 5;

pub(super) struct Encoder {
    width: usize,
    height: usize,
    columns: usize,
    rows: usize,
    previous: Option<Canvas>,
    frame_number: u32,
}

impl Encoder {
    pub(super) fn new(width: usize, height: usize) -> Self {
        let (columns, rows) = (width.div_ceil(BLOCK), height.div_ceil(BLOCK));
        Self { width, height, columns, rows, previous: None, frame_number: 0 }
    }

    /// The sequence parameter set, without start code.
    pub(super) fn sps(&self) -> Vec<u8> {
        let mut bits = Bits::default();
        bits.put(66, 8); // baseline
        bits.put(0xc0, 8); // constraint sets 0 and 1
        bits.put(51, 8); // level 5.1: raw blocks are above the bit rate of any lower level
        bits.ue(0);
        bits.ue(4); // frame numbers have 8 bits
        bits.ue(2); // output order is decoding order
        bits.ue(1); // one reference picture
        bits.put(0, 1);
        bits.ue(self.columns as u32 - 1);
        bits.ue(self.rows as u32 - 1);
        bits.put(1, 1); // frames only
        bits.put(1, 1);
        let (right, bottom) = (self.columns * BLOCK - self.width, self.rows * BLOCK - self.height);
        if right + bottom == 0 {
            bits.put(0, 1);
        } else {
            bits.put(1, 1);
            bits.ue(0);
            bits.ue(right as u32 / 2);
            bits.ue(0);
            bits.ue(bottom as u32 / 2);
        }
        bits.put(0, 1); // no VUI
        bits.into_unit(0x67)
    }

    /// The picture parameter set, without start code.
    pub(super) fn pps(&self) -> Vec<u8> {
        let mut bits = Bits::default();
        bits.ue(0);
        bits.ue(0);
        bits.put(0, 2); // CAVLC, no field order
        bits.ue(0);
        bits.ue(0);
        bits.ue(0);
        bits.put(0, 3); // no weighted prediction
        bits.ue(0);
        bits.ue(0);
        bits.ue(0);
        bits.put(0b100, 3); // deblocking is controlled per slice
        bits.into_unit(0x68)
    }

    /// One picture as one NAL unit, without start code. The first is a key frame.
    pub(super) fn encode(&mut self, canvas: &Canvas) -> Vec<u8> {
        let unit = match self.previous.take() {
            None => self.key_frame(canvas),
            Some(previous) => self.changes(&previous, canvas),
        };
        self.previous = Some(canvas.clone());
        self.frame_number = (self.frame_number + 1) % 256;
        unit
    }

    fn key_frame(&self, canvas: &Canvas) -> Vec<u8> {
        let mut bits = Bits::default();
        bits.ue(0);
        bits.ue(7); // all slices are I
        bits.ue(0);
        bits.put(0, 8);
        bits.ue(0); // idr_pic_id
        bits.put(0, 2); // no long-term references
        bits.ue(0);
        bits.ue(1); // deblocking off
        for block in 0..self.columns * self.rows {
            bits.ue(I_PCM);
            self.raw_block(&mut bits, canvas, block);
        }
        bits.into_unit(0x65)
    }

    fn changes(&self, previous: &Canvas, canvas: &Canvas) -> Vec<u8> {
        let mut bits = Bits::default();
        bits.ue(0);
        bits.ue(5); // all slices are P
        bits.ue(0);
        bits.put(self.frame_number, 8);
        bits.put(0, 2); // default reference count and list
        bits.put(0, 1); // sliding window
        bits.ue(0);
        bits.ue(1);
        let mut skipped = 0;
        for block in 0..self.columns * self.rows {
            if self.same(previous, canvas, block) {
                skipped += 1;
                continue;
            }
            bits.ue(skipped);
            skipped = 0;
            bits.ue(P_INTRA_OFFSET + I_PCM);
            self.raw_block(&mut bits, canvas, block);
        }
        if skipped > 0 {
            bits.ue(skipped);
        }
        bits.into_unit(0x41)
    }

    /// Compares pixels, not samples: unchanged blocks are then never converted.
    fn same(&self, a: &Canvas, b: &Canvas, block: usize) -> bool {
        let (left, top) = (block % self.columns * BLOCK, block / self.columns * BLOCK);
        let right = (left + BLOCK).min(self.width);
        (top..(top + BLOCK).min(self.height)).all(|y| {
            let row = (y * self.width + left) * 3..(y * self.width + right) * 3;
            a.rgb[row.clone()] == b.rgb[row]
        })
    }

    /// BT.601, video range; chroma is taken from the upper left pixel of each four. The border is repeated outwards.
    fn raw_block(&self, bits: &mut Bits, canvas: &Canvas, block: usize) {
        bits.align();
        let (left, top) = (block % self.columns * BLOCK, block / self.columns * BLOCK);
        let (mut cb, mut cr) = ([0; 64], [0; 64]);
        for row in 0..BLOCK {
            let y = (top + row).min(self.height - 1);
            for column in 0..BLOCK {
                let at = (y * self.width + (left + column).min(self.width - 1)) * 3;
                let [r, g, b] = [0, 1, 2].map(|part| i32::from(canvas.rgb[at + part]));
                bits.bytes(&[(((66 * r + 129 * g + 25 * b + 128) >> 8) + 16) as u8]);
                if row % 2 == 0 && column % 2 == 0 {
                    let chroma = row / 2 * 8 + column / 2;
                    cb[chroma] = (((-38 * r - 74 * g + 112 * b + 128) >> 8) + 128) as u8;
                    cr[chroma] = (((112 * r - 94 * g - 18 * b + 128) >> 8) + 128) as u8;
                }
            }
        }
        bits.bytes(&cb);
        bits.bytes(&cr);
    }
}

/// Bits, most significant first.
#[derive(Default)]
struct Bits {
    done: Vec<u8>,
    open: u8,
    used: u32,
}

impl Bits {
    fn put(&mut self, value: u32, count: u32) {
        for bit in (0..count).rev() {
            self.open = self.open << 1 | (value >> bit & 1) as u8;
            self.used += 1;
            if self.used == 8 {
                self.done.push(self.open);
                (self.open, self.used) = (0, 0);
            }
        }
    }

    /// Exponential Golomb code; a signed zero looks the same.
    fn ue(&mut self, value: u32) {
        let length = 32 - (value + 1).leading_zeros();
        self.put(0, length - 1);
        self.put(value + 1, length);
    }

    fn align(&mut self) {
        if self.used > 0 {
            self.put(0, 8 - self.used);
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.done.extend_from_slice(bytes);
    }

    /// Ends the payload, escapes it (no three bytes may look like a start code) and puts the header before it.
    fn into_unit(mut self, header: u8) -> Vec<u8> {
        self.put(1, 1);
        self.align();
        let mut unit = Vec::with_capacity(self.done.len() + 16);
        unit.push(header);
        let mut zeros = 0;
        for byte in self.done {
            if zeros >= 2 && byte <= 3 {
                unit.push(3);
                zeros = 0;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            unit.push(byte);
        }
        unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golomb_codes_are_the_books() {
        let mut bits = Bits::default();
        for value in [0, 1, 2, 3, 4] {
            bits.ue(value);
        }
        bits.align();
        // 1 010 011 00100 00101, filled up with zeros
        assert_eq!(bits.done, [0b1010_0110, 0b0100_0010, 0b1000_0000]);
    }

    #[test]
    fn start_codes_are_escaped() {
        let mut bits = Bits::default();
        bits.bytes(&[0, 0, 1, 0, 0, 0]);
        assert_eq!(bits.into_unit(0x65), [0x65, 0, 0, 3, 1, 0, 0, 3, 0, 0x80]);
    }
}
