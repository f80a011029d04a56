//! An output described for people: its shape in words, and what it says. Pure.

use serde_json::Value;

/// How deep a shape is described.
const DEPTH_MAX: usize = 3;
/// How many keys of an object are named.
const KEYS_MAX: usize = 8;
/// How much of a key is shown, and of a text that may be a file, characters.
const SAMPLE_CHARS: usize = 100;
/// A text without a blank for so long is no prose, characters.
const PROSE_MIN_CHARS: usize = 300;
/// How much is read of one text, characters.
const TEXT_MAX_CHARS: usize = 10_000;
/// Where handlers put words.
const WORD_KEYS: [&str; 8] =
    ["error", "error_message", "message", "errors", "details", "detail", "reason", "status"];

/// What an output looks like, without its content: `an object with the keys status, message (a string of
/// 12 characters)`.
#[must_use]
pub fn shape(output: Option<&Value>) -> String {
    output.map_or_else(|| "nothing".to_owned(), |value| described(value, 0))
}

fn described(value: &Value, depth: usize) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => format!("the word {value}"),
        Value::Number(_) => "a number".to_owned(),
        Value::String(text) => format!("a string of {} characters", text.chars().count()),
        Value::Array(items) if items.is_empty() => "an empty list".to_owned(),
        Value::Array(items) if depth >= DEPTH_MAX => format!("a list of {}", items.len()),
        Value::Array(items) => {
            format!("a list of {}, the first being {}", items.len(), described(&items[0], depth + 1))
        }
        Value::Object(fields) if fields.is_empty() => "an empty object".to_owned(),
        Value::Object(fields) if depth >= DEPTH_MAX => format!("an object with {} keys", fields.len()),
        Value::Object(fields) => {
            let named = fields.iter().take(KEYS_MAX).map(|(key, value)| {
                let key = first(key, SAMPLE_CHARS).escape_debug().to_string();
                format!("{key} ({})", described(value, depth + 1))
            });
            let named: Vec<String> = named.collect();
            let more = fields.len().saturating_sub(KEYS_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("an object with the keys {}{more}", named.join(", "))
        }
    }
}

/// What an output says: the texts under the keys where handlers put words, or the text that it is. Long texts
/// are cut, since they may be files.
#[must_use]
pub fn words(output: Option<&Value>) -> String {
    let mut lines = Vec::new();
    if let Some(output) = output {
        gather(output, 0, &mut lines);
    }
    lines.join("\n")
}

fn gather(value: &Value, depth: usize, lines: &mut Vec<String>) {
    if depth > DEPTH_MAX || lines.len() > KEYS_MAX {
        return;
    }
    match value {
        // A handler that raised: a JSON document in a string.
        Value::String(text) => match raised(text) {
            Some(raised) => lines.push(cut(&raised)),
            None if !text.trim().is_empty() => lines.push(cut(text)),
            None => {}
        },
        Value::Array(items) => items.iter().take(KEYS_MAX).for_each(|item| gather(item, depth + 1, lines)),
        Value::Object(fields) => {
            for key in WORD_KEYS {
                fields.get(key).into_iter().for_each(|value| gather(value, depth + 1, lines));
            }
        }
        Value::Bool(_) | Value::Number(_) if depth > 0 => lines.push(value.to_string()),
        Value::Bool(_) | Value::Number(_) | Value::Null => {}
    }
}

/// A handler that raised sends a JSON document in a string; its host name and versions are noise.
pub(crate) fn raised(text: &str) -> Option<String> {
    let document: Value = worker_host::python_json::from_slice(text.as_bytes()).ok()?;
    let field = |name: &str| document.get(name).and_then(Value::as_str);
    let message = field("error_message")?;
    Some(field("error_type").map_or_else(|| message.to_owned(), |kind| format!("{kind}: {message}")))
}

/// A text without its end, if it is long, or may be a file.
fn cut(text: &str) -> String {
    let prose = text.chars().take(PROSE_MIN_CHARS).any(char::is_whitespace);
    let is_long = text.chars().nth(PROSE_MIN_CHARS).is_some();
    first(text, if is_long && !prose { SAMPLE_CHARS } else { TEXT_MAX_CHARS })
}

fn first(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
