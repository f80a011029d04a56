//! Attempts to run, and a backend to run them on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use schemas::catalog::{ClassSpec, Model};
use schemas::{ArtifactRef, Assignment, Body, Catalog, Input, JobId, Kind, Outcome, Service};
use serde_json::{Value, json};
use worker_host::conformance::MemoryIo;
use worker_host::{Attempt, Backend, Stopper};
use worker_local::{ComfyBackend, ComfyConfig};

/// Far above what any run takes.
const LIMIT: Duration = Duration::from_secs(30);

/// A configuration that is impatient enough for tests.
pub(crate) fn config(url: &str) -> ComfyConfig {
    ComfyConfig {
        url: url.to_owned(),
        poll_ms: 50,
        poll_min_ms: 5,
        history_grace_ms: 300,
        request_timeout_ms: 5_000,
        cancel_wait_ms: 5_000,
        ..ComfyConfig::default()
    }
}

/// One class, one model, one service.
pub(crate) fn catalog() -> Arc<Catalog> {
    let class: schemas::Class = "image-small".parse().expect("a name");
    let template = json!({
        "3": {"class_type": "KSampler", "inputs": {"seed": "{{seed}}", "steps": "{{steps}}", "cfg": 7.0,
            "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0, "model": ["4", 0],
            "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
        "4": {"class_type": "CheckpointLoaderSimple",
            "inputs": {"ckpt_name": "v1-5-pruned-emaonly-fp16.safetensors"}},
        "5": {"class_type": "EmptyLatentImage",
            "inputs": {"width": "{{width}}", "height": "{{height}}", "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "{{prompt}}", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "{{negative_prompt}}", "clip": ["4", 1]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "{{prefix}}"}},
    });
    Arc::new(Catalog {
        classes: vec![
            ClassSpec { class: class.clone(), kind: Kind::Image, vram_bytes: 4 << 30 },
            ClassSpec { class: "huge".parse().expect("a name"), kind: Kind::Image, vram_bytes: 1 << 50 },
        ],
        models: vec![Model {
            needs: schemas::catalog::Needs::default(),
            model: "sd15".to_owned(),
            class: class.clone(),
            files: vec!["v1-5-pruned-emaonly-fp16.safetensors".to_owned()],
            width: 64,
            height: 64,
            steps: 8,
            duration_ms: 0,
            template,
        }],
        default_models: [(Kind::Image, "sd15".to_owned())].into(),
        default_classes: [(Kind::Image, class.clone())].into(),
        services: vec![service(class), service("huge".parse().expect("a name"))],
        server_inputs: Default::default(),
    })
}

fn service(class: schemas::Class) -> Service {
    Service {
        backend: "local".parse().expect("a name"),
        class,
        model: "comfyui".to_owned(),
        family: "comfyui".to_owned(),
        prompts: true,
        workflows: true,
        inputs: true,
        expected_usage: Vec::new(),
        maximum_usage: Vec::new(),
        stops_at_reservation: false,
        startup_ms: 0,
        expected_ms: 1_000,
        timeout_ms: 60_000,
        retires_at_ms: None,
    }
}

/// An assignment of a fresh job.
pub(crate) fn assignment(body: Body) -> Assignment {
    let mut assignment = schemas::samples::assignment();
    assignment.class = "image-small".parse().expect("a name");
    assignment.job.id = JobId::new();
    assignment.job.body = body;
    assignment
}

/// A job with this workflow.
pub(crate) fn workflow(graph: &Value) -> Body {
    Body { kind: Kind::Image, workflow: Some(graph.clone()), ..Body::default() }
}

/// A job with a prompt.
pub(crate) fn prompt() -> Body {
    Body { kind: Kind::Image, prompt: Some("a lighthouse".to_owned()), ..Body::default() }
}

/// An attempt and what it is connected to.
pub(crate) struct Case {
    pub(crate) backend: Arc<ComfyBackend>,
    pub(crate) attempt: Attempt,
    pub(crate) stopper: Stopper,
    pub(crate) io: Arc<MemoryIo>,
}

impl Case {
    pub(crate) fn new(config: ComfyConfig, assignment: impl Into<Arc<Assignment>>) -> Self {
        let backend = Arc::new(ComfyBackend::new(config, catalog).expect("a good configuration"));
        let io = Arc::new(MemoryIo::default());
        let stopper = Stopper::default();
        let catalog = catalog();
        let service = catalog.services[0].clone();
        let outside: Arc<dyn worker_host::AttemptIo> = Arc::<MemoryIo>::clone(&io);
        let attempt = Attempt::new(assignment, catalog, service, None, outside, stopper.clone());
        Self { backend, attempt, stopper, io }
    }

    /// Brings a file.
    pub(crate) fn input(name: &str) -> Input {
        let artifact = ArtifactRef::new("ARTIFACTS", format!("in/{name}"));
        let (media_type, unknown) = ("image/png".to_owned(), schemas::UnknownFields::default());
        Input { name: name.to_owned(), artifact, media_type, unknown }
    }

    pub(crate) fn store(&self, name: &str, bytes: &'static [u8]) {
        self.io.files.lock().expect("no panic").insert(format!("in/{name}"), Bytes::from_static(bytes));
    }

    pub(crate) async fn run(&self) -> Outcome {
        tokio::time::timeout(LIMIT, self.backend.run(&self.attempt)).await.expect("an end in time")
    }
}
