//! Runs one job at a time, node by node, and tells the sockets about it in the real server's order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::order::{self, link_of};
use super::queue::{Item, Past, Running};
use super::{Comfy, render};
use crate::{chance, clock};

/// Share of the time of a job that its samplers take, in percent; the rest goes to loading and decoding.
const SAMPLER_SHARE: u64 = 80;
/// At most this many progress steps are shown for one node.
const MAX_STEPS: u64 = 200;
/// What is held tells of its step this often.
const HELD_STEP: Duration = Duration::from_millis(50);

/// How a job ended.
enum End {
    Success,
    Error(Value),
    Interrupted(Value),
}

/// Why a node stopped.
enum Stop {
    Raised { kind: &'static str, message: String },
    Interrupted,
}

impl Comfy {
    /// The server's worker thread. A restart abandons what it is doing.
    pub(super) async fn run_for_ever(self: Arc<Self>) {
        loop {
            let life = self.life();
            tokio::select! {
                () = life.cancelled() => {}
                () = self.work() => {}
            }
        }
    }

    async fn work(&self) {
        loop {
            let Some(item) = self.start_next() else {
                self.wake.notified().await;
                continue;
            };
            self.status();
            let _running = self.admin.running();
            self.admin.begin_run(&item.id);
            self.run_job(item).await;
        }
    }

    fn start_next(&self) -> Option<Item> {
        let mut queue = self.queue();
        let item = queue.pop()?;
        queue.running = Some(Running {
            item: item.clone(),
            started_ms: clock::now_ms(),
            last_node: None,
            interrupt_at_ms: None,
        });
        Some(item)
    }

    async fn run_job(&self, item: Item) {
        let started_ms = clock::now_ms();
        let mut run = Run::new(self, &item);
        let start = run.stamped(json!({}));
        run.note("execution_start", &start);
        let mut cached: Vec<String> = run.cached.iter().cloned().collect();
        cached.sort();
        let data = run.stamped(json!({"nodes": cached}));
        run.note("execution_cached", &data);
        let end = run.nodes().await;
        let (messages, outputs) = (run.messages, run.outputs);
        let mut messages = messages;
        let (kind, data, status) = match end {
            End::Success => {
                let data = json!({"prompt_id": item.id, "timestamp": clock::now_ms()});
                ("execution_success", data, "success")
            }
            End::Error(data) => ("execution_error", data, "error"),
            End::Interrupted(data) => ("execution_interrupted", data, "error"),
        };
        if kind == "execution_interrupted" {
            self.sockets.broadcast(kind, &data);
        } else {
            self.tell(&item, kind, &data);
        }
        messages.push(json!([kind, data]));
        if let Some(fault) = self.admin.take("late_history") {
            tokio::time::sleep(Duration::from_millis(fault.delay_ms.unwrap_or(1500))).await;
        }
        self.admin.count_state(kind.trim_start_matches("execution_"));
        let mut queue = self.queue();
        queue.running = None;
        queue.remember(Past {
            id: item.id.clone(),
            outputs,
            status: json!({"status_str": status, "completed": status == "success", "messages": messages}),
            started_ms,
            ended_ms: clock::now_ms(),
            item: item.clone(),
        });
        drop(queue);
        self.status();
        self.tell(&item, "executing", &json!({"node": null, "prompt_id": item.id}));
    }

    /// To the client that owns the job, if it named itself.
    fn tell(&self, item: &Item, kind: &str, data: &Value) {
        if let Some(client) = &item.client_id {
            self.sockets.send(client, kind, data);
        }
    }

    /// Messages that reach everybody when the job has no owner.
    fn tell_or_broadcast(&self, item: &Item, kind: &str, data: &Value) {
        match &item.client_id {
            Some(client) => self.sockets.send(client, kind, data),
            None => self.sockets.broadcast(kind, data),
        }
    }

    fn interrupted(&self) -> bool {
        let now_ms = clock::now_ms();
        self.queue().running.as_ref().is_some_and(|run| run.interrupt_at_ms.is_some_and(|at| at <= now_ms))
    }
}

/// One execution of one job.
struct Run<'a> {
    comfy: &'a Comfy,
    item: &'a Item,
    /// What identifies each node's result: class, inputs and everything above.
    signatures: HashMap<String, u64>,
    cached: HashSet<String>,
    latency_ms: u64,
    progress: Map<String, Value>,
    executed: Vec<String>,
    outputs: Map<String, Value>,
    messages: Vec<Value>,
}

impl<'a> Run<'a> {
    fn new(comfy: &'a Comfy, item: &'a Item) -> Self {
        let signatures = comfy.signatures(&item.graph);
        let mut queue = comfy.queue();
        // Only what this graph uses stays in the cache, as in the server's default cache.
        let wanted: HashSet<u64> = signatures.values().copied().collect();
        queue.cache.retain(|signature, _| wanted.contains(signature));
        let cached = signatures
            .iter()
            .filter(|(_, s)| queue.cache.contains_key(s))
            .map(|(id, _)| id.clone())
            .collect();
        drop(queue);
        let video = comfy.is_video(&item.graph);
        let median_ms = if video { comfy.config.video_median_ms } else { comfy.config.image_median_ms };
        let latency_ms = chance::latency_ms(median_ms, comfy.config.seed, item.id.as_bytes());
        Self {
            comfy,
            item,
            signatures,
            cached,
            latency_ms,
            progress: Map::new(),
            executed: Vec::new(),
            outputs: Map::new(),
            messages: Vec::new(),
        }
    }

    fn stamped(&self, mut data: Value) -> Value {
        data["prompt_id"] = json!(self.item.id);
        data["timestamp"] = json!(clock::now_ms());
        data
    }

    /// A message that the history keeps.
    fn note(&mut self, kind: &str, data: &Value) {
        self.comfy.tell(self.item, kind, data);
        self.messages.push(json!([kind, data]));
    }

    async fn nodes(&mut self) -> End {
        let plan = order::plan(&self.item.graph, &self.comfy.catalog, &self.item.outputs, &self.cached);
        for id in plan {
            if self.cached.contains(&id) {
                self.show_cached(&id);
                continue;
            }
            if let Err(stop) = self.node(&id).await {
                return self.ended(&id, stop);
            }
            self.executed.push(id);
        }
        End::Success
    }

    fn show_cached(&mut self, id: &str) {
        let value = self.signatures.get(id).and_then(|s| self.comfy.queue().cache.get(s).cloned()).flatten();
        if let Some(output) = value {
            self.show_output(id, &output);
        }
        self.progress_state(id, &json!(1), &json!(1), "finished");
    }

    fn show_output(&mut self, id: &str, output: &Value) {
        let data = json!({"node": id, "display_node": id, "output": output, "prompt_id": self.item.id});
        self.comfy.tell(self.item, "executed", &data);
        self.outputs.insert(id.to_owned(), output.clone());
    }

    async fn node(&mut self, id: &str) -> Result<(), Stop> {
        self.progress_state(id, &json!(0.0), &json!(1.0), "running");
        if let Some(running) = &mut self.comfy.queue().running {
            running.last_node = Some(id.to_owned());
        }
        let data = json!({"node": id, "display_node": id, "prompt_id": self.item.id});
        self.comfy.tell(self.item, "executing", &data);
        if self.comfy.interrupted() {
            return Err(Stop::Interrupted);
        }
        let max = self.execute(id).await?;
        let output = self.finish(id).await?;
        if let Some(output) = &output {
            self.show_output(id, output);
        }
        if let Some(signature) = self.signatures.get(id) {
            self.comfy.queue().cache.insert(*signature, output);
        }
        self.progress_state(id, &max, &max, "finished");
        Ok(())
    }

    /// Spends the node's time; returns the last progress value.
    async fn execute(&mut self, id: &str) -> Result<Value, Stop> {
        let comfy = self.comfy;
        let class = self.item.graph[id]["class_type"].as_str().unwrap_or_default().to_owned();
        let inputs = self.item.graph[id]["inputs"].clone();
        let named =
            |fault: &crate::Fault| fault.node.as_ref().is_none_or(|node| *node == class || node == id);
        let sampler = matches!(class.as_str(), "KSampler" | "KSamplerAdvanced" | "SamplerCustomAdvanced");
        // Unless a node is named, the heavy one breaks: that is where it happens in life.
        let breaks = |fault: &crate::Fault| named(fault) && (fault.node.is_some() || sampler);
        if comfy.admin.take_if("oom", breaks).is_some() {
            let message = "Allocation on device 0 would exceed allowed memory. (out of memory)\n".to_owned();
            return Err(Stop::Raised { kind: "torch.OutOfMemoryError", message });
        }
        if comfy.admin.take_if("hang", breaks).is_some() {
            std::future::pending::<()>().await;
        }
        if comfy.admin.take_if("drop_ws", breaks).is_some()
            && let Some(client) = &self.item.client_id
        {
            comfy.sockets.drop_client(client);
        }
        if comfy.admin.take_if("restart", breaks).is_some() {
            // Wipes the queue and ends this very future at its next await.
            comfy.admin.gate().cut_all();
            comfy.admin.forget();
            std::future::pending::<()>().await;
        }
        let seconds = inputs["seconds"].as_f64().unwrap_or(0.0);
        match class.as_str() {
            "AcceptanceFail" => {
                let message = format!("{}\n", inputs["message"].as_str().unwrap_or_default());
                Err(Stop::Raised { kind: "ValueError", message })
            }
            "AcceptanceSleep" => {
                let steps = inputs["steps"].as_u64().unwrap_or(1);
                let show = inputs["report_progress"] != Value::Bool(false);
                self.steps(id, steps, (seconds * 1000.0) as u64, show).await
            }
            "AcceptanceSlowOutput" => {
                tokio::time::sleep(comfy.scale.wall((seconds * 1000.0) as u64)).await;
                Ok(json!(1.0))
            }
            _ if sampler => {
                let steps = comfy.sampler_steps(&self.item.graph, id);
                self.steps(id, steps, self.latency_ms * SAMPLER_SHARE / 100, true).await
            }
            _ => {
                let rest = self.latency_ms * (100 - SAMPLER_SHARE) / 100;
                let share = match class.as_str() {
                    "CheckpointLoaderSimple" | "UNETLoader" => rest / 2,
                    "VAEDecode" | "VAEDecodeTiled" => rest / 2,
                    _ => 0,
                };
                tokio::time::sleep(comfy.scale.wall(share)).await;
                Ok(json!(1.0))
            }
        }
    }

    async fn steps(&mut self, id: &str, steps: u64, total_ms: u64, show: bool) -> Result<Value, Stop> {
        let steps = steps.clamp(1, MAX_STEPS);
        // `hold`: as if it worked on its first step, for as long as the fault is armed.
        while self.comfy.admin.is_armed("hold") {
            tokio::time::sleep(HELD_STEP).await;
            self.step(id, 1, steps)?;
        }
        for step in 1..=steps {
            tokio::time::sleep(self.comfy.scale.wall(total_ms) / steps as u32).await;
            if show {
                self.step(id, step, steps)?;
                self.preview(id, step);
            }
        }
        Ok(if show { json!(steps) } else { json!(1.0) })
    }

    fn step(&mut self, id: &str, step: u64, steps: u64) -> Result<(), Stop> {
        if self.comfy.interrupted() {
            return Err(Stop::Interrupted);
        }
        self.progress_state(id, &json!(step), &json!(steps), "running");
        let data = json!({"value": step, "max": steps, "prompt_id": self.item.id, "node": id});
        self.comfy.tell_or_broadcast(self.item, "progress", &data);
        Ok(())
    }

    fn preview(&self, id: &str, step: u64) {
        let (true, Some(client)) = (self.comfy.config.previews, &self.item.client_id) else { return };
        let scene = crate::picture::Scene {
            width: 64,
            height: 64,
            prompt: String::new(),
            seed: step,
            label: "",
            plain: Some((step * 0x0a_0a_0a) as u32 & 0xff_ffff),
        };
        let metadata = json!({"node_id": id, "prompt_id": self.item.id, "display_node_id": id,
            "parent_node_id": null, "real_node_id": id, "image_type": "image/png"});
        self.comfy.sockets.preview(client, &crate::picture::png(&scene), &metadata);
    }

    /// Makes the files of an output node.
    async fn finish(&self, id: &str) -> Result<Option<Value>, Stop> {
        let class = self.item.graph[id]["class_type"].as_str().unwrap_or_default();
        if !self.comfy.catalog.node(class).is_some_and(|node| node.output_node) {
            return Ok(None);
        }
        let (graph, catalog, files) =
            (self.item.graph.clone(), self.comfy.catalog.clone(), self.comfy.files.clone());
        let node = id.to_owned();
        let drawn = tokio::task::spawn_blocking(move || {
            let read = |name: &str| files.read_input(name);
            render::render(&graph, &catalog, &node, super::LABEL, &read)
        });
        let Ok(rendered) = drawn.await else {
            return Err(Stop::Raised {
                kind: "RuntimeError",
                message: "the picture could not be drawn\n".to_owned(),
            });
        };
        self.comfy
            .keep(&self.item.graph[id]["inputs"], &rendered)
            .map(Some)
            .map_err(|error| Stop::Raised { kind: "OSError", message: format!("{error}\n") })
    }

    fn progress_state(&mut self, id: &str, value: &Value, max: &Value, state: &str) {
        let node = json!({"value": value, "max": max, "state": state, "node_id": id, "prompt_id": self.item.id,
            "display_node_id": id, "parent_node_id": null, "real_node_id": id});
        self.progress.insert(id.to_owned(), node);
        let data = json!({"prompt_id": self.item.id, "nodes": self.progress});
        self.comfy.tell_or_broadcast(self.item, "progress_state", &data);
    }

    fn ended(&self, id: &str, stop: Stop) -> End {
        let mut data = self.stamped(json!({
            "node_id": id,
            "node_type": self.item.graph[id]["class_type"],
            "executed": self.executed,
        }));
        match stop {
            Stop::Interrupted => End::Interrupted(data),
            Stop::Raised { kind, message } => {
                data["exception_message"] = json!(message);
                data["exception_type"] = json!(kind);
                data["traceback"] = json!(["<simulated>"]);
                data["current_inputs"] = self.shown_inputs(id);
                data["current_outputs"] = json!(self.executed);
                End::Error(data)
            }
        }
    }

    fn shown_inputs(&self, id: &str) -> Value {
        let inputs = self.item.graph[id]["inputs"].as_object();
        let shown = inputs.into_iter().flatten().map(|(name, value)| {
            let text = if link_of(value).is_some() { json!("tensor(...)") } else { value.clone() };
            (name.clone(), json!([text]))
        });
        shown.collect::<Map<_, _>>().into()
    }
}
