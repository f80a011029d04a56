//! The one place where the command writes to a terminal, a file or a pipe.

use crate::screen::Screen;
use crate::text::Text;
use crate::tone::Tone;
use runtime::escape;
use serde_json::json;
use std::io::{IsTerminal as _, Write as _};

/// Says something on standard output. A reader that left (`argosy jobs | head`) is no error.
pub fn say(text: impl Into<Text>) {
    let _ = writeln!(std::io::stdout(), "{}", text.into().set(Screen::of_stdout()));
}

/// Writes a value as one line of JSON.
///
/// # Errors
/// The value has no JSON form.
pub fn say_json<T: serde::Serialize>(value: &T) -> anyhow::Result<()> {
    let _ = writeln!(std::io::stdout(), "{}", escape::json(&serde_json::to_string(value)?));
    Ok(())
}

/// Writes a stored JSON document as it is laid out.
pub fn say_document(text: &str) {
    // As blanks of a document these are harmless, and no text of JSON holds them as they are.
    let text = text.replace("\r\n", "\n").replace('\r', "\n").replace('\t', "    ");
    let _ = writeln!(std::io::stdout(), "{}", escape::json(text.trim_end()));
}

/// Writes what this program made byte by byte, for other programs: no foreign words are in it.
pub(crate) fn say_bytes(bytes: &[u8]) {
    let _ = std::io::stdout().write_all(bytes);
}

/// Writes data for other programs as it is; on a terminal foreign words in it are escaped.
pub(crate) fn say_data(text: &str) {
    if !std::io::stdout().is_terminal() {
        return say_bytes(text.as_bytes());
    }
    text.lines().for_each(say);
}

/// Says beside the output, on standard error, what goes on.
pub fn aside(words: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{}", set_in(&words.to_string()));
}

/// Says on standard error what does not stop the command.
pub(crate) fn warning(json: bool, words: &str) {
    if json { complain(&json!({ "warning": words })) } else { aside(format!("argosy: {words}")) }
}

/// Says on standard error why the command ends.
pub(crate) fn error(json: bool, words: &str, exit_code: u8) {
    if json {
        return complain(&json!({ "error": words, "exit_code": exit_code }));
    }
    let name = if Screen::of_stderr().colour { Tone::Bad.paint("argosy:") } else { "argosy:".to_owned() };
    let _ = writeln!(std::io::stderr(), "{name} {}", set_in(words));
}

fn complain(value: &serde_json::Value) {
    let _ = writeln!(std::io::stderr(), "{}", escape::json(&value.to_string()));
}

/// Words on their lines, those after the first set in: none of them can be mistaken for another message.
fn set_in(words: &str) -> String {
    let lines = words.lines().enumerate().map(|(index, line)| {
        let blanks = if index > 0 && !line.starts_with(' ') { "  " } else { "" };
        format!("{blanks}{}", escape::line(line))
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_cannot_forge_another() {
        let words = "node \"x\nargosy: all is well\u{1b}[2J\" has no place.\n  --set 3.seed";
        let shown = "node \"x\n  argosy: all is well\\u{1b}[2J\" has no place.\n  --set 3.seed";
        assert_eq!(set_in(words), shown);
    }
}
