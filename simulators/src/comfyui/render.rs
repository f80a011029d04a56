//! What an output node leaves behind: files, or text.

use serde_json::Value;

use super::catalog::Catalog;
use super::scene::{self, ReadInput, Sheet};
use super::validate::Graph;
use crate::picture::{self, Scene};

/// The result of an output node, before it has file names.
#[derive(Debug, Default)]
pub(crate) struct Rendered {
    /// Key in `outputs`: `images`, `gifs` or `text`.
    pub(crate) key: &'static str,
    /// Extension and content of each file.
    pub(crate) files: Vec<(&'static str, Vec<u8>)>,
    pub(crate) text: Vec<String>,
    /// `animated: [true]` is shown beside the files.
    pub(crate) animated: bool,
    /// VideoHelperSuite tells the format and rate.
    pub(crate) format: Option<(String, f64)>,
    /// Goes to `temp`, not `output`.
    pub(crate) temporary: bool,
}

/// Frames when pictures, not a video latent, are made into a film.
const STILL_FRAMES: u64 = 16;

/// Runs an output node.
pub(crate) fn render(
    graph: &Graph,
    catalog: &Catalog,
    id: &str,
    label: &'static str,
    read: ReadInput<'_>,
) -> Rendered {
    let inputs = &graph[id]["inputs"];
    let class = graph[id]["class_type"].as_str().unwrap_or_default();
    let sheet = || scene::sheet(graph, catalog, id, label, read);
    let film =
        |sheet: &Sheet| if sheet.frames > 0 { sheet.frames } else { sheet.batch.max(STILL_FRAMES) } as u32;
    match class {
        "SaveImage" | "PreviewImage" => {
            let files = stills(&sheet()).into_iter().map(|bytes| ("png", bytes)).collect();
            Rendered { key: "images", files, temporary: class == "PreviewImage", ..Rendered::default() }
        }
        "SaveAnimatedWEBP" => {
            let sheet = sheet();
            let bytes = picture::animated_webp(&sheet.scene, film(&sheet), sheet.fps);
            Rendered { key: "images", files: vec![("webp", bytes)], animated: true, ..Rendered::default() }
        }
        "SaveVideo" => {
            let sheet = sheet();
            let bytes = picture::mp4_film(&sheet.scene, film(&sheet), sheet.fps);
            Rendered { key: "images", files: vec![("mp4", bytes)], animated: true, ..Rendered::default() }
        }
        "VHS_VideoCombine" => {
            let sheet = sheet();
            let format = inputs["format"].as_str().unwrap_or("video/h264-mp4").to_owned();
            let file = if format == "image/webp" {
                ("webp", picture::animated_webp(&sheet.scene, film(&sheet), sheet.fps))
            } else {
                ("mp4", picture::mp4_film(&sheet.scene, film(&sheet), sheet.fps))
            };
            let temporary = inputs["save_output"] == Value::Bool(false);
            Rendered {
                key: "gifs",
                files: vec![file],
                format: Some((format, sheet.fps)),
                temporary,
                ..Rendered::default()
            }
        }
        "AcceptanceSlowOutput" => text(format!("slept {}", inputs["seconds"].as_f64().unwrap_or(0.0))),
        // PreviewAny shows whatever it gets; anything but a string is shown as its type.
        _ => text(scene::string_of(graph, &inputs["source"], 0).unwrap_or_else(|| "None".to_owned())),
    }
}

fn text(text: String) -> Rendered {
    Rendered { key: "text", text: vec![text], ..Rendered::default() }
}

fn stills(sheet: &Sheet) -> Vec<Vec<u8>> {
    (0..sheet.batch)
        .map(|n| picture::png(&Scene { seed: sheet.scene.seed.wrapping_add(n), ..sheet.scene.clone() }))
        .collect()
}
