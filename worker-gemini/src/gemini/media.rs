//! The files in an answer of either family: which of them are the job's, and their bytes.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use schemas::{Failure, FailureCode, Kind};

use crate::gemini::wire::Blob;

/// Padding is not asked for: some writers leave it out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// How known kinds of file begin: where in the file, the bytes there, the media type.
const BEGINNINGS: [(usize, &[u8], &str); 6] = [
    (0, b"\x89PNG", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (8, b"WEBP", "image/webp"),
    (0, b"GIF8", "image/gif"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftyp", "video/mp4"),
];

/// A made file, here or to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaRef<'a> {
    /// Its media type as the API says; none where it does not.
    pub media_type: Option<&'a str>,
    /// Where its bytes are.
    pub source: Source<'a>,
}

/// Where bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source<'a> {
    /// In base64, here.
    Data(&'a str),
    /// Behind this address.
    Uri(&'a str),
}

impl<'a> MediaRef<'a> {
    /// The file, when it is of the wanted kind: by its media type, or because its place says so (`is_named`).
    /// A file of which nothing says what it is, is what was asked for.
    #[must_use]
    pub fn of(blob: &'a Blob, kind: Kind, is_named: bool) -> Option<Self> {
        let media_type = blob.mime_type.as_deref().filter(|media_type| !is_unsaid(media_type));
        let is_kind = |media_type: &&str| {
            media_type.split('/').next().is_some_and(|family| family.eq_ignore_ascii_case(kind.as_str()))
        };
        if media_type.is_some_and(|media_type| !is_kind(&media_type)) && !is_named {
            return None;
        }
        let data = blob.data.as_deref().map(Source::Data);
        let source = data.or_else(|| blob.uri.as_deref().map(Source::Uri))?;
        Some(Self { media_type: media_type.filter(is_kind), source })
    }

    /// The media type to keep the bytes under: what the API says, else what they begin with, else the usual.
    #[must_use]
    pub fn media_type(&self, bytes: &[u8], kind: Kind) -> String {
        let begins = |at: usize, mark: &[u8]| bytes.get(at..).is_some_and(|rest| rest.starts_with(mark));
        let known = BEGINNINGS.iter().find(|(at, mark, _)| begins(*at, mark)).map(|(_, _, known)| *known);
        let usual = if kind == Kind::Video { "video/mp4" } else { "image/png" };
        self.media_type.or(known).unwrap_or(usual).to_ascii_lowercase()
    }
}

fn is_unsaid(media_type: &str) -> bool {
    !media_type.contains('/') || media_type.eq_ignore_ascii_case("application/octet-stream")
}

/// The job's files among finished ones and drafts: all that are finished. Where none is, the last draft:
/// the API's documentation calls the last picture of the thoughts the final one, and it is paid.
#[must_use]
pub fn chosen<'a>(finished: Vec<MediaRef<'a>>, mut drafts: Vec<MediaRef<'a>>) -> Vec<MediaRef<'a>> {
    if finished.is_empty() { drafts.pop().into_iter().collect() } else { finished }
}

/// Base64 to bytes: either alphabet, with or without padding and line breaks, or a whole `data:` address.
///
/// # Errors
/// `unusable_result`: the file was made and charged, and is damaged.
pub fn decode(data: &str) -> Result<Bytes, Failure> {
    let data = match data.strip_prefix("data:").and_then(|rest| rest.split_once(',')) {
        Some((_, data)) => data,
        None => data,
    };
    let bytes = BASE64.decode(data).or_else(|_| BASE64.decode(plain(data))).map_err(|error| {
        Failure::new(FailureCode::UnusableResult, "the file in Gemini's answer is not base64")
            .with_words(&error.to_string())
    })?;
    if bytes.is_empty() {
        return Err(Failure::new(FailureCode::UnusableResult, "the file in Gemini's answer is empty"));
    }
    Ok(Bytes::from(bytes))
}

/// The usual alphabet, and nothing else than it.
fn plain(data: &str) -> Vec<u8> {
    let letters = data.bytes().filter(|byte| !byte.is_ascii_whitespace());
    letters
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            byte => byte,
        })
        .collect()
}
