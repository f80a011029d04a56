//! How answers are read: field by field, so that one odd field never costs what the others say.
//!
//! The API writes `null` for what is absent, numbers as text or with a fraction, one thing where a list is
//! documented, and either family's spelling of a name. A picture in such an answer is paid like any other.

use serde_json::Value;

/// A number of tokens. What is not said differs from what is said and cannot be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Count {
    /// The field is absent or `null`.
    #[default]
    Absent,
    /// The field is there and is no number of tokens.
    Unreadable,
    /// So many.
    Known(u64),
}

impl Count {
    /// The number, 0 where there is none.
    #[must_use]
    pub const fn or_zero(self) -> u64 {
        match self {
            Self::Known(tokens) => tokens,
            Self::Absent | Self::Unreadable => 0,
        }
    }
}

/// Takes a field out of an object, in either family's spelling; `null` where there is none.
pub(super) fn take(object: &mut Value, name: &str) -> Value {
    let Some(fields) = object.as_object_mut() else { return Value::Null };
    if let Some(value) = fields.get_mut(name).filter(|value| !value.is_null()) {
        return value.take();
    }
    let same = fields.iter_mut().find(|(key, value)| !value.is_null() && is_same_name(key, name));
    same.map_or(Value::Null, |(_, value)| value.take())
}

/// The first of several names that is there.
pub(super) fn take_any(object: &mut Value, names: &[&str]) -> Value {
    names.iter().map(|name| take(object, name)).find(|value| !value.is_null()).unwrap_or_default()
}

/// Whether two names differ by spelling only: `tokenCount`, `token_count`, `TokenCount`.
fn is_same_name(one: &str, other: &str) -> bool {
    let letters = |name: &str| {
        let kept: Vec<u8> = name.bytes().filter(|byte| *byte != b'_').collect();
        kept.to_ascii_lowercase()
    };
    letters(one) == letters(other)
}

/// Words; a number is read as its digits, everything else is none.
pub(super) fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The items of a list; one thing alone is a list of one, and `null`s are left out.
pub(super) fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items.into_iter().filter(|item| !item.is_null()).collect(),
        Value::Null => Vec::new(),
        item => vec![item],
    }
}

/// Yes or no; what is neither is no.
pub(super) fn flag(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| value.as_str().is_some_and(|text| text.eq_ignore_ascii_case("true")))
}

/// A number of tokens: whole, with a fraction (rounded up), or as text.
pub(super) fn count(value: &Value) -> Count {
    let written = match value {
        Value::Null => return Count::Absent,
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        _ => return Count::Unreadable,
    };
    if let Ok(tokens) = written.parse() {
        return Count::Known(tokens);
    }
    match written.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => {
            Count::Known(format!("{:.0}", number.ceil()).parse().unwrap_or(u64::MAX))
        }
        _ => Count::Unreadable,
    }
}
