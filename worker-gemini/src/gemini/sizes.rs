//! What a job asks for, in the steps that the API makes.
//!
//! A larger picture or a longer video has more tokens and costs more than was reserved, so the choice is
//! bounded by the service's `maximum_usage`: the nearest step that still fits the money.

use schemas::{Catalog, Failure, Job, Kind, Service, Unit};

use crate::gemini::bounds::{maximum, output_max};

/// Aspect ratios that all image models take.
const IMAGE_ASPECTS: [(u32, u32); 10] =
    [(1, 1), (2, 3), (3, 2), (3, 4), (4, 3), (4, 5), (5, 4), (9, 16), (16, 9), (21, 9)];
/// Aspect ratios of video.
const VIDEO_ASPECTS: [(u32, u32); 2] = [(16, 9), (9, 16)];
/// Image sizes, the side of their square in pixels, and the most tokens one takes at any model.
const IMAGE_SIZES: [(&str, u32, u64); 4] =
    [("512", 512, 750), ("1K", 1024, 1120), ("2K", 2048, 1680), ("4K", 4096, 2520)];
/// Output tokens that are left to thoughts beside the picture: `maxOutputTokens` caps both together.
const THOUGHTS_ROOM: u64 = 1_024;
/// Not every model makes the smallest size, so it is asked for only where the next does not fit.
const SMALLEST_USUAL: usize = 1;
/// Video resolutions, their short side in pixels, and the tokens of a second.
const VIDEO_SIZES: [(&str, u32, u64); 4] =
    [("360p", 360, 1931), ("720p", 720, 5792), ("1080p", 1080, 8688), ("4k", 2160, 17376)];
/// The shortest video, seconds.
const VIDEO_MIN_S: u64 = 3;

/// A picture to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSize {
    /// For example `16:9`.
    pub aspect: String,
    /// For example `1K`.
    pub size: &'static str,
}

/// A video to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoSize {
    /// `16:9` or `9:16`.
    pub aspect: String,
    /// For example `720p`.
    pub resolution: &'static str,
    /// Whole seconds.
    pub seconds: u64,
}

/// Width, height and length that the job asks for, by itself or through its model's defaults.
#[must_use]
pub fn asked(job: &Job, catalog: &Catalog) -> (u32, u32, u32) {
    let body = &job.body;
    let name = body.model.as_ref().or_else(|| catalog.default_models.get(&body.kind));
    let model = name.and_then(|name| catalog.model(name));
    let (width, height) = model.map_or((1024, 1024), |model| (model.width, model.height));
    let usual_ms = model.map_or(0, |model| model.duration_ms);
    (body.width.unwrap_or(width), body.height.unwrap_or(height), body.duration_ms.unwrap_or(usual_ms))
}

/// The picture nearest to what the job asks that fits the service's maximum.
#[must_use]
pub fn image(job: &Job, catalog: &Catalog, service: &Service) -> ImageSize {
    let (width, height, _) = asked(job, catalog);
    let side = f64::from(width).max(1.0) * f64::from(height).max(1.0);
    let sides = IMAGE_SIZES.map(|(_, pixels, _)| pixels);
    let mut index = nearest(side.sqrt(), &sides).max(SMALLEST_USUAL);
    let fits = |tokens: u64| match maximum(service, Unit::ImageToken) {
        Some(most) => tokens <= most && tokens + THOUGHTS_ROOM <= output_max(service),
        None => true,
    };
    while index > 0 && !fits(IMAGE_SIZES[index].2) {
        index -= 1;
    }
    ImageSize { aspect: aspect(width, height, &IMAGE_ASPECTS), size: IMAGE_SIZES[index].0 }
}

/// The video nearest to what the job asks that fits the service's maximum; length before resolution.
///
/// # Errors
/// `invalid_job` when not even the smallest resolution fits for that long.
pub fn video(job: &Job, catalog: &Catalog, service: &Service) -> Result<VideoSize, Failure> {
    let (width, height, duration_ms) = asked(job, catalog);
    let seconds = u64::from(duration_ms.div_ceil(1_000)).max(VIDEO_MIN_S);
    let sides = VIDEO_SIZES.map(|(_, pixels, _)| pixels);
    let nearest = nearest(f64::from(width.min(height)), &sides);
    let most = maximum(service, Unit::VideoToken).unwrap_or(u64::MAX);
    let fits = VIDEO_SIZES[..=nearest].iter().rev().find(|(_, _, tokens)| tokens * seconds <= most);
    let Some((resolution, _, _)) = fits else {
        let longest = most / VIDEO_SIZES[0].2;
        let message = format!("{seconds} s of video do not fit the service: it makes at most {longest} s");
        return Err(Failure::invalid("body.duration_ms", message));
    };
    Ok(VideoSize { aspect: aspect(width, height, &VIDEO_ASPECTS), resolution, seconds })
}

/// Whether the job is for a moving picture.
#[must_use]
pub fn is_video(job: &Job) -> bool {
    job.body.kind == Kind::Video
}

/// Nearest by ratio: 1448 is as far from 1024 as from 2048.
fn nearest(asked: f64, steps: &[u32]) -> usize {
    let distance = |step: u32| (f64::from(step) / asked.max(1.0)).ln().abs();
    let best = (0..steps.len()).min_by(|&a, &b| distance(steps[a]).total_cmp(&distance(steps[b])));
    best.unwrap_or_default()
}

fn aspect(width: u32, height: u32, known: &[(u32, u32)]) -> String {
    let asked = f64::from(width.max(1)) / f64::from(height.max(1));
    let distance = |&(w, h): &(u32, u32)| (f64::from(w) / f64::from(h) / asked).ln().abs();
    let best = known.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
    best.map_or_else(|| "1:1".to_owned(), |(w, h)| format!("{w}:{h}"))
}
