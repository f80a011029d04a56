//! Input that nests deeply, which recursive decoders must refuse before the stack ends.

/// `open` so many times around a value, closed again.
#[must_use]
pub fn json(depth: usize, open: &str, close: &str) -> String {
    format!("{}1{}", open.repeat(depth), close.repeat(depth))
}

/// A list in a list, so many times, as MessagePack up to the innermost value, which follows.
#[must_use]
pub fn lists(depth: usize) -> Vec<u8> {
    vec![0x91; depth]
}

/// A map `a` in a map, likewise.
#[must_use]
pub fn maps(depth: usize) -> Vec<u8> {
    [0x81, 0xa1, b'a'].repeat(depth)
}

/// Depths around the limits of decoders, and far beyond.
pub const DEPTHS: [usize; 10] = [8, 100, 126, 127, 128, 129, 1_000, 1_023, 1_025, 20_000];
