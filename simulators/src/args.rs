//! Arguments of the `simulators` command.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use simulators::{comfyui, gemini, runpod};

/// Simulated providers for tests and demos; nothing behind them is real.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:\n  simulators comfyui --listen 127.0.0.1:8188\n  simulators runpod --time-scale 0.01 \
                  --state-dir /tmp/runpod\n  curl -X PUT localhost:8188/_admin/faults -H 'content-type: \
                  application/json' -d '[{\"name\":\"oom\",\"times\":1}]'"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// A ComfyUI server.
    Comfyui(ComfyUi),
    /// A RunPod serverless endpoint with worker-comfyui.
    Runpod(RunPod),
    /// The Gemini API.
    Gemini(Gemini),
}

impl Command {
    pub(crate) fn common(&self) -> &Common {
        match self {
            Self::Comfyui(args) => &args.common,
            Self::Runpod(args) => &args.common,
            Self::Gemini(args) => &args.common,
        }
    }
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Common {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Same seed, same latencies, token counts and pictures.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Wall time per provider time; 0.01 is a hundred times faster than life.
    #[arg(long, default_value_t = 1.0)]
    time_scale: f64,
    /// Where the port is written once the simulator listens.
    #[arg(long)]
    pub(crate) port_file: Option<PathBuf>,
    /// Keeps what the provider would remember (bill, jobs, files) across restarts.
    #[arg(long)]
    state_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ModeArg {
    Old,
    Recorded,
    New,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ComfyUi {
    #[command(flatten)]
    common: Common,
    /// Which server to be: without jobs API, as recorded (0.3.64), or newest.
    #[arg(long, value_enum, default_value = "new")]
    mode: ModeArg,
    /// Adds the nodes and the checkpoint of the recorded transcripts.
    #[arg(long)]
    acceptance_nodes: bool,
    /// Sends preview pictures while sampling.
    #[arg(long)]
    previews: bool,
    /// Installs one more model file, as `folder/name`. Repeatable.
    #[arg(long, value_name = "FOLDER/NAME")]
    model: Vec<String>,
    /// Removes an installed model file by name. Repeatable.
    #[arg(long, value_name = "NAME")]
    without_model: Vec<String>,
    /// Median duration of a picture, provider milliseconds.
    #[arg(long, default_value_t = 4_000)]
    image_median_ms: u64,
    /// Median duration of a film, provider milliseconds.
    #[arg(long, default_value_t = 12_000)]
    video_median_ms: u64,
    /// GPU memory shown by `/system_stats`, bytes.
    #[arg(long, default_value_t = 25_757_220_864)]
    vram_bytes: u64,
}

impl ComfyUi {
    pub(crate) fn config(self) -> anyhow::Result<comfyui::Config> {
        let mut models = comfyui::default_models();
        for model in &self.model {
            let (folder, name) =
                model.split_once('/').with_context(|| format!("--model {model}: want FOLDER/NAME"))?;
            models.entry(folder.to_owned()).or_default().push(name.to_owned());
        }
        for files in models.values_mut() {
            files.retain(|name| !self.without_model.contains(name));
        }
        Ok(comfyui::Config {
            listen: self.common.listen,
            seed: self.common.seed,
            time_scale: self.common.time_scale,
            state_dir: self.common.state_dir,
            mode: match self.mode {
                ModeArg::Old => comfyui::Mode::Old,
                ModeArg::Recorded => comfyui::Mode::Recorded,
                ModeArg::New => comfyui::Mode::New,
            },
            models,
            acceptance_nodes: self.acceptance_nodes,
            previews: self.previews,
            image_median_ms: self.image_median_ms,
            video_median_ms: self.video_median_ms,
            vram_bytes: self.vram_bytes,
            ..comfyui::Config::default()
        })
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OutputArg {
    Base64,
    S3Url,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunPod {
    #[command(flatten)]
    common: Common,
    /// The key that requests must carry.
    #[arg(long, default_value = "sim-runpod-key")]
    api_key: String,
    /// The endpoint's id: requests go to `/v2/{endpoint}/…`.
    #[arg(long, default_value = "sim-endpoint")]
    endpoint: String,
    /// Most workers at a time.
    #[arg(long, default_value_t = 3)]
    workers: usize,
    /// Start-up of a cold worker, provider milliseconds.
    #[arg(long, default_value_t = 8_000)]
    cold_start_ms: u64,
    /// How long a worker stays without work, and is billed, before it stops, provider milliseconds.
    #[arg(long, default_value_t = 5_000)]
    idle_timeout_ms: u64,
    /// Jobs take whole seconds: who bills milliseconds and who bills begun seconds then charge the same.
    #[arg(long)]
    whole_seconds: bool,
    /// Price of a worker's time, micro-dollars per second.
    #[arg(long, default_value_t = 190)]
    rate_micro_usd_per_s: u64,
    /// How results are handed over.
    #[arg(long, value_enum, default_value = "base64")]
    output: OutputArg,
    /// How many of a hundred jobs answer in the shape of another version or handler.
    #[arg(long, default_value_t = 0, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    odd_outputs: u8,
    /// How many of a hundred jobs complete without a file.
    #[arg(long, default_value_t = 0, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    unusable_outputs: u8,
    /// Median execution of a picture, provider milliseconds.
    #[arg(long, default_value_t = 33_000)]
    image_median_ms: u64,
    /// Median execution of a film, provider milliseconds.
    #[arg(long, default_value_t = 120_000)]
    video_median_ms: u64,
}

impl RunPod {
    pub(crate) fn config(self) -> runpod::Config {
        runpod::Config {
            listen: self.common.listen,
            seed: self.common.seed,
            time_scale: self.common.time_scale,
            state_dir: self.common.state_dir,
            api_key: self.api_key,
            endpoint_id: self.endpoint,
            workers: self.workers,
            cold_start_ms: self.cold_start_ms,
            idle_timeout_ms: self.idle_timeout_ms,
            whole_seconds: self.whole_seconds,
            rate_micro_usd_per_s: self.rate_micro_usd_per_s,
            output: match self.output {
                OutputArg::Base64 => runpod::OutputMode::Base64,
                OutputArg::S3Url => runpod::OutputMode::S3Url,
            },
            odd_outputs_percent: self.odd_outputs,
            unusable_outputs_percent: self.unusable_outputs,
            image_median_ms: self.image_median_ms,
            video_median_ms: self.video_median_ms,
            ..runpod::Config::default()
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Gemini {
    #[command(flatten)]
    common: Common,
    /// The key that requests must carry.
    #[arg(long, default_value = "sim-gemini-key")]
    api_key: String,
    /// How many of a hundred answers have an odd shape, with or without a picture.
    #[arg(long, default_value_t = 0, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    odd_answers: u8,
    /// Requests per minute and model; no limit without it.
    #[arg(long)]
    rpm: Option<u32>,
    /// Median duration of a picture, provider milliseconds.
    #[arg(long, default_value_t = 8_000)]
    image_median_ms: u64,
    /// Median duration of a film, provider milliseconds.
    #[arg(long, default_value_t = 40_000)]
    video_median_ms: u64,
}

impl Gemini {
    pub(crate) fn config(self) -> gemini::Config {
        gemini::Config {
            listen: self.common.listen,
            seed: self.common.seed,
            time_scale: self.common.time_scale,
            state_dir: self.common.state_dir,
            api_key: self.api_key,
            odd_answers_percent: self.odd_answers,
            rpm: self.rpm,
            image_median_ms: self.image_median_ms,
            video_median_ms: self.video_median_ms,
            ..gemini::Config::default()
        }
    }
}
