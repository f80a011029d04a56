//! What stands in a cell: its width on a terminal, and its words cut or wrapped at their ends.

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

/// What stands for what was cut off.
const MARK: &str = "…";

/// How many columns words take on a terminal.
pub(super) fn width(words: &str) -> usize {
    words.graphemes(true).map(|one| one.width()).sum()
}

/// Words within a width: those that do not fit are left out as a whole, and a mark says so. Of one word that is longer
/// than the width its beginning stands there.
pub(super) fn cut(words: &str, columns: usize) -> String {
    if width(words) <= columns {
        return words.to_owned();
    }
    let room = columns.saturating_sub(1);
    let mut shown = String::new();
    let mut taken = 0;
    for piece in pieces(words) {
        taken += width(piece);
        if taken > room {
            break;
        }
        shown.push_str(piece);
    }
    let mut shown = shown.trim_end();
    let (beginning, _) = split(words.trim_start(), room);
    if shown.is_empty() {
        shown = beginning;
    }
    format!("{shown}{MARK}")
}

/// All the words on lines within a width. A word that is longer than a line goes on on the next one.
pub(super) fn wrap(words: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(2);
    let (mut lines, mut line, mut taken) = (Vec::new(), String::new(), 0);
    for mut piece in pieces(words) {
        let is_blank = piece.trim().is_empty();
        if taken + width(piece) > columns && !is_blank && !line.trim().is_empty() {
            lines.push(line.trim_end().to_owned());
            (line, taken) = (String::new(), 0);
        }
        while width(piece) > columns && !is_blank {
            let (beginning, rest) = split(piece, columns);
            lines.push(beginning.to_owned());
            piece = rest;
        }
        // A line begins with a word.
        if !(is_blank && line.is_empty()) {
            line.push_str(piece);
            taken += width(piece);
        }
    }
    if !line.trim().is_empty() || lines.is_empty() {
        lines.push(line.trim_end().to_owned());
    }
    lines
}

/// What may stand on a line with what follows on another: words, blanks, and each sign of a script without blanks.
fn pieces(words: &str) -> Vec<&str> {
    #[derive(PartialEq, Clone, Copy)]
    enum Kind {
        Blank,
        Sign,
        Letter,
    }
    let kind = |one: &str| match one {
        _ if one.chars().all(char::is_whitespace) => Kind::Blank,
        _ if one.width() > 1 => Kind::Sign,
        _ => Kind::Letter,
    };
    let (mut pieces, mut from, mut before) = (Vec::new(), 0, None);
    for (at, one) in words.grapheme_indices(true) {
        let now = kind(one);
        if before.is_some_and(|before| before != now || now == Kind::Sign) {
            pieces.push(&words[from..at]);
            from = at;
        }
        before = Some(now);
    }
    if from < words.len() {
        pieces.push(&words[from..]);
    }
    pieces
}

/// As much of the beginning as fits, and the rest. At least one sign fits.
fn split(words: &str, columns: usize) -> (&str, &str) {
    let mut taken = 0;
    for (at, one) in words.grapheme_indices(true) {
        taken += one.width();
        if taken > columns && at > 0 {
            return words.split_at(at);
        }
    }
    (words, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_at_their_ends() {
        let cases = [
            ("no file in it", 13, "no file in it"),
            ("no file in it", 12, "no file in…"),
            ("no file in it", 11, "no file in…"),
            ("no file in it", 10, "no file…"),
            ("no file in it", 3, "no…"),
            ("unreasonable", 6, "unrea…"),
            ("狐狐狐狐", 8, "狐狐狐狐"),
            ("狐狐狐狐", 7, "狐狐狐…"),
            ("a 狐狐狐狐", 6, "a 狐…"),
            ("👩\u{200d}🚀 flies away", 9, "👩\u{200d}🚀 flies…"),
        ];
        for (words, columns, shown) in cases {
            assert_eq!(cut(words, columns), shown, "{columns}");
            assert!(width(shown) <= columns, "{shown}");
        }
    }

    #[test]
    fn words_are_wrapped_between_them_and_none_is_lost() {
        assert_eq!(wrap("no file in it", 7), ["no file", "in it"]);
        assert_eq!(wrap("an unreasonable word", 6), ["an", "unreas", "onable", "word"]);
        assert_eq!(wrap("狐狐狐", 4), ["狐狐", "狐"]);
        assert_eq!(wrap("", 4), [""]);
        for columns in 2..30 {
            let words = "one  two 狐狐 three-and-four 🦊 five/six\\u{1b}[2J";
            let lines = wrap(words, columns);
            assert!(lines.iter().all(|line| width(line) <= columns), "{columns}: {lines:?}");
            let all = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            assert_eq!(all(&lines.concat()), all(words));
        }
    }
}
