//! Media types of files: by their content where it has a mark, else by their names.

use std::str;

/// What is not known.
pub const UNKNOWN: &str = "application/octet-stream";

/// Media types with the endings of their files; the first ending is the one that we give. A type without a registered name
/// has the name by which the tools of its field know it.
const ENDINGS: [(&str, &[&str]); 47] = [
    ("image/png", &["png", "apng"]),
    ("image/jpeg", &["jpg", "jpeg", "jfif"]),
    ("image/webp", &["webp"]),
    ("image/gif", &["gif"]),
    ("image/avif", &["avif"]),
    ("image/heic", &["heic", "heif"]),
    ("image/jxl", &["jxl"]),
    ("image/bmp", &["bmp"]),
    ("image/tiff", &["tiff", "tif"]),
    ("image/svg+xml", &["svg"]),
    ("image/x-exr", &["exr"]),
    ("image/vnd.radiance", &["hdr"]),
    ("image/vnd.adobe.photoshop", &["psd"]),
    ("video/mp4", &["mp4", "m4v"]),
    ("video/webm", &["webm"]),
    ("video/quicktime", &["mov"]),
    ("video/matroska", &["mkv"]),
    ("video/x-msvideo", &["avi"]),
    ("video/mp2t", &["ts"]),
    ("audio/flac", &["flac"]),
    ("audio/mpeg", &["mp3"]),
    ("audio/wav", &["wav"]),
    ("audio/ogg", &["ogg", "oga"]),
    ("audio/opus", &["opus"]),
    ("audio/aac", &["aac"]),
    ("audio/mp4", &["m4a"]),
    ("model/gltf-binary", &["glb"]),
    ("model/gltf+json", &["gltf"]),
    ("model/obj", &["obj"]),
    ("model/mtl", &["mtl"]),
    ("model/stl", &["stl"]),
    ("model/ply", &["ply"]),
    ("model/fbx", &["fbx"]),
    ("model/vnd.usdz+zip", &["usdz"]),
    ("model/x-splat", &["splat", "ksplat"]),
    ("model/x-spz", &["spz"]),
    ("application/x-comfyui-latent", &["latent"]),
    ("application/x-safetensors", &["safetensors", "sft"]),
    ("application/x-npy", &["npy"]),
    ("application/json", &["json"]),
    ("application/pdf", &["pdf"]),
    ("application/zip", &["zip", "npz"]),
    ("text/plain", &["txt", "log"]),
    ("text/markdown", &["md"]),
    ("text/csv", &["csv"]),
    ("text/vtt", &["vtt"]),
    ("application/x-subrip", &["srt"]),
];

/// Marks that several kinds of files share: the content is of the first kind, and a name with the ending of another of the
/// group says which of them it is.
const ALIKE: [&[&str]; 4] = [
    &["application/x-safetensors", "application/x-comfyui-latent"],
    &["application/zip", "model/vnd.usdz+zip"],
    &["video/mp4", "audio/mp4", "video/quicktime"],
    &["audio/ogg", "audio/opus"],
];

/// How much of a text is looked at.
const TEXT_BYTES: usize = 4 * 1024;

/// The file ending of a media type; `bin` where it is not known.
#[must_use]
pub fn ending(media_type: &str) -> &'static str {
    let known = ENDINGS.iter().find(|(known, _)| *known == media_type);
    known.and_then(|(_, endings)| endings.first()).copied().unwrap_or("bin")
}

/// The media type of a file name, by its ending; [`UNKNOWN`] where that says nothing.
#[must_use]
pub fn of_name(file_name: &str) -> &'static str {
    let ending = file_name.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
    let known = ENDINGS.iter().find(|(_, endings)| endings.contains(&ending.as_str()));
    known.map_or(UNKNOWN, |(media_type, _)| media_type)
}

/// The media type of a file: by its content, else by its name, else text where it is text.
#[must_use]
pub fn of_file(file_name: &str, bytes: &[u8]) -> &'static str {
    let named = of_name(file_name);
    match of_bytes(bytes) {
        Some(marked) => {
            let are_alike = ALIKE.iter().any(|kinds| kinds.contains(&marked) && kinds.contains(&named));
            if are_alike { named } else { marked }
        }
        None if named != UNKNOWN => named,
        None if is_text(bytes) => "text/plain",
        None => UNKNOWN,
    }
}

/// The media type of a file's content, by the marks that it begins with. None where there is no mark, or one of two bytes
/// only, which the letters of a path would be when they are read as base64.
#[must_use]
pub fn of_bytes(bytes: &[u8]) -> Option<&'static str> {
    let at = |from: usize, mark: &[u8]| bytes.get(from..from + mark.len()) == Some(mark);
    let brand = |brands: &[&[u8]]| at(4, b"ftyp") && brands.iter().any(|brand| at(8, brand));
    let riff = |form: &[u8]| at(0, b"RIFF") && at(8, form);
    let known: [(bool, &'static str); 29] = [
        (at(0, b"\x89PNG\r\n\x1a\n"), "image/png"),
        (at(0, b"\xff\xd8\xff"), "image/jpeg"),
        (at(0, b"GIF87a") || at(0, b"GIF89a"), "image/gif"),
        (riff(b"WEBP"), "image/webp"),
        (riff(b"WAVE"), "audio/wav"),
        (riff(b"AVI "), "video/x-msvideo"),
        (brand(&[b"avif", b"avis"]), "image/avif"),
        (brand(&[b"heic", b"heix", b"mif1"]), "image/heic"),
        (brand(&[b"qt  "]), "video/quicktime"),
        (brand(&[b"M4A "]), "audio/mp4"),
        (at(4, b"ftyp"), "video/mp4"),
        (at(0, b"\x1a\x45\xdf\xa3") && holds(bytes, b"matroska"), "video/matroska"),
        (at(0, b"\x1a\x45\xdf\xa3"), "video/webm"),
        (at(0, b"fLaC"), "audio/flac"),
        (at(0, b"OggS") && at(28, b"OpusHead"), "audio/opus"),
        (at(0, b"OggS"), "audio/ogg"),
        (at(0, b"ID3") || at(0, b"\xff\xfb") || at(0, b"\xff\xf3"), "audio/mpeg"),
        (at(0, b"II*\0") || at(0, b"MM\0*"), "image/tiff"),
        (at(0, b"\0\0\0\x0cJXL "), "image/jxl"),
        (at(0, b"v/1\x01"), "image/x-exr"),
        (at(0, b"#?RADIANCE") || at(0, b"#?RGBE"), "image/vnd.radiance"),
        (at(0, b"8BPS"), "image/vnd.adobe.photoshop"),
        (at(0, b"glTF"), "model/gltf-binary"),
        (at(0, b"ply\n") || at(0, b"ply\r\n"), "model/ply"),
        (at(0, b"Kaydara FBX Binary"), "model/fbx"),
        (at(0, b"\x93NUMPY"), "application/x-npy"),
        (at(0, b"%PDF-"), "application/pdf"),
        (at(0, b"PK\x03\x04"), "application/zip"),
        (is_safetensors(bytes), "application/x-safetensors"),
    ];
    let marked = known.iter().find(|(holds, _)| *holds).map(|(_, media_type)| *media_type);
    marked.or_else(|| is_svg(bytes).then_some("image/svg+xml"))
}

/// Whether a mark lies in what a container says of itself.
fn holds(bytes: &[u8], mark: &[u8]) -> bool {
    bytes[..bytes.len().min(64)].windows(mark.len()).any(|part| part == mark)
}

/// The length of a JSON object, then the object.
fn is_safetensors(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else { return false };
    let length = u64::from_le_bytes(*length);
    (2..=100_000_000).contains(&length) && rest.starts_with(b"{\"")
}

/// XML whose first element is `svg`.
fn is_svg(bytes: &[u8]) -> bool {
    let mut rest = beginning(bytes).trim_start_matches('\u{feff}').trim_start();
    loop {
        let end = match rest {
            _ if rest.starts_with("<?") => "?>",
            _ if rest.starts_with("<!--") => "-->",
            _ if rest.starts_with("<!") => ">",
            _ => return rest.starts_with("<svg"),
        };
        let Some((_, after)) = rest.split_once(end) else { return false };
        rest = after.trim_start();
    }
}

/// Text without characters that no text has.
fn is_text(bytes: &[u8]) -> bool {
    let text = beginning(bytes);
    // A letter may be cut at the end of what is looked at.
    let is_whole = bytes.len().min(TEXT_BYTES) - text.len() < 4;
    !text.is_empty() && is_whole && !text.chars().any(|c| c.is_control() && !c.is_whitespace())
}

/// As much of the beginning as is UTF-8.
fn beginning(bytes: &[u8]) -> &str {
    let begin = &bytes[..bytes.len().min(TEXT_BYTES)];
    match str::from_utf8(begin) {
        Ok(text) => text,
        Err(error) => str::from_utf8(&begin[..error.valid_up_to()]).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_that_content_shows_has_an_ending_and_every_ending_is_of_one_type() {
        let contents: [&[u8]; 31] = [
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8\xff\xe0",
            b"GIF89a",
            b"RIFF\0\0\0\0WEBP",
            b"RIFF\0\0\0\0WAVE",
            b"RIFF\0\0\0\0AVI ",
            b"\0\0\0\x1cftypavif",
            b"\0\0\0\x1cftypheic",
            b"\0\0\0\x14ftypqt  ",
            b"\0\0\0\x1cftypM4A ",
            b"\0\0\0\x1cftypisom",
            b"\x1a\x45\xdf\xa3\xa3\x42\x86\x81\x01\x42\x82\x88matroska",
            b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm",
            b"fLaC",
            b"OggS\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x13OpusHead",
            b"OggS\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x1e\x01vorbis",
            b"ID3\x04",
            b"II*\0",
            b"\0\0\0\x0cJXL \r\n",
            b"v/1\x01\x02\0\0\0",
            b"#?RADIANCE\n",
            b"8BPS\0\x01",
            b"glTF\x02\0\0\0",
            b"ply\nformat ascii 1.0",
            b"Kaydara FBX Binary  \0",
            b"\x93NUMPY\x01\0",
            b"%PDF-1.7",
            b"PK\x03\x04",
            b"\x40\0\0\0\0\0\0\0{\"latent_tensor\":",
            b"<svg xmlns=\"http://www.w3.org/2000/svg\">",
            b"\xef\xbb\xbf<?xml version=\"1.0\"?>\n<!-- by a node -->\n<!DOCTYPE svg>\n<svg>",
        ];
        for bytes in contents {
            let shown = of_bytes(bytes).unwrap_or(UNKNOWN);
            assert_ne!(ending(shown), "bin", "{}", String::from_utf8_lossy(bytes));
        }
        let mut endings: Vec<&str> =
            ENDINGS.iter().flat_map(|(_, endings)| endings.iter().copied()).collect();
        let all = endings.len();
        endings.sort_unstable();
        endings.dedup();
        assert_eq!(endings.len(), all);
        assert!(
            ENDINGS.iter().all(|(media_type, endings)| of_name(&format!("a.{}", endings[0])) == *media_type)
        );
        assert!(ALIKE.iter().flat_map(|kinds| kinds.iter()).all(|kind| ending(kind) != "bin"));
    }

    #[test]
    fn content_decides_and_a_name_tells_apart_what_looks_alike() {
        let tensors = b"\x40\0\0\0\0\0\0\0{\"latent_tensor\":".as_slice();
        let cases: [(&str, &[u8], &str); 16] = [
            ("a.png", b"\xff\xd8\xff\xe0", "image/jpeg"),
            ("ComfyUI_00001_.latent", tensors, "application/x-comfyui-latent"),
            ("lora.safetensors", tensors, "application/x-safetensors"),
            ("merged", tensors, "application/x-safetensors"),
            ("merged.png", tensors, "application/x-safetensors"),
            ("a.usdz", b"PK\x03\x04", "model/vnd.usdz+zip"),
            ("voice.m4a", b"\0\0\0\x1cftypisom", "audio/mp4"),
            ("a.opus", b"OggS", "audio/opus"),
            ("clip.mov", b"\0\0\0\x14ftypqt  ", "video/quicktime"),
            ("mesh.obj", b"# a mesh\nv 0 0 0\n", "model/obj"),
            ("notes", "héllo wörld ✓\n".as_bytes(), "text/plain"),
            ("notes.md", b"# title", "text/markdown"),
            ("a.weird", b"\0\x01\x02", UNKNOWN),
            ("a.weird", b"", UNKNOWN),
            ("a.html", b"<html><svg></svg></html>", "text/plain"),
            ("latin", b"caf\xe9 au lait", UNKNOWN),
        ];
        for (name, bytes, expected) in cases {
            assert_eq!(of_file(name, bytes), expected, "{name} {}", String::from_utf8_lossy(bytes));
        }
        let long = "ä".repeat(TEXT_BYTES);
        assert_eq!(
            of_file("cut in the middle of a letter", &long.as_bytes()[..TEXT_BYTES + 1]),
            "text/plain"
        );
    }
}
