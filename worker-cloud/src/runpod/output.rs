//! The files in a completed job's output, and what it means that there are none. Pure: nothing is fetched.
//!
//! What the public handler has returned changed with its versions, and endpoints run forks and handlers of
//! their own, so this reads by meaning: a file is base64, a data URI or a URL under one of the keys that are
//! known to hold files, with or without a name beside it, alone or in lists, however nested. The table of
//! shapes with the versions that made them is `worker-cloud/tests/tables/outputs.txt`.

pub mod shape;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use runtime::media_type;
use schemas::{Failure, FailureCode};
use serde_json::{Map, Value};

use crate::runpod::jobs;

/// Files read from one output; more are named in a remark.
const FILES_MAX: usize = 1_000;
/// How deep files are looked for.
const DEPTH_MAX: usize = 8;
/// A text without a known beginning that does not say that it is a file is one from this length on.
const UNMARKED_FILE_MIN_CHARS: usize = 256;

/// Why a text is no file.
const NEITHER: &str = "it is neither base64 of a file nor a URL";

/// Keys that hold lists of files, or one: the public handler's, and ComfyUI's kinds of outputs.
const LISTS: [&str; 13] = [
    "images",
    "videos",
    "gifs",
    "audio",
    "audios",
    "files",
    "file_urls",
    "image_urls",
    "video_urls",
    "artifacts",
    "outputs",
    "results",
    "result",
];
/// Keys that hold one file, by what it is: in each row they are forms of the same file, the first that can be
/// read counts.
const ONE_FILE: [&[&str]; 4] = [
    &["image", "image_base64", "base64_image", "image_url"],
    &["video", "video_base64", "video_url"],
    &["audio_base64", "audio_url"],
    &[
        "data",
        "base64",
        "b64_json",
        "b64",
        "content",
        "url",
        "s3_url",
        "file_url",
        "presigned_url",
        "file",
        "output",
        "message",
    ],
];
/// Keys that hold a file's name.
const NAMES: [&str; 4] = ["filename", "file_name", "name", "key"];

/// Base64 as handlers write it: the usual or the URL alphabet, with or without padding.
const FORGIVING: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, FORGIVING);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, FORGIVING);

/// One file of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputFile {
    /// The name that stands beside it; several forms have none.
    pub name: Option<String>,
    /// Where its bytes are.
    pub content: Content,
}

/// Where a file's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Here.
    Bytes(Bytes),
    /// Behind a presigned URL that needs no key and must not get ours.
    Url(String),
}

/// What a completed job gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// The files.
    pub files: Vec<OutputFile>,
    /// What the handler said beside them (`errors`), and what of the output could not be read.
    pub remarks: Vec<String>,
}

/// The files of a completed job's output.
///
/// # Errors
/// Without any file, the attempt's one failure: what the handler's words stand for; `invalid_job` when it says
/// that the workflow saves nothing; else `unusable_result`, which names the output's shape.
pub fn files(output: Option<&Value>) -> Result<Files, Failure> {
    let mut found = Files::default();
    if let Some(output) = output {
        collect(output, &Place { name: None, expected: false, certain: false, depth: 0 }, &mut found);
    }
    if found.files.is_empty() {
        return Err(without_files(output, &found.remarks));
    }
    if let Some(Value::Object(fields)) = output {
        let errors = fields.get("errors").or_else(|| fields.get("error"));
        let said = shape::words(errors);
        found.remarks.extend((!said.is_empty()).then_some(said));
    }
    Ok(found)
}

/// Where in an output a value stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    name: Option<&'a str>,
    /// It stands where a file is expected: what is none is worth a remark.
    expected: bool,
    /// It says of itself that it is a file, so that any base64 is one.
    certain: bool,
    depth: usize,
}

fn collect(value: &Value, place: &Place<'_>, found: &mut Files) {
    if place.depth > DEPTH_MAX {
        return;
    }
    let below = Place { depth: place.depth + 1, ..*place };
    match value {
        Value::String(text) => {
            if found.files.len() >= FILES_MAX {
                return remark(found, format!("of more than {FILES_MAX} files the rest was left out"));
            }
            match content(text.trim(), place.certain) {
                Read::File(content) => {
                    let file = OutputFile { name: place.name.map(str::to_owned), content };
                    // Some handlers give the same file under two keys.
                    if !found.files.contains(&file) {
                        found.files.push(file);
                    }
                }
                Read::Not(why) if place.expected => {
                    remark(found, format!("a file could not be read: {why}"));
                }
                Read::Not(_) => {}
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, &below, found)),
        Value::Object(fields) => object(fields, &below, found),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn object(fields: &Map<String, Value>, place: &Place<'_>, found: &mut Files) {
    let name = NAMES.iter().find_map(|key| fields.get(*key).and_then(Value::as_str));
    let name = name.filter(|name| !name.is_empty()).or(place.name);
    let failed = matches!(fields.get("status").and_then(Value::as_str), Some("error" | "failed"));
    let is_entry = fields.contains_key("filename")
        || fields.get("type").and_then(Value::as_str).is_some_and(|kind| kind == "base64");
    for key in LISTS {
        let Some(value) = fields.get(key) else { continue };
        // In a list that is named after files a text is a file; `result` and the like may also be words.
        let expected = !matches!(key, "outputs" | "results" | "result");
        collect(value, &Place { name, expected, certain: false, ..*place }, found);
    }
    for row in ONE_FILE {
        for key in row {
            // The words of a failure may be an address to read more at.
            let Some(value) = fields.get(*key).filter(|_| !(failed && *key == "message")) else { continue };
            let before = found.files.len();
            let expected = place.expected || !matches!(*key, "message" | "output" | "content" | "file");
            let certain = is_entry && !matches!(*key, "message" | "output");
            collect(value, &Place { name, expected, certain, ..*place }, found);
            if found.files.len() > before {
                break;
            }
        }
    }
    // ComfyUI's own history: node ids over kinds of outputs.
    let nodes = fields.iter().filter(|(key, _)| !key.is_empty() && key.bytes().all(|b| b.is_ascii_digit()));
    nodes.for_each(|(_, value)| collect(value, place, found));
}

fn remark(found: &mut Files, remark: String) {
    if !found.remarks.contains(&remark) {
        found.remarks.push(remark);
    }
}

/// What a text is.
enum Read {
    File(Content),
    /// None that can be read, and why.
    Not(&'static str),
}

fn content(text: &str, certain: bool) -> Read {
    let is = |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    if is("https://") || is("http://") {
        // A sentence may begin with an address; an address has no blanks.
        let bare = !text.contains(char::is_whitespace);
        return if bare { Read::File(Content::Url(text.to_owned())) } else { Read::Not(NEITHER) };
    }
    if is("data:") {
        return match text.split_once(',') {
            Some((head, data)) if head.to_ascii_lowercase().ends_with(";base64") => match decode(data) {
                Some(bytes) => Read::File(Content::Bytes(bytes)),
                None => Read::Not("its data URI is no base64"),
            },
            _ => Read::Not("its data URI is no base64"),
        };
    }
    let Some(bytes) = decode(text) else { return Read::Not(NEITHER) };
    // Many a word, and a path, is base64 as well.
    let is_file = certain || media_type::of_bytes(&bytes).is_some() || text.len() >= UNMARKED_FILE_MIN_CHARS;
    if is_file { Read::File(Content::Bytes(bytes)) } else { Read::Not(NEITHER) }
}

/// Base64 in either alphabet, broken into lines or not. Nothing is none.
fn decode(text: &str) -> Option<Bytes> {
    let joined: String;
    let text = if text.contains(['\n', '\r']) {
        joined = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
        &joined
    } else {
        text
    };
    let bytes = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()?;
    (!bytes.is_empty()).then(|| Bytes::from(bytes))
}

/// Why there are no files.
fn without_files(output: Option<&Value>, remarks: &[String]) -> Failure {
    if output.and_then(|output| output.get("status")).and_then(Value::as_str) == Some("success_no_images") {
        let message =
            "the workflow ran and saved nothing that the handler returns: end it in a SaveImage node";
        return Failure::invalid("body.workflow", message);
    }
    let mut words = shape::words(output);
    if let Some(known) = jobs::known(&words) {
        return known;
    }
    for remark in remarks {
        words.push('\n');
        words.push_str(remark);
    }
    let mut message = format!(
        "RunPod completed the job, and its output holds no file that can be read: it is {}",
        shape::shape(output)
    );
    if output.is_none_or(Value::is_null) {
        message.push_str(
            ". Results above about 20 MB are lost on their way: have the endpoint upload to a bucket",
        );
    }
    Failure::new(FailureCode::UnusableResult, message).with_words(words.trim())
}

/// Whether a downloaded file is a page to look at in a browser, though its name does not say so: a login, a
/// dashboard.
#[must_use]
pub fn is_web_page(name: Option<&str>, bytes: &[u8]) -> bool {
    let ends_so = |name: &str| [".html", ".htm"].iter().any(|end| name.to_ascii_lowercase().ends_with(end));
    let start = &bytes[..bytes.len().min(256)];
    let start = String::from_utf8_lossy(start).trim_start().to_ascii_lowercase();
    !name.is_some_and(ends_so) && ["<!doctype html", "<html"].iter().any(|mark| start.starts_with(mark))
}

/// The media type of a file: by its content, and by its name only where content of that type has no mark.
#[must_use]
pub fn media_type(name: Option<&str>, bytes: &[u8]) -> &'static str {
    if let Some(known) = media_type::of_bytes(bytes) {
        return known;
    }
    match name.map_or(media_type::UNKNOWN, media_type::of_name) {
        named @ ("text/plain" | "application/json" | "audio/mpeg") => named,
        _ => media_type::UNKNOWN,
    }
}
