//! The backend: one ComfyUI server's way of discovering, running and stopping.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use runtime::clock;
use schemas::workflow::files::{Files, ForeignFile, server_inputs, upload_name};
use schemas::{Catalog, Failure, FailureCode, Health, Outcome, Phase};
use serde_json::Value;
use tokio::time::Instant;
use worker_host::inputs::InputLimit;
use worker_host::{Attempt, Backend, Discovery, Found};

use crate::comfy::cancel::cancel;
use crate::comfy::client::Client;
use crate::comfy::discovery::{self, Abilities};
use crate::comfy::errors::{self, IsFileChoice};
use crate::comfy::graph::{self, Source};
use crate::comfy::lookup::{Place, lookup};
use crate::comfy::results;
use crate::comfy::socket::Socket;
use crate::comfy::stuck::Stuck;
use crate::comfy::times;
use crate::comfy::watch::Watch;
use crate::comfy::wire::{End, HistoryEntry};
use crate::config::ComfyConfig;
use crate::gpu::Gpus;

/// What the inputs of one job may come to; they are loaded and uploaded one by one.
const INPUT_LIMIT: InputLimit = InputLimit { max_bytes: 1 << 30, is_base64: false, of: "a ComfyUI worker" };
/// How long a submission waits for the socket, so that the first messages are not missed.
const SOCKET_WAIT: Duration = Duration::from_secs(2);
/// After an unconfirmed submission the server is asked so often whether it has the job.
const CONFIRMING_LOOKS: u32 = 3;
/// Pause between those looks.
const CONFIRMING_PAUSE: Duration = Duration::from_millis(300);
/// After an answer that could not be had, nodes and models are asked again no sooner than this.
const ABILITIES_PAUSE: Duration = Duration::from_secs(30);

/// What is wrong with a server that is older than the release that takes prompt ids from its clients.
const IDS_OF_ITS_OWN: &str =
    "this ComfyUI gives jobs ids of its own, so they cannot be found again: update it to 0.3.45 or newer";

/// Runs attempts on one ComfyUI server.
pub struct ComfyBackend {
    config: ComfyConfig,
    client: Client,
    /// The catalog in force.
    catalog: Box<dyn Fn() -> Arc<Catalog> + Send + Sync>,
    gpus: Gpus,
    known: Mutex<Known>,
    stuck: Stuck,
    /// The server gave a job another id than the one it was submitted with. No job of ours would be found there again.
    ids_of_its_own: AtomicBool,
}

/// What was learned of the server, and when.
#[derive(Default)]
struct Known {
    abilities: Option<Arc<Abilities>>,
    asked_at: Option<Instant>,
    version: String,
}

impl ComfyBackend {
    /// A backend for the configured server, which need not be there yet. `catalog` gives the catalog in
    /// force.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(
        config: ComfyConfig,
        catalog: impl Fn() -> Arc<Catalog> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let client = Client::new(&config)?;
        Ok(Self {
            config,
            client,
            catalog: Box::new(catalog),
            gpus: Gpus::new(),
            known: Mutex::default(),
            stuck: Stuck::default(),
            ids_of_its_own: AtomicBool::new(false),
        })
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Nodes and models, from memory while they are fresh. Large answers can be slow: a server that
    /// does not give one in time is healthy all the same, and asked again later.
    async fn abilities(&self, version: &str) -> Option<Arc<Abilities>> {
        {
            let known = self.known();
            let fresh = if known.abilities.is_some() {
                Duration::from_millis(self.config.refresh_ms)
            } else {
                ABILITIES_PAUSE
            };
            if known.version == version && known.asked_at.is_some_and(|at| at.elapsed() < fresh) {
                return known.abilities.clone();
            }
        }
        let answer = self.client.object_info().await;
        if let Err(error) = &answer {
            tracing::warn!(%error, "the server does not list its nodes and models");
        }
        let abilities = answer.ok().map(|info| Arc::new(discovery::abilities(&info)));
        let known = Known { abilities, asked_at: Some(Instant::now()), version: version.to_owned() };
        let abilities = known.abilities.clone();
        *self.known() = known;
        abilities
    }

    /// What the inputs of the server's nodes are. Without it no workflow is submitted: it could name any file.
    async fn abilities_to_run(&self) -> Result<Arc<Abilities>, Failure> {
        if let Some(abilities) = self.known().abilities.clone() {
            return Ok(abilities);
        }
        let info = self.client.object_info().await.map_err(|error| errors::unanswered(&error))?;
        let abilities = Arc::new(discovery::abilities(&info));
        self.known().abilities = Some(Arc::clone(&abilities));
        Ok(abilities)
    }

    /// From wherever the attempt is to its end and its artifacts.
    async fn work(&self, attempt: &Attempt, id: &str) -> Result<Outcome, Failure> {
        let entry = self.until_end(attempt, id).await?;
        let ran = times::ran(&entry, attempt.assignment.time_ms, clock::now_ms()).map(Box::new);
        let source = graph::source(&attempt.assignment.job.body);
        Ok(match results::collect(&self.client, attempt, &entry, source).await {
            Ok(artifacts) => Outcome { artifacts, ran, ..Outcome::default() },
            Err(failure) => Outcome { failure: Some(failure), ran, ..Outcome::default() },
        })
    }

    /// From wherever the attempt is to what the server says of its end.
    async fn until_end(&self, attempt: &Attempt, id: &str) -> Result<HistoryEntry, Failure> {
        match self.place(id).await? {
            Place::Ended(entry) if entry.end() != End::Interrupted => Ok(*entry),
            Place::Running { client_id } | Place::Pending { client_id, .. } => {
                self.rejoin(attempt, id, client_id).await
            }
            Place::Ended(_) | Place::Absent if attempt.resume_id.is_some() => {
                let message = "the server no longer has the job that was to be resumed";
                Err(Failure::new(FailureCode::BackendDown, message))
            }
            Place::Ended(_) => {
                // A drain interrupted it earlier. The old entry must not be taken for the new run's.
                self.client.forget(id).await.map_err(|error| errors::unanswered(&error))?;
                self.fresh(attempt, id).await
            }
            Place::Absent => self.fresh(attempt, id).await,
        }
    }

    /// Where the job is before anything is done. A record that cannot be had ends a job only when it is repeatedly so.
    async fn place(&self, id: &str) -> Result<Place, Failure> {
        let mut looks = 1;
        loop {
            match lookup(&self.client, id).await {
                Ok(place) => return Ok(place),
                Err(error) if error.is_of_one_job() && looks < CONFIRMING_LOOKS => looks += 1,
                Err(error) => return Err(errors::unanswered(&error)),
            }
            tokio::time::sleep(CONFIRMING_PAUSE).await;
        }
    }

    /// Goes on watching what an earlier delivery submitted.
    async fn rejoin(
        &self,
        attempt: &Attempt,
        id: &str,
        client_id: Option<String>,
    ) -> Result<HistoryEntry, Failure> {
        tracing::info!(provider_id = id, "the server has the job already");
        attempt.started(id).await?;
        let socket = match &client_id {
            Some(client_id) => self.socket(client_id),
            None => Socket::none(),
        };
        let client_id = client_id.unwrap_or_default();
        let watch = self.watch(attempt, id, BTreeMap::new(), socket, client_id);
        Box::pin(watch.until_end(false)).await
    }

    /// Uploads, submits and watches.
    async fn fresh(&self, attempt: &Attempt, id: &str) -> Result<HistoryEntry, Failure> {
        let job = &attempt.assignment.job;
        let prefix = graph::prefix(attempt.id());
        let mut prompt = graph::build(&job.body, job.id, &attempt.catalog, &prefix)?;
        let abilities = self.abilities_to_run().await?;
        let server = server_inputs(&job.body, &attempt.catalog);
        let is_servers = |name: &str| server.contains(name);
        let use_of = |class: &str, input: &str| abilities.use_of(class, input);
        let own = || job.body.inputs.iter().map(|input| input.name.as_str());
        let mut files = Files {
            own: own().map(|name| (name, String::new())).collect(),
            server: &is_servers,
            uses: &use_of,
            uploads: Some(graph::FOLDER),
        };
        let foreign = |error: ForeignFile| error.failure();
        // Before anything is uploaded; and again when the names of the uploads are in it.
        files.check(&prompt).map_err(foreign)?;
        files.own = own().zip(self.upload(attempt, &prefix).await?).collect();
        files.rewrite(&mut prompt).map_err(foreign)?;
        abilities.spell(&mut prompt);
        if attempt.id().attempt > 1 {
            graph::run_anew(&mut prompt, |class| abilities.outputs.contains(class), attempt.id());
        }
        // A fresh id: two sockets with one id silence each other.
        let client_id = uuid::Uuid::now_v7().to_string();
        let mut socket = self.socket(&client_id);
        let hears = socket.settled(SOCKET_WAIT).await;
        let nodes = graph::node_classes(&prompt);
        let is_file_choice = |class: &str, input: &str| abilities.is_file_choice(class, input);
        let request = graph::request(&prompt, &job.body, id, &client_id);
        self.submit(&request, id, graph::source(&job.body), &is_file_choice).await?;
        attempt.started(id).await?;
        let watch = self.watch(attempt, id, nodes, socket, client_id);
        Box::pin(watch.until_end(hears)).await
    }

    fn socket(&self, client_id: &str) -> Socket {
        if !self.config.websocket {
            return Socket::none();
        }
        Socket::open(self.client.socket_url(client_id), self.client.headers().clone())
    }

    fn watch<'a>(
        &'a self,
        attempt: &'a Attempt,
        id: &'a str,
        nodes: BTreeMap<String, String>,
        socket: Socket,
        client_id: String,
    ) -> Watch<'a> {
        let (client, config, stuck) = (&self.client, &self.config, &self.stuck);
        Watch { client, config, stuck, attempt, id, nodes, socket, client_id }
    }

    /// Uploads the job's inputs, each under a name that is this attempt's alone; what the graph must say for each.
    async fn upload(&self, attempt: &Attempt, prefix: &str) -> Result<Vec<String>, Failure> {
        attempt.measure_inputs(&INPUT_LIMIT).await?;
        let mut references = Vec::new();
        for (index, input) in attempt.assignment.job.body.inputs.iter().enumerate() {
            attempt.progress(Phase::Uploading, 0, 0, Some(&input.name));
            let bytes = attempt.load(input).await?;
            let name = upload_name(index, &input.name);
            let folder = graph::upload_folder(prefix, &name);
            let uploaded = self.client.upload(&folder, &name, &input.media_type, bytes).await;
            let uploaded = uploaded.map_err(|error| errors::not_uploaded(&input.name, &error))?;
            if uploaded.subfolder.replace('\\', "/") != folder {
                return Err(errors::uploaded_elsewhere(&input.name, &folder, &uploaded));
            }
            references.push(uploaded.reference());
        }
        Ok(references)
    }

    /// Submits once. The server runs a repeated submission twice, so after a lost answer it is asked
    /// whether it has the job, and gets it again only if it has not.
    async fn submit(
        &self,
        request: &Value,
        id: &str,
        source: Source,
        is_file_choice: IsFileChoice<'_>,
    ) -> Result<(), Failure> {
        let mut answer = self.client.submit(request).await;
        if let Err(error) = &answer
            && error.may_have_arrived()
        {
            tracing::warn!(%error, provider_id = id, "the submission was not confirmed");
            if self.has(id).await? {
                return Ok(());
            }
            answer = self.client.submit(request).await;
        }
        let (status, answer) = answer.map_err(|error| errors::unanswered(&error))?;
        if let Some(other) = answer.prompt_id.as_deref().filter(|other| status == 200 && *other != id) {
            self.ids_of_its_own.store(true, Ordering::Relaxed);
            self.stop_at_server(other).await;
            return Err(Failure::new(FailureCode::BackendDown, IDS_OF_ITS_OWN));
        }
        if status == 200 && answer.node_errors.is_empty() && answer.error.is_none() {
            return Ok(());
        }
        if status == 200 {
            // Part of it is queued and would run.
            self.stop_at_server(id).await;
        }
        Err(errors::refused(&answer, source, is_file_choice))
    }

    /// Whether the server has the job after all.
    async fn has(&self, id: &str) -> Result<bool, Failure> {
        for _ in 0..CONFIRMING_LOOKS {
            let place = lookup(&self.client, id).await.map_err(|error| errors::unanswered(&error))?;
            if place != Place::Absent {
                return Ok(true);
            }
            tokio::time::sleep(CONFIRMING_PAUSE).await;
        }
        Ok(false)
    }

    /// Stops the job at the server as well as can be; failing to must not hide why it is stopped. Waits
    /// a while for it to leave the GPU, so that the next job does not queue behind it.
    async fn stop_at_server(&self, id: &str) {
        let limit = Duration::from_millis(self.config.cancel_wait_ms);
        match tokio::time::timeout(limit, cancel(&self.client, id)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, provider_id = id, "the job could not be stopped"),
            Err(_) => tracing::warn!(provider_id = id, "the job has not left the server yet"),
        }
    }
}

/// What the server knows the attempt by: derived from the attempt, so that any worker finds it again.
fn prompt_id(attempt: &Attempt) -> String {
    attempt.resume_id.clone().unwrap_or_else(|| attempt.id().derived_uuid().as_hyphenated().to_string())
}

#[async_trait]
impl Backend for ComfyBackend {
    /// The machines are our own.
    fn is_paid(&self) -> bool {
        false
    }

    fn has_own_server(&self) -> bool {
        true
    }

    async fn abandon(&self, attempt: &Attempt) {
        self.stop_at_server(&prompt_id(attempt)).await;
    }

    async fn discover(&self) -> Discovery {
        let stats = match self.client.system_stats().await {
            Ok(stats) => stats,
            Err(error) => {
                // It may come back as another version, with other nodes and models.
                self.client.forget_version();
                self.stuck.forget();
                self.ids_of_its_own.store(false, Ordering::Relaxed);
                *self.known() = Known::default();
                let failure = errors::unanswered(&error);
                return Discovery::unwell(Health::Down, format!("{} ({error})", failure.message));
            }
        };
        if self.ids_of_its_own.load(Ordering::Relaxed) {
            return Discovery::unwell(Health::Down, IDS_OF_ITS_OWN.to_owned());
        }
        if let Some(words) = self.stuck.words(&self.client).await {
            return Discovery::unwell(Health::Down, words);
        }
        let abilities = self.abilities(&stats.system.comfyui_version).await;
        let device = stats.devices.first();
        let gpu = device
            .filter(|device| device.kind == "cuda")
            .and_then(|device| self.gpus.find(self.config.gpu_index.or(device.index), &device.name));
        let gpus = gpu.map_or_else(|| discovery::devices(&stats), |gpu| vec![gpu]);
        let classes = discovery::classes(&(self.catalog)(), &self.config.backend, &gpus);
        Discovery {
            models: abilities.as_ref().map(|abilities| abilities.models.clone()),
            file_choices: abilities.as_ref().map(|abilities| abilities.file_choices.clone()),
            nodes: abilities.map(|abilities| abilities.nodes.clone()),
            gpus,
            ..Discovery::healthy(classes)
        }
    }

    async fn run(&self, attempt: &Attempt) -> Outcome {
        let id = prompt_id(attempt);
        let energy_before_mj = self.gpus.energy_mj();
        let ended = tokio::select! {
            biased;
            stop = attempt.stopped() => Err(stop),
            result = Box::pin(self.work(attempt, &id)) => Ok(result),
        };
        let outcome = match ended {
            Err(stop) => {
                self.stop_at_server(&id).await;
                attempt.stopped_outcome(stop)
            }
            Ok(Ok(outcome)) => outcome,
            Ok(Err(failure)) => Outcome { failure: Some(failure), ..Outcome::default() },
        };
        if outcome.failure.as_ref().is_some_and(|failure| failure.code == FailureCode::BackendDown) {
            // A hung job would run when the server wakes up, although it is elsewhere by then.
            self.stop_at_server(&id).await;
        }
        let energy_mj = energy_before_mj.zip(self.gpus.energy_mj());
        let energy_mj = energy_mj.map(|(before, after)| after.saturating_sub(before));
        Outcome { provider_id: Some(id), energy_mj, ..outcome }
    }

    async fn find(&self, attempt: &Attempt) -> Found {
        let id = prompt_id(attempt);
        match lookup(&self.client, &id).await {
            Ok(Place::Absent) => Found::NotStarted,
            Ok(_) => Found::Started(id),
            Err(_) => Found::Unknown,
        }
    }
}
