//! Foreign words (labels, what providers say, names of files) before they reach a terminal or a log: what would steer
//! the reader's screen, or hide on it, is shown as an escape. Every process and the command escape by this file alone.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Whether a character moves the cursor, begins a terminal's command, ends a line, turns the direction of writing, or
/// is not to be seen. The joiners that hold emoji and some scripts together are none of these.
#[must_use]
pub const fn is_steering(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// Words on one line; the ends of lines among them are escapes too.
#[must_use]
pub fn line(words: &str) -> Cow<'_, str> {
    replaced(words, is_steering, |text, c| text.extend(c.escape_default()))
}

/// Words on the lines that they have.
#[must_use]
pub fn lines(words: &str) -> String {
    words.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// JSON with the same contents: escapes inside its texts are JSON's own. Line ends outside of them stay.
#[must_use]
pub fn json(text: &str) -> Cow<'_, str> {
    let escaped = |c| c != '\n' && is_steering(c);
    replaced(text, escaped, |text, c| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(text, "\\u{unit:04x}");
        }
    })
}

fn replaced(foreign: &str, is_odd: impl Fn(char) -> bool, put: impl Fn(&mut String, char)) -> Cow<'_, str> {
    let Some(first) = foreign.find(&is_odd) else { return Cow::Borrowed(foreign) };
    let (good, rest) = foreign.split_at(first);
    let mut text = String::with_capacity(foreign.len() + 16);
    text.push_str(good);
    for c in rest.chars() {
        if is_odd(c) { put(&mut text, c) } else { text.push(c) }
    }
    Cow::Owned(text)
}

/// What a log's line is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Json,
}

/// Writes each of a log's lines escaped: one event is one line, whatever its fields hold.
#[derive(Debug)]
pub(crate) struct LogWriter<W> {
    into: W,
    form: Form,
}

impl<W: Write> LogWriter<W> {
    pub(crate) const fn new(into: W, form: Form) -> Self {
        Self { into, form }
    }
}

impl<W: Write> Write for LogWriter<W> {
    /// Takes an event as a whole, as the subscriber hands it on.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let words = text.strip_suffix('\n').unwrap_or(&text);
        let mut escaped = match self.form {
            Form::Text => line(words),
            Form::Json => json(words),
        }
        .into_owned();
        escaped.push('\n');
        self.into.write_all(escaped.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.into.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn what_steers_or_hides_is_shown() {
        let cases = [
            ("plain", "plain"),
            ("\u{1b}[2J\u{1b}]0;title\u{7}", "\\u{1b}[2J\\u{1b}]0;title\\u{7}"),
            ("a\r\nb\tc\0", "a\\r\\nb\\tc\\u{0}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("abc\u{202e}gnp.exe", "abc\\u{202e}gnp.exe"),
            ("one\u{2028}two\u{feff}\u{200b}", "one\\u{2028}two\\u{feff}\\u{200b}"),
            ("für 狐 🦊 👩\u{200d}🚀", "für 狐 🦊 👩\u{200d}🚀"),
        ];
        for (words, shown) in cases {
            assert_eq!(line(words), shown);
        }
        assert_eq!(lines("one\ntwo\u{1b}[1m\r\n"), "one\ntwo\\u{1b}[1m");
        let every = (0..=0x10_ffff).filter_map(char::from_u32);
        assert!(every.filter(|c| c.is_control()).all(is_steering), "a control character gets past");
    }

    #[test]
    fn json_says_the_same_and_steers_nothing() {
        let words = "\u{9b}31m \u{202e}x\u{e0041} 狐 \u{7f}\n\u{1b}";
        let text = serde_json::to_string(words).expect("JSON");
        let escaped = json(&text);
        assert!(!escaped.chars().any(is_steering), "{escaped:?}");
        assert_eq!(serde_json::from_str::<String>(&escaped).expect("JSON"), words);
        assert_eq!(json("{\n  \"a\": 1\n}"), "{\n  \"a\": 1\n}");
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("sound").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn one_event_is_one_line_of_a_log_whatever_it_holds() {
        const HOSTILE: &str = "fine\n2026-11-30T00:00:00Z  INFO forged\u{1b}[2J\u{9b}1m\u{202e}";
        for form in [Form::Text, Form::Json] {
            let written = Written::default();
            let into = written.clone();
            let builder = tracing_subscriber::fmt()
                .with_ansi(false)
                .with_writer(move || LogWriter::new(into.clone(), form));
            let told = || {
                tracing::warn!(error = %HOSTILE, reason = HOSTILE, "said: {HOSTILE}");
                tracing::info!("the next");
            };
            match form {
                Form::Text => tracing::subscriber::with_default(builder.finish(), told),
                Form::Json => tracing::subscriber::with_default(builder.json().finish(), told),
            }
            let text = String::from_utf8(written.0.lock().expect("sound").clone()).expect("text");
            assert_eq!(text.lines().count(), 2, "{text}");
            assert!(!text.chars().any(|c| c != '\n' && is_steering(c)), "{text:?}");
            if form == Form::Json {
                let first = text.lines().next().unwrap_or_default();
                let value: serde_json::Value = serde_json::from_str(first).expect("JSON");
                assert_eq!(value["fields"]["reason"], HOSTILE);
            }
        }
    }
}
