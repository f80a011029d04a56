//! A simulated ComfyUI server: HTTP and websocket protocol, validation, queue, files.
//!
//! Held to transcripts of a real server (0.3.64) by this crate's tests. Three modes: [`Mode::New`] has the jobs API
//! and strict prompt ids, [`Mode::Recorded`] is the version of the transcripts, [`Mode::Old`] also ignores the body
//! of `/interrupt`. Not simulated: `preview=` and `channel=` of `/view`, masks, audio, WebM, API nodes, userdata.

mod answers;
mod catalog;
mod engine;
mod files;
mod jobs;
mod order;
mod queue;
mod render;
mod routes;
mod scene;
mod server;
mod sockets;
mod submit;
mod text;
mod uploads;
mod validate;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub(crate) use catalog::Catalog;
pub use catalog::{Models, default_models};
pub(crate) use render::{Rendered, render};
pub use server::Server;
pub(crate) use validate::{Accepted, Context, Graph, Refused, validate};

use crate::clock::Scale;
use crate::journal::StateDir;
use crate::{Admin, chance};
use files::Files;
use queue::Queue;
use sockets::Sockets;

/// Fault names; see the crate's header for what they do.
pub const FAULTS: &[&str] = &[
    "oom",
    "hang",
    "hold",
    "lacks",
    "restart",
    "slow_interrupt",
    "drop_ws",
    "late_history",
    "node_errors_on_200",
];

const LABEL: &str = "SIMULATED COMFYUI";

/// The server's default `--max-upload-size`, which limits every body.
const MAX_BODY_BYTES: usize = 104_857_600;

/// Which server to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// No jobs API, free-form prompt ids, `/interrupt` hits whatever runs.
    Old,
    /// Version 0.3.64, the one of the transcripts: as old, but `/interrupt` honours a prompt id.
    Recorded,
    /// Jobs API, canonical prompt ids only.
    #[default]
    New,
}

/// Settings of a simulated ComfyUI.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Seeds latencies and minted ids.
    pub seed: u64,
    /// Wall time per provider time; 0.01 is a hundred times faster than life.
    pub time_scale: f64,
    /// Keeps output files here across restarts; without it they go with the server.
    pub state_dir: Option<PathBuf>,
    /// Which server to be.
    pub mode: Mode,
    /// Installed model files by folder.
    pub models: Models,
    /// Adds the transcripts' test nodes and the checkpoint `tiny_sd15.safetensors`.
    pub acceptance_nodes: bool,
    /// Sends preview pictures while sampling.
    pub previews: bool,
    /// Median duration of a picture, provider milliseconds.
    pub image_median_ms: u64,
    /// Median duration of a film, provider milliseconds.
    pub video_median_ms: u64,
    /// As in `/system_stats`.
    pub gpu_name: String,
    /// As in `/system_stats`.
    pub vram_bytes: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            seed: 1,
            time_scale: 1.0,
            state_dir: None,
            mode: Mode::default(),
            models: default_models(),
            acceptance_nodes: false,
            previews: false,
            image_median_ms: 4_000,
            video_median_ms: 12_000,
            gpu_name: "cuda:0 Simulated GeForce RTX 4090 : cudaMallocAsync".to_owned(),
            vram_bytes: 25_757_220_864,
        }
    }
}

/// All of one server.
struct Comfy {
    config: Config,
    scale: Scale,
    admin: Admin,
    catalog: Arc<Catalog>,
    files: Arc<Files>,
    sockets: Sockets,
    queue: Mutex<Queue>,
    /// Cancelled and replaced at every simulated restart.
    life: Mutex<CancellationToken>,
    wake: Notify,
    started_ms: u64,
    _state_dir: StateDir,
}

impl Comfy {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is installed now: fault `lacks` takes nodes away.
    fn installed(&self) -> Arc<Catalog> {
        let faults = self.admin.faults();
        let lacking: Vec<&str> = faults
            .iter()
            .filter(|fault| fault.name == "lacks")
            .filter_map(|fault| fault.node.as_deref())
            .collect();
        if lacking.is_empty() { Arc::clone(&self.catalog) } else { Arc::new(self.catalog.without(&lacking)) }
    }

    fn life(&self) -> CancellationToken {
        self.life.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a restart of the process loses: queue, history, cache, counters, sockets. Files stay.
    fn forget(&self) {
        *self.queue() = Queue::default();
        self.sockets.clear();
        std::mem::take(&mut *self.life.lock().unwrap_or_else(PoisonError::into_inner)).cancel();
    }

    fn status_data(&self) -> Value {
        json!({"status": {"exec_info": {"queue_remaining": self.queue().remaining()}}})
    }

    /// Tells everybody how long the queue is.
    fn status(&self) {
        self.sockets.broadcast("status", &self.status_data());
    }

    fn features(&self) -> Value {
        json!({"supports_preview_metadata": true, "max_upload_size": MAX_BODY_BYTES})
    }

    /// What identifies each node's result: its class and inputs, links replaced by what they lead to.
    fn signatures(&self, graph: &Graph) -> HashMap<String, u64> {
        let mut done = HashMap::new();
        for id in graph.keys() {
            self.signature(graph, id, &mut done, 0);
        }
        done
    }

    fn signature(&self, graph: &Graph, id: &str, done: &mut HashMap<String, u64>, depth: usize) -> u64 {
        if let Some(known) = done.get(id) {
            return *known;
        }
        let node = &graph[id];
        let mut text = node["class_type"].to_string();
        for (name, value) in node["inputs"].as_object().into_iter().flatten() {
            let linked = order::link_of(value).filter(|from| depth < graph.len() && graph.contains_key(from));
            let shown = match linked {
                Some(from) => format!("{}:{}", self.signature(graph, &from, done, depth + 1), value[1]),
                None => value.to_string(),
            };
            text.push_str(&format!("|{name}={shown}"));
        }
        if let (Some("LoadImage"), Some(name)) =
            (node["class_type"].as_str(), node["inputs"]["image"].as_str())
        {
            // The server looks at the file, not only at its name.
            let bytes = self.files.read_input(name).unwrap_or_default();
            text.push_str(&chance::hex(0, &[&bytes], 16));
        }
        let signature = chance::hash(0, &[text.as_bytes()]);
        done.insert(id.to_owned(), signature);
        signature
    }

    fn is_video(&self, graph: &Graph) -> bool {
        graph.values().any(|node| {
            matches!(
                node["class_type"].as_str(),
                Some(
                    "EmptyHunyuanLatentVideo"
                        | "WanImageToVideo"
                        | "CreateVideo"
                        | "SaveAnimatedWEBP"
                        | "VHS_VideoCombine"
                )
            )
        })
    }

    fn sampler_steps(&self, graph: &Graph, id: &str) -> u64 {
        let own = graph[id]["inputs"]["steps"].as_u64();
        let scheduler = || {
            let from = order::link_of(&graph[id]["inputs"]["sigmas"])?;
            graph.get(&from)?["inputs"]["steps"].as_u64()
        };
        own.or_else(scheduler).unwrap_or(20)
    }

    /// Writes what an output node made and says how it is shown.
    fn keep(&self, inputs: &Value, rendered: &Rendered) -> std::io::Result<Value> {
        if rendered.files.is_empty() {
            return Ok(json!({rendered.key: rendered.text}));
        }
        let folder = if rendered.temporary { "temp" } else { "output" };
        // Previews get a prefix that differs from start to start.
        let letters = chance::hex(self.config.seed, &[b"temp", &self.started_ms.to_be_bytes()], 5);
        let temp_prefix = format!("ComfyUI_temp_{}", letters.replace(|c: char| c.is_ascii_digit(), "x"));
        let prefix = inputs["filename_prefix"].as_str().unwrap_or(&temp_prefix);
        let mut items = Vec::new();
        for (extension, bytes) in &rendered.files {
            let (filename, subfolder) = self.files.save(folder, prefix, extension, bytes)?;
            let mut item = json!({"filename": filename, "subfolder": subfolder, "type": folder});
            if let Some((format, rate)) = &rendered.format {
                item["format"] = json!(format);
                item["frame_rate"] = json!(rate);
            }
            items.push(item);
        }
        let mut output = json!({rendered.key: items});
        if rendered.animated {
            output["animated"] = json!([true]);
        }
        Ok(output)
    }
}
