//! Shapes of outputs that handlers have given, other than the current public one's.
//!
//! The public handler's (runpod-workers/worker-comfyui) by version: 1.0 `status` and `message` with a URL, 1.1 the
//! same with a data URI, 2.0 to 4.0 with bare base64 and `refresh_worker`, 4.1 and later `images`. The others come
//! from forks and from handlers that people write themselves. A job is billed whatever its shape.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::chance;

/// Shapes with the files in them.
pub(super) const READABLE: &[&str] = &[
    "shape_message_url",
    "shape_message_data_uri",
    "shape_message_base64",
    "shape_list",
    "shape_string",
    "shape_string_url",
    "shape_image_strings",
    "shape_videos",
    "shape_gifs",
    "shape_files",
    "shape_nested",
    "shape_image",
    "shape_image_url",
    "shape_result",
    "shape_partial",
];

/// Shapes of a completed job without any file.
pub(super) const UNUSABLE: &[&str] = &[
    "completed_without_output",
    "shape_error",
    "shape_status_error",
    "shape_errors_only",
    "shape_raised",
    "shape_words",
    "shape_empty",
    "shape_unknown",
];

/// Faults that stand for any one shape of a kind, chosen by seed and job.
pub(super) const ANY: &[(&str, &[&str])] =
    &[("shape_any_readable", READABLE), ("shape_any_unusable", UNUSABLE)];

/// The shape that a fault stands for.
pub(super) fn chosen(fault: &'static str, seed: u64, job: &str) -> &'static str {
    let Some((_, shapes)) = ANY.iter().find(|(name, _)| *name == fault) else { return fault };
    let draw = chance::hash(seed, &[b"shape", job.as_bytes()]);
    shapes[usize::try_from(draw % shapes.len() as u64).unwrap_or_default()]
}

/// The kind of odd shape that a job has by chance, if it has one.
pub(super) fn drawn(odd_percent: u8, unusable_percent: u8, seed: u64, job: &str) -> Option<&'static str> {
    let draw = chance::hash(seed, &[b"odd", job.as_bytes()]) % 100;
    let unusable = u64::from(unusable_percent);
    if draw < unusable {
        return Some("shape_any_unusable");
    }
    (draw < unusable + u64::from(odd_percent)).then_some("shape_any_readable")
}

/// A file of a job: its name, its content, and where it lies in the bucket.
pub(super) struct Made {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    pub(super) url: String,
}

/// The output in a shape; none when the fate names no shape.
pub(super) fn output(fate: &str, made: &[Made]) -> Option<Value> {
    let base64 = |file: &Made| STANDARD.encode(&file.bytes);
    let uri = |file: &Made| format!("data:image/png;base64,{}", base64(file));
    let entry = |file: &Made| json!({"filename": file.name, "type": "base64", "data": base64(file)});
    let all = |form: &dyn Fn(&Made) -> Value| made.iter().map(form).collect::<Vec<_>>();
    let last = made.last();
    let text = |form: &dyn Fn(&Made) -> String| last.map_or(Value::Null, |file| form(file).into());
    Some(match fate {
        // Versions 1 to 4 hand over the last file only.
        "shape_message_url" => json!({"status": "success", "message": text(&|file| file.url.clone())}),
        "shape_message_data_uri" => json!({"status": "success", "message": text(&uri)}),
        "shape_message_base64" => {
            json!({"status": "success", "message": text(&base64), "refresh_worker": false})
        }
        "shape_list" => json!(all(&entry)),
        "shape_string" => text(&base64),
        "shape_string_url" => text(&|file| file.url.clone()),
        "shape_image_strings" => json!({"images": all(&|file| base64(file).into())}),
        "shape_videos" => json!({"videos": all(&entry)}),
        "shape_gifs" => json!({"gifs": all(&|file| json!({"filename": file.name, "url": file.url}))}),
        "shape_files" => json!({"files": all(&|file| file.url.clone().into()), "execution_s": 3.5}),
        "shape_nested" => json!({"status": "COMPLETED", "output": {"images": all(&entry)}}),
        "shape_image" => json!({"image": text(&uri), "seed": 7}),
        "shape_image_url" => json!({"image_url": text(&|file| file.url.clone())}),
        "shape_result" => json!({"result": {"files": all(&entry)}}),
        "shape_partial" => {
            json!({"images": all(&entry), "errors": ["Failed to fetch image data for b.png from /view endpoint."]})
        }
        "shape_error" => json!({"error": "the handler does not know this workflow"}),
        "shape_status_error" => json!({"status": "error", "message":
            "the image does not exist in the specified output folder: /comfyui/output/a.png"}),
        "shape_errors_only" => json!({"errors": ["the sampler is not known here", "nothing was saved"]}),
        "shape_raised" => json!(
            json!({"error_type": "<class 'KeyError'>", "error_message": "'images'",
            "error_traceback": "<simulated>", "hostname": "simulator"})
            .to_string()
        ),
        "shape_words" => json!("I am sorry, I cannot draw\u{1b}[31m that."),
        "shape_empty" => json!([]),
        "shape_unknown" => json!({"picture": {"href": "see the dashboard"}, "code": 7}),
        _ => return None,
    })
}
