//! One input from others: a start from the corpus, and a few changes.

use crate::fuzz::nest;
use crate::fuzz::random::Random;

/// The longest input.
pub const INPUT_MAX_BYTES: usize = 64 * 1024;
/// The most changes of one input.
const CHANGES_MAX: usize = 4;

/// Numbers at the edges of types, as JSON writes them.
const NUMBERS: [&str; 16] = [
    "0",
    "-1",
    "1",
    "255",
    "65536",
    "2147483648",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "1e19",
    "1e308",
    "-0.0",
    "1e999",
];
/// Values in the wrong place.
const VALUES: [&str; 12] = [
    "null",
    "true",
    "\"\"",
    "[]",
    "{}",
    "[null]",
    "{\"\":{}}",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "\"ß…\u{1f600}\"",
    "[[],[]]",
    "\"unknown\"",
];
/// MessagePack values that claim to be long, or are at the edge of a type.
const PACKED: [&[u8]; 16] = [
    &[0xdd, 0xff, 0xff, 0xff, 0xff],
    &[0xdf, 0xff, 0xff, 0xff, 0xff],
    &[0xdb, 0xff, 0xff, 0xff, 0xff],
    &[0xc6, 0xff, 0xff, 0xff, 0xff],
    &[0xc9, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0xdc, 0xff, 0xff],
    &[0xde, 0xff, 0xff],
    &[0xdd, 0x00, 0x10, 0x00, 0x00],
    &[0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0],
    &[0xce, 0xff, 0xff, 0xff, 0xff],
    &[0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0],
    &[0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0],
    &[0xd8, 0x00],
    &[0xc1],
    &[0xc0],
];

/// One input.
pub fn input(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = random.pick(corpus).clone();
    for _ in 0..=random.below(CHANGES_MAX) {
        change(random, &mut bytes, corpus);
    }
    bytes.truncate(INPUT_MAX_BYTES);
    bytes
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    let at = random.below(bytes.len() + 1);
    match random.below(16) {
        0 | 1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = *random.pick(&[0, 0x7f, 0x80, 0xff, b'"', b'\\', b'{', b'[', b',', b'.']);
            }
        }
        3 => {
            let length = random.below(9);
            let noise: Vec<u8> = (0..length).map(|_| random.byte()).collect();
            insert(bytes, at, &noise);
        }
        4 => drop(bytes.drain(at..end_of_range(random, bytes, at))),
        5 => {
            let part = bytes[at..end_of_range(random, bytes, at)].to_vec();
            insert(bytes, random.below(bytes.len() + 1), &part);
        }
        6 => bytes.truncate(at),
        7 => {
            let other = random.pick(corpus);
            let from = random.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        8 => {
            let other = random.pick(corpus);
            let from = random.below(other.len() + 1);
            let part = other[from..end_of_range(random, other, from)].to_vec();
            insert(bytes, at, &part);
        }
        9 | 10 => replace_value(random, bytes, &NUMBERS),
        11 => replace_value(random, bytes, &VALUES),
        12 => nest_json(random, bytes),
        13 => {
            let packed = *random.pick(&PACKED);
            insert(bytes, at, packed);
        }
        14 => {
            let packed = *random.pick(&PACKED);
            let end = (at + packed.len()).min(bytes.len());
            bytes.splice(at..end, packed.iter().copied());
        }
        _ => {
            let depth = *random.pick(&nest::DEPTHS);
            let nested = if random.below(2) == 0 { nest::lists(depth) } else { nest::maps(depth) };
            insert(bytes, at, &nested);
        }
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, part: &[u8]) {
    bytes.splice(at..at, part.iter().copied());
}

fn end_of_range(random: &mut Random, bytes: &[u8], at: usize) -> usize {
    let most = if random.below(4) == 0 { 1_024 } else { 16 };
    (at + random.below(most)).min(bytes.len())
}

/// Where a JSON value follows: behind a colon, a comma or an opening bracket.
fn value_at(random: &mut Random, bytes: &[u8]) -> Option<usize> {
    let from = random.below(bytes.len());
    let found = bytes.iter().skip(from).position(|byte| matches!(byte, b':' | b',' | b'['))?;
    let blanks = bytes.iter().skip(from + found + 1).take_while(|byte| byte.is_ascii_whitespace()).count();
    Some(from + found + 1 + blanks)
}

/// Puts another value in the place of a plain one.
fn replace_value(random: &mut Random, bytes: &mut Vec<u8>, values: &[&str]) {
    let Some(at) = value_at(random, bytes) else { return };
    let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']');
    let length = bytes.iter().skip(at).position(is_end).unwrap_or(bytes.len() - at);
    bytes.splice(at..at + length, random.pick(values).bytes());
}

/// Puts a deeply nested value in front of a JSON value, so that the whole stays valid.
fn nest_json(random: &mut Random, bytes: &mut Vec<u8>) {
    let Some(at) = value_at(random, bytes) else { return };
    let (open, close) = *random.pick(&[("[", "]"), ("{\"a\":", "}"), ("[[", "]]")]);
    let depth = *random.pick(&nest::DEPTHS) / open.len().min(2);
    let named = bytes[..at].iter().rev().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':');
    let after = if named { ",\"nested\":" } else { "," };
    insert(bytes, at, format!("{}{after}", nest::json(depth, open, close)).as_bytes());
}
