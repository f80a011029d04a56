//! Reads JSON as Python writes it. ComfyUI and RunPod's handlers are Python, whose `json.dumps` writes more than
//! JSON allows: `NaN` and `Infinity`, halves of surrogate pairs (file names that are not UTF-8 become such),
//! integers of any length, and values that nest deeper than `serde_json` goes. One such value in one prompt's data
//! would make a whole answer unreadable.
//!
//! Strict reading comes first and is nearly always enough. Only what it refuses is written again as plain JSON:
//! a number that JSON has no word for becomes `null`, half a pair becomes U+FFFD, what nests too deeply becomes
//! `null`. Nothing else is forgiven: an answer that is cut short or is HTML stays unreadable.

use serde::de::DeserializeOwned;
use serde_json::{Error, Value};

/// How deep a value may nest before it becomes `null`; `serde_json` refuses 128.
const DEPTH_MAX: usize = 120;
/// What Python writes for half a surrogate pair, in place of it.
const REPLACEMENT: &[u8] = b"\\ufffd";
/// Words of Python for numbers that JSON does not have.
const NUMBER_WORDS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];
/// Shorter integers are always within a float's range.
const SHORT_DIGITS: usize = 300;

/// Reads a value.
///
/// # Errors
/// The bytes are not what `json.dumps` writes, or not the wanted shape. The error is that of the strict reader where
/// the bytes are no JSON in either sense.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let strict = match serde_json::from_slice(bytes) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    // As a value first: Python can write one key twice (`{1: "a", "1": "b"}`), of which the last one counts.
    match serde_json::from_slice::<Value>(&plain(bytes)) {
        Ok(value) => serde_json::from_value(value),
        Err(_) => Err(strict),
    }
}

/// The same as plain JSON. What is no JSON of Python's stays what it is, for the strict reader to refuse.
fn plain(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let bytes = text.as_bytes();
    let mut written = Vec::with_capacity(bytes.len());
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        let rest = &bytes[at..];
        let length = match byte {
            b'"' => string_length(rest),
            b'-' | b'0'..=b'9' | b'N' | b'I' => number_length(rest),
            _ => 1,
        };
        let token = &rest[..length];
        match byte {
            b'[' | b'{' => {
                depth += 1;
                if depth == DEPTH_MAX + 1 {
                    written.extend_from_slice(b"null");
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        // A closing bracket leaves the level that its opening one entered.
        let level = if matches!(byte, b']' | b'}') { depth + 1 } else { depth };
        if level <= DEPTH_MAX {
            match byte {
                b'"' => write_string(token, &mut written),
                b'-' | b'0'..=b'9' | b'N' | b'I' if is_beyond_json(token) => {
                    written.extend_from_slice(b"null");
                }
                _ => written.extend_from_slice(token),
            }
        }
        at += length;
    }
    written
}

/// The length of a string with its quotes; to the end where it is not closed.
fn string_length(bytes: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn number_length(bytes: &[u8]) -> usize {
    if let Some(word) = NUMBER_WORDS.iter().find(|word| bytes.starts_with(word)) {
        return word.len();
    }
    let is_part = |byte: &&u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
    bytes.iter().take_while(is_part).count().max(1)
}

/// Whether a number is one of Python's words, or one that no float holds.
fn is_beyond_json(token: &[u8]) -> bool {
    if NUMBER_WORDS.contains(&token) {
        return true;
    }
    let can_be_large = token.len() > SHORT_DIGITS || token.iter().any(|byte| matches!(byte, b'e' | b'E'));
    // The strict reader multiplies powers of ten and overflows a little below the largest float.
    can_be_large
        && serde_json::from_slice::<f64>(token)
            .is_err_and(|_| std::str::from_utf8(token).is_ok_and(|text| text.parse::<f64>().is_ok()))
}

/// Writes a string with its quotes, halves of surrogate pairs replaced.
fn write_string(token: &[u8], written: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(&byte) = token.get(at) {
        let rest = &token[at..];
        let (part, length): (&[u8], usize) = match (byte, unit(rest)) {
            (b'\\', Some(0xd800..=0xdbff)) => match rest.get(6..).and_then(unit) {
                Some(0xdc00..=0xdfff) => (&rest[..12], 12),
                _ => (REPLACEMENT, 6),
            },
            (b'\\', Some(0xdc00..=0xdfff)) => (REPLACEMENT, 6),
            (b'\\', Some(_)) => (&rest[..6], 6),
            (b'\\', None) => (&rest[..rest.len().min(2)], 2),
            _ => (&rest[..1], 1),
        };
        written.extend_from_slice(part);
        at += length;
    }
}

/// The UTF-16 unit of an escape `\uXXXX`.
fn unit(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    let digits =
        std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Value {
        from_slice(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The left column is what CPython 3.11 wrote.
    #[test]
    fn what_python_writes_is_read() {
        let cases = [
            (r#"{"a": NaN, "b": [Infinity, -Infinity, 1.5]}"#, json!({"a": null, "b": [null, null, 1.5]})),
            ("NaN", json!(null)),
            ("-Infinity", json!(null)),
            (
                r#"{"NaN": "NaN, Infinity", "Infinity": -0.0}"#,
                json!({"NaN": "NaN, Infinity", "Infinity": -0.0}),
            ),
            (
                r#"["\ud800", "x\udce9.png", "\ud83d\ude00"]"#,
                json!(["\u{fffd}", "x\u{fffd}.png", "\u{1f600}"]),
            ),
            (
                r#"["\udc00\ud800", "\ud800\ud800\udc00", "\ud800\\udc00"]"#,
                json!(["\u{fffd}\u{fffd}", "\u{fffd}\u{10000}", "\u{fffd}\\udc00"]),
            ),
            (
                r#"["\ud800\n", "\\ud800", "\"\ud800", "\\\\\udfff"]"#,
                json!(["\u{fffd}\n", "\\ud800", "\"\u{fffd}", "\\\\\u{fffd}"]),
            ),
            (r#"{"1": "a", "1": NaN}"#, json!({"1": null})),
            (
                "[1e+300, -1e-320, 12345678901234567890123]",
                json!([1e300, -1e-320, 12345678901234567890123.0]),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn numbers_of_any_length_are_read() {
        let long = format!("[{}, -{}, 7]", "9".repeat(400), "1".repeat(309 + 100));
        assert_eq!(read(&long), json!([null, null, 7]));
        // `sys.float_info.max`, as nodes write it where there is no limit.
        let max = read(r#"{"min": -1.7976931348623157e+308, "max": 1.7976931348623157e+308, "x": NaN}"#);
        assert_eq!(max["x"], Value::Null);
        let (min, max) = (&max["min"], &max["max"]);
        assert!(min.is_null() || min == &json!(f64::MIN), "{min}");
        assert!(max.is_null() || max == &json!(f64::MAX), "{max}");
    }

    #[test]
    fn what_nests_too_deeply_is_nothing_and_the_rest_is_read() {
        for depth in [119, 120, 121, 128, 999, 100_000] {
            let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            let maps = format!("{}1{}", "{\"a\": ".repeat(depth), "}".repeat(depth));
            let text = format!("{{\"a\": {nested}, \"b\": {maps}, \"c\": \"kept\", \"d\": [NaN, \"]\"]}}");
            let value = read(&text);
            assert_eq!(value["c"], "kept", "{depth}");
            assert_eq!(value["d"], json!([null, "]"]), "{depth}");
            assert!(value["a"].is_array() && value["b"].is_object(), "{depth}");
        }
    }

    #[test]
    fn a_shape_is_read_though_another_field_is_odd() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        struct Shape {
            kept: u32,
        }
        assert_eq!(from_slice::<Shape>(br#"{"odd": NaN, "kept": 3}"#).expect("read"), Shape { kept: 3 });
        assert!(from_slice::<Shape>(br#"{"odd": NaN, "kept": "x"}"#).is_err());
        let latin1 = b"{\"odd\": \"caf\xe9\", \"kept\": 4}";
        assert_eq!(from_slice::<Shape>(latin1).expect("read"), Shape { kept: 4 });
    }

    #[test]
    fn what_is_no_json_stays_unreadable() {
        for text in [
            "",
            "<html>",
            "{\"a\": NaN",
            "[NaNs]",
            "[Infinit]",
            "[1 NaN]",
            "{NaN: 1}",
            "\"\\ud800",
            "[1-2]",
            "[--1]",
            "]",
        ] {
            assert!(from_slice::<Value>(text.as_bytes()).is_err(), "{text}");
        }
    }
}
