//! Letters: the 8x8 font, scaled up in whole pixels.

use font8x8::{BASIC_FONTS, LATIN_FONTS, UnicodeFonts};

use super::canvas::{Canvas, Rgb};

const WHITE: Rgb = [255, 255, 255];
const SHADOW: Rgb = [16, 16, 24];

/// Draws the prompt in the middle: wrapped, cut with `...` when there is no room, with a shadow.
pub(super) fn caption(canvas: &mut Canvas, prompt: &str) {
    let (width, height) = (canvas.width as i64, canvas.height as i64);
    let scale = (width / 320).clamp(1, 8);
    let (advance, line_height) = (8 * scale, 10 * scale);
    let columns = (width * 9 / 10 / advance) as usize;
    let rows = (height * 6 / 10 / line_height) as usize;
    if columns < 4 || rows == 0 {
        return;
    }
    let lines = wrap(prompt, columns, rows);
    let mut y = (height - lines.len() as i64 * line_height) / 2;
    for line in &lines {
        let x = (width - line.chars().count() as i64 * advance) / 2;
        write(canvas, line, x + scale.max(2) / 2 + 1, y + scale.max(2) / 2 + 1, scale, SHADOW);
        write(canvas, line, x, y, scale, WHITE);
        y += line_height;
    }
}

/// Draws the label into the lower right corner, on a darkened ground.
pub(super) fn corner(canvas: &mut Canvas, label: &str) {
    let (width, height) = (canvas.width as i64, canvas.height as i64);
    let scale = (width / 640).clamp(1, 4);
    let length = label.chars().count() as i64 * 8 * scale;
    if length + 8 > width || height < 16 * scale {
        return;
    }
    let (x, y) = (width - length - 4 * scale, height - 12 * scale);
    canvas.shade(x - 3 * scale, y - 2 * scale, length + 7 * scale, 14 * scale);
    write(canvas, label, x, y, scale, WHITE);
}

pub(super) fn write(canvas: &mut Canvas, text: &str, x: i64, y: i64, scale: i64, color: Rgb) {
    for (column, letter) in text.chars().enumerate() {
        let glyph =
            BASIC_FONTS.get(letter).or_else(|| LATIN_FONTS.get(letter)).or_else(|| BASIC_FONTS.get('?'));
        let left = x + column as i64 * 8 * scale;
        for (row, bits) in glyph.unwrap_or_default().into_iter().enumerate() {
            for bit in (0..8).filter(|bit| bits >> bit & 1 == 1) {
                canvas.rect(left + bit * scale, y + row as i64 * scale, scale, scale, color);
            }
        }
    }
}

fn wrap(text: &str, columns: usize, rows: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        while !word.is_empty() {
            let rest = word.split_off(word.len().min(columns));
            let piece: String = word.iter().collect();
            match lines.last_mut() {
                Some(line) if line.chars().count() + 1 + word.len() <= columns => {
                    line.push(' ');
                    line.push_str(&piece);
                }
                _ => lines.push(piece),
            }
            word = rest;
        }
        if lines.len() > rows {
            break;
        }
    }
    if lines.len() > rows {
        lines.truncate(rows);
        if let Some(last) = lines.last_mut() {
            *last = last.chars().take(columns.saturating_sub(3)).collect::<String>() + "...";
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn wraps_cuts_and_splits() {
        assert_eq!(wrap("a red fox", 5, 9), ["a red", "fox"]);
        assert_eq!(wrap("abcdefgh", 3, 9), ["abc", "def", "gh"]);
        assert_eq!(
            wrap("one two three four", 5, 2),
            ["one", "tw..."].map(|s| s.to_owned()).map(|s| {
                // The cut keeps the line within its columns.
                assert!(s.len() <= 5);
                s
            })
        );
        assert!(wrap("", 10, 3).is_empty());
    }
}
