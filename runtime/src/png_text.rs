//! The texts in a picture: ComfyUI writes into each PNG what made it, and reads it back when the picture is dragged into its
//! page (chunks `tEXt`, keywords `prompt` and `workflow`).

use bytes::Bytes;
use schemas::Body;
use serde_json::Value;

/// Under this keyword a PNG has the graph that made it.
const GRAPH: &str = "prompt";

/// How every PNG begins.
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A chunk's length, type and checksum, bytes.
const FRAME: usize = 12;

/// Where the header ends, which is the first chunk of every PNG.
const HEADER_ENDS: usize = SIGNATURE.len() + FRAME + 13;

/// Whether these bytes begin as a PNG does.
#[must_use]
pub fn is_png(bytes: &[u8]) -> bool {
    bytes.starts_with(SIGNATURE)
}

/// The text under a keyword.
#[must_use]
pub fn text(png: &[u8], keyword: &str) -> Option<String> {
    let chunk = chunks(png)?.into_iter().find(|chunk| is_text(png, chunk, keyword))?;
    let data = data(png, &chunk);
    // Latin-1, of which ComfyUI uses the part that is ASCII.
    Some(data[keyword.len() + 1..].iter().map(|byte| char::from(*byte)).collect())
}

/// A file that a job's workflow made, as the job asked for it. A picture that says what made it says the job's own graph,
/// without the names that a worker gave to files, and what the job sent along for it (`extra_pnginfo`). Any other file, and a
/// picture that says nothing, is left as it is.
#[must_use]
pub fn as_asked(body: &Body, file: Bytes) -> Bytes {
    let Some(graph) = body.workflow.as_ref().filter(|_| is_png(&file)) else { return file };
    let Some(mut picture) = with_text(&file, GRAPH, &graph.to_string()) else { return file };
    let extra = body.extra_data.as_ref().and_then(|extra| extra.get("extra_pnginfo"));
    for (keyword, value) in extra.and_then(Value::as_object).into_iter().flatten() {
        let is_keyword = (1..80).contains(&keyword.len()) && keyword.chars().all(|c| c.is_ascii_graphic());
        // A server that was told writes it by itself; a provider's may not take it.
        if is_keyword && text(&picture, keyword).is_none() {
            let before = Chunk { from: HEADER_ENDS, until: HEADER_ENDS };
            picture = put(&picture, before, keyword, &value.to_string()).unwrap_or(picture);
        }
    }
    picture.into()
}

/// The picture with another text under a keyword that it has; none where it has none, or is no PNG.
#[must_use]
pub fn with_text(png: &[u8], keyword: &str, text: &str) -> Option<Vec<u8>> {
    let chunk = chunks(png)?.into_iter().find(|chunk| is_text(png, chunk, keyword))?;
    put(png, chunk, keyword, text)
}

/// The picture with a text in the place of a chunk.
fn put(png: &[u8], chunk: Chunk, keyword: &str, text: &str) -> Option<Vec<u8>> {
    let mut content = b"tEXt".to_vec();
    content.extend_from_slice(keyword.as_bytes());
    content.push(0);
    content.extend_from_slice(ascii(text).as_bytes());
    let length = u32::try_from(content.len() - 4).ok()?;
    let mut picture = Vec::with_capacity(png.len() + content.len());
    picture.extend_from_slice(&png[..chunk.from]);
    picture.extend_from_slice(&length.to_be_bytes());
    picture.extend_from_slice(&content);
    picture.extend_from_slice(&crc32fast::hash(&content).to_be_bytes());
    picture.extend_from_slice(&png[chunk.until..]);
    Some(picture)
}

/// From where to where a chunk goes.
#[derive(Clone, Copy)]
struct Chunk {
    from: usize,
    until: usize,
}

/// All chunks; none where the bytes are no PNG to their end.
fn chunks(png: &[u8]) -> Option<Vec<Chunk>> {
    png.strip_prefix(SIGNATURE)?;
    let (mut chunks, mut from) = (Vec::new(), SIGNATURE.len());
    while from < png.len() {
        let length = u32::from_be_bytes(png.get(from..from + 4)?.try_into().ok()?);
        let until = from.checked_add(usize::try_from(length).ok()?)?.checked_add(FRAME)?;
        if until > png.len() {
            return None;
        }
        chunks.push(Chunk { from, until });
        from = until;
    }
    Some(chunks)
}

fn data<'a>(png: &'a [u8], chunk: &Chunk) -> &'a [u8] {
    &png[chunk.from + 8..chunk.until - 4]
}

fn is_text(png: &[u8], chunk: &Chunk, keyword: &str) -> bool {
    let rest = data(png, chunk).strip_prefix(keyword.as_bytes());
    &png[chunk.from + 4..chunk.from + 8] == b"tEXt" && rest.is_some_and(|rest| rest.starts_with(&[0]))
}

/// JSON with every character that is not ASCII escaped, as Python writes it.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            text.push(c);
        } else {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let content = [kind.as_slice(), data].concat();
        let length = u32::try_from(data.len()).expect("short").to_be_bytes();
        [length.as_slice(), &content, &crc32fast::hash(&content).to_be_bytes()].concat()
    }

    fn picture(texts: &[(&str, &str)]) -> Vec<u8> {
        let texts = texts
            .iter()
            .map(|(keyword, text)| chunk(b"tEXt", &[keyword.as_bytes(), &[0], text.as_bytes()].concat()));
        let mut png = [SIGNATURE, &chunk(b"IHDR", &[0; 13])].concat();
        texts.for_each(|text| png.extend(text));
        png.extend(chunk(b"IDAT", b"prompt\0not a text"));
        png.extend(chunk(b"IEND", b""));
        png
    }

    #[test]
    fn a_text_is_replaced_and_everything_else_stays() {
        let png = picture(&[("prompt", "{}"), ("workflow", "[]"), ("promptly", "x")]);
        assert_eq!(text(&png, "prompt").as_deref(), Some("{}"));
        let other = with_text(&png, "prompt", "{\"1\": \"Bücher 🦊\"}").expect("a PNG");
        assert_eq!(text(&other, "prompt").as_deref(), Some("{\"1\": \"B\\u00fccher \\ud83e\\udd8a\"}"));
        for keyword in ["workflow", "promptly"] {
            assert_eq!(text(&other, keyword), text(&png, keyword));
        }
        assert_eq!(with_text(&other, "prompt", "{}").as_deref(), Some(&png[..]));
        for chunk in chunks(&other).expect("a PNG") {
            let crc = crc32fast::hash(&other[chunk.from + 4..chunk.until - 4]).to_be_bytes();
            assert_eq!(&other[chunk.until - 4..chunk.until], &crc);
        }
    }

    #[test]
    fn a_picture_says_what_its_job_asked_for() {
        let mut body = schemas::samples::job().body;
        let png =
            Bytes::from(picture(&[("prompt", "{\"9\": \"argosy/x.1/boat\"}"), ("parameters", "theirs")]));
        assert_eq!(as_asked(&body, png.clone()), png, "a template's picture");
        body.workflow = Some(serde_json::json!({"9": "boat"}));
        body.extra_data = Some(serde_json::json!({"extra_pnginfo": {
            "workflow": {"nodes": ["ü"]}, "parameters": "ours", "": 1, "a key": 2,
        }}));
        let told = as_asked(&body, png);
        let read = |keyword: &str| text(&told, keyword);
        assert_eq!(read("prompt").as_deref(), Some("{\"9\":\"boat\"}"));
        assert_eq!(read("workflow").as_deref(), Some("{\"nodes\":[\"\\u00fc\"]}"));
        assert_eq!(read("parameters").as_deref(), Some("theirs"));
        assert_eq!(chunks(&told).expect("a PNG").len(), 6, "no other text");
        let silent = Bytes::from(picture(&[]));
        assert_eq!(as_asked(&body, silent.clone()), silent, "a server that tells nothing");
    }

    #[test]
    fn what_is_no_picture_or_has_no_such_text_is_left_alone() {
        let png = picture(&[("workflow", "[]")]);
        assert_eq!((text(&png, "prompt"), with_text(&png, "prompt", "{}")), (None, None));
        for bytes in
            [&b""[..], b"\x89PNG", b"GIF89a", &png[..png.len() - 1], &[SIGNATURE, &[255; 20]].concat()]
        {
            assert_eq!(with_text(bytes, "workflow", "{}"), None);
        }
    }
}
