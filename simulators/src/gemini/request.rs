//! What both kinds of requests boil down to: a prompt, a size, and how many tokens it takes.

use serde_json::Value;

use super::LABEL;
use super::models::{self, Makes, Model, Tokens};
use crate::chance;
use crate::picture::Scene;

const RATIOS: &[&str] =
    &["1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9", "1:4", "4:1", "1:8", "8:1"];
/// An input picture counts as much as a made one.
const INPUT_IMAGE_TOKENS: u64 = 1120;
/// Films are drawn at this rate; the real ones have 24, with the same number of tokens per second.
pub(super) const FPS: u32 = 12;

/// A picture or film that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wish {
    pub(super) scene: Scene,
    /// 0 for a picture.
    pub(super) seconds: u64,
    pub(super) media_tokens: u64,
    pub(super) input_tokens: u64,
}

impl Wish {
    /// Usage of the answer; `text` are tokens of accompanying words.
    pub(super) fn tokens(&self, seed: u64, key: &[u8], text: u64) -> Tokens {
        let thoughts = if self.seconds == 0 { 60 + chance::hash(seed, &[b"thoughts", key]) % 60 } else { 0 };
        Tokens { input: self.input_tokens, text, thoughts, media: self.media_tokens }
    }
}

/// Size and shape as requests spell them.
pub(super) struct Shape<'a> {
    pub(super) ratio: &'a str,
    pub(super) size: &'a str,
    pub(super) seconds: u64,
}

/// A picture's or film's pixels; the error is for the client.
pub(super) fn wish(
    model: &Model,
    (prompt, images, seed): (String, u64, u64),
    shape: &Shape<'_>,
) -> Result<Wish, String> {
    let (wide, high) =
        ratio(shape.ratio).ok_or_else(|| format!("aspect ratio {} is not supported", shape.ratio))?;
    let input_tokens = (prompt.chars().count() as u64).div_ceil(4).max(1) + images * INPUT_IMAGE_TOKENS;
    let (width, height, media_tokens) = match model.makes {
        Makes::Images => {
            if !model.offers_size(shape.size) {
                return Err(format!("image size {} is not supported by {}", shape.size, model.name));
            }
            let side =
                shape.size.strip_suffix('K').and_then(|k| k.parse::<u64>().ok()).map_or(512, |k| k * 1024);
            // The area stays, the sides are multiples of 16.
            let width = (side * side * wide / high).isqrt().next_multiple_of(16);
            let height = (side * side * high / wide).isqrt().next_multiple_of(16);
            (width as u32, height as u32, model.image_tokens(shape.size))
        }
        Makes::Films => {
            let (per_second, lines) = models::resolution(shape.size)
                .filter(|_| matches!(shape.ratio, "16:9" | "9:16"))
                .ok_or_else(|| format!("resolution {} {} is not supported", shape.size, shape.ratio))?;
            if !(3..=model.max_seconds()).contains(&shape.seconds) {
                return Err(format!("duration must be between 3s and {}s", model.max_seconds()));
            }
            let long = lines * 16 / 9;
            let (width, height) = if wide > high { (long, lines) } else { (lines, long) };
            (width, height, per_second * shape.seconds)
        }
    };
    let scene = Scene { width, height, prompt, seed, label: LABEL, plain: None };
    let seconds = if model.makes == Makes::Films { shape.seconds } else { 0 };
    Ok(Wish { scene, seconds, media_tokens, input_tokens })
}

fn ratio(text: &str) -> Option<(u64, u64)> {
    let (wide, high) = RATIOS.iter().find(|ratio| **ratio == text)?.split_once(':')?;
    Some((wide.parse().ok()?, high.parse().ok()?))
}

/// Words and pictures of `generateContent`'s `contents`.
pub(super) fn contents(body: &Value) -> (String, u64) {
    let parts =
        body["contents"].as_array().into_iter().flatten().filter_map(|content| content["parts"].as_array());
    let (mut words, mut images) = (Vec::new(), 0);
    for part in parts.flatten() {
        words.extend(part["text"].as_str());
        images += u64::from(part["inlineData"].is_object() || part["fileData"].is_object());
    }
    (words.join("\n"), images)
}

/// Words and pictures of an interaction's `input`: a string, a content, contents, or steps of contents.
pub(super) fn input(value: &Value) -> (String, u64) {
    match value {
        Value::String(text) => (text.clone(), 0),
        Value::Array(list) => {
            list.iter().map(input).fold((String::new(), 0), |(words, images), (more, count)| {
                let joined =
                    if words.is_empty() || more.is_empty() { words + &more } else { words + "\n" + &more };
                (joined, images + count)
            })
        }
        Value::Object(content) => match content.get("type").and_then(Value::as_str) {
            Some("text") => (content.get("text").and_then(Value::as_str).unwrap_or_default().to_owned(), 0),
            Some("image" | "video" | "document" | "audio") => (String::new(), 1),
            _ => content.get("content").map(input).unwrap_or_default(),
        },
        _ => (String::new(), 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_the_ratio() {
        let flash = models::find("gemini-3.1-flash-image").unwrap();
        let size = |ratio, size| {
            let wish = wish(flash, ("x".to_owned(), 0, 0), &Shape { ratio, size, seconds: 0 }).unwrap();
            (wish.scene.width, wish.scene.height)
        };
        assert_eq!(size("1:1", "1K"), (1024, 1024));
        assert_eq!(size("16:9", "1K"), (1376, 768));
        assert_eq!(size("1:1", "512"), (512, 512));
        let odd = Shape { ratio: "7:5", size: "1K", seconds: 0 };
        assert!(wish(flash, (String::new(), 0, 0), &odd).is_err());
    }

    #[test]
    fn input_comes_in_many_forms() {
        let steps = serde_json::json!([{"type": "user_input", "content": [{"type": "text", "text": "a"},
            {"type": "image", "data": ""}]}, {"type": "text", "text": "b"}]);
        assert_eq!(input(&steps), ("a\nb".to_owned(), 1));
        assert_eq!(input(&serde_json::json!("plain")), ("plain".to_owned(), 0));
    }
}
