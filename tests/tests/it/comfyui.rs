//! The whole fleet against two real ComfyUI servers (`make test-comfyui COMFYUI=DIR`). What the simulator says of
//! ComfyUI is held against the real one here: results, progress, interrupts, and the ways in which a node can harm the
//! server that runs it.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use client::follow::{self, Since};
use client::{api, files, submit};
use futures::StreamExt as _;
use schemas::api::{BackendsReply, CancelReply, JobRequest};
use schemas::{
    Artifact, AttemptFacts, Event, Fact, Failure, FailureCode, Health, Job, JobId, JobState, Progress, codec,
    subjects,
};
use serde_json::{Value, json};
use stack::Provider;
use tests::comfyui::{Installation, Server};
use tests::fleet::{LIMIT, TestFleet, change_policy, look_until};
use tests::jobs::{prompt, tenant};

/// A job may see a server die, and its executor hang, before it ends.
const ENDS_WITHIN: Duration = Duration::from_secs(240);
/// A silence of the servers under test that is a stall, milliseconds; no helper node is silent for so long.
const STALL_MS: u32 = 15_000;
/// More files than an event names.
const MANY: usize = 1_200;

/// The fleet and its servers.
struct Bench {
    fleet: TestFleet,
    servers: Vec<Server>,
    jobs: Vec<JobId>,
}

/// How a job ended.
#[derive(Debug)]
struct Ended {
    state: JobState,
    artifacts: Vec<Artifact>,
    failure: Option<Failure>,
    attempts: Vec<AttemptFacts>,
}

impl Ended {
    /// It must have completed with so many files.
    fn completed(&self, artifacts: usize) -> anyhow::Result<()> {
        ensure!(self.state == JobState::Completed && self.artifacts.len() == artifacts, "{self:?}");
        Ok(())
    }

    /// It must have failed with this code, and these words in the message; the message.
    fn failed(&self, code: FailureCode, words: &str) -> anyhow::Result<&str> {
        let failure = self.failure.as_ref().with_context(|| format!("no failure: {self:?}"))?;
        let is_it = self.state == JobState::Failed && failure.code == code && failure.message.contains(words);
        ensure!(is_it, "{self:?}");
        Ok(&failure.message)
    }

    /// Where its attempts ran, and how each ended.
    fn attempts(&self) -> String {
        let attempt = |facts: &AttemptFacts| {
            let worker = facts.worker.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string);
            let code = facts.failure.as_ref().map_or("made".to_owned(), |why| format!("{:?}", why.code));
            format!("{worker} {code}")
        };
        self.attempts.iter().map(attempt).collect::<Vec<_>>().join(", ")
    }
}

/// An image that no other job's cache has, what is done to it in between, and what saves it.
fn graph(color: u32, between: Value, saves: &[(&str, Value)]) -> Value {
    let size = json!({"width": 64, "height": 48, "batch_size": 1, "color": color});
    let mut graph = json!({ "1": {"class_type": "EmptyImage", "inputs": size} });
    graph["2"] = between;
    for (index, (class, inputs)) in saves.iter().enumerate() {
        graph[(index + 3).to_string()] = json!({ "class_type": class, "inputs": inputs });
    }
    graph
}

/// A helper node that takes the image of node 1.
fn node(class: &str, mut inputs: Value) -> Value {
    inputs["image"] = json!(["1", 0]);
    json!({ "class_type": class, "inputs": inputs })
}

fn save(of: &str) -> (&'static str, Value) {
    ("SaveImage", json!({ "images": [of, 0], "filename_prefix": "x" }))
}

fn inverted() -> Value {
    node("ImageInvert", json!({}))
}

fn sleep(seconds: f64, steps: u32) -> Value {
    node("ArgosySleep", json!({ "seconds": seconds, "steps": steps }))
}

fn job_of(graph: Value) -> Job {
    let mut job = prompt("unused");
    (job.body.prompt, job.body.width, job.body.height, job.body.model) = (None, None, None, None);
    job.body.workflow = Some(graph);
    job
}

impl Bench {
    async fn start(dir: &Path) -> anyhow::Result<Self> {
        let installation = Installation::from_env()?;
        let shared = dir.join("shared");
        let start = |name: &str| Server::start(&installation, name, &dir.join(name), &shared);
        let mut servers = vec![start("comfyui-1")?, start("comfyui-2")?];
        for server in &mut servers {
            server.ready().await?;
        }
        let urls: Vec<_> = servers.iter().map(|server| Provider::Real(server.url())).collect();
        let fleet = TestFleet::start(|options| {
            (options.runpod, options.gemini) = (None, None);
            options.comfyui = urls;
            options.env.push(("ARGOSY_COMFYUI__STALL_MS".to_owned(), STALL_MS.to_string()));
            change_policy(options, |policy| {
                for (key, value) in [("breaker_open_ms", 2_000), ("backoff_min_ms", 200), ("defer_ms", 300)] {
                    policy[key] = json!(value);
                }
            });
        })
        .await?;
        Ok(Self { fleet, servers, jobs: Vec::new() })
    }

    async fn submit(&mut self, job: &Job) -> anyhow::Result<()> {
        self.jobs.push(job.id);
        self.fleet.stack.submit(std::slice::from_ref(job)).await
    }

    async fn end(&self, job: &Job) -> anyhow::Result<Ended> {
        let following = async {
            let jetstream = &self.fleet.stack.broker.jetstream;
            let mut events = Box::pin(follow::events(jetstream, &[job.id], Since::Ever).await?);
            loop {
                let event: Event = events.next().await.context("the stream of events ended")??;
                if let Fact::Refused { failure } = &event.fact {
                    anyhow::bail!("refused: {failure:?}");
                }
                if let Fact::Ended { state, artifacts, manifest, failure, attempts, .. } = event.fact {
                    let artifacts = match manifest {
                        None => artifacts,
                        Some(manifest) => {
                            serde_json::from_slice(&files::fetch(jetstream, &manifest.file).await?)?
                        }
                    };
                    return Ok(Ended { state, artifacts, failure, attempts });
                }
            }
        };
        let ended = tokio::time::timeout(ENDS_WITHIN, following).await;
        ended.with_context(|| format!("{} has not ended within {ENDS_WITHIN:?}", job.id))?
    }

    async fn run(&mut self, graph: Value) -> anyhow::Result<Ended> {
        let job = job_of(graph);
        self.submit(&job).await?;
        self.end(&job).await
    }

    async fn text(&self, artifact: &Artifact) -> anyhow::Result<String> {
        let bytes = files::fetch(&self.fleet.stack.broker.jetstream, artifact).await?;
        Ok(String::from_utf8(bytes.to_vec())?)
    }

    /// The number of the server that runs a job of ours or of somebody else.
    async fn runs(&self) -> anyhow::Result<usize> {
        look_until("a server at work", async || {
            for (index, server) in self.servers.iter().enumerate() {
                if server.queue().await.is_ok_and(|(running, _)| !running.is_empty()) {
                    return Ok(Some(index));
                }
            }
            Ok(None)
        })
        .await
    }

    /// What the workers that are out say is wrong.
    async fn complaints(&self) -> anyhow::Result<Vec<String>> {
        let reply: BackendsReply = api::request_empty(&self.fleet.stack.broker.client, "backends").await?;
        let offers = reply.backends.into_iter().flat_map(|backend| backend.workers);
        let unwell = offers.filter(|offer| offer.health != Health::Healthy);
        Ok(unwell.map(|offer| offer.health_reason.unwrap_or_default()).collect())
    }

    /// An operator starts the servers again that are out; then both run a job once more.
    async fn healed(&mut self) -> anyhow::Result<()> {
        for server in &mut self.servers {
            if !server.process().is_running() || !server.queue().await.is_ok_and(|(now, _)| now.is_empty()) {
                server.process().restart()?;
            }
        }
        for server in &mut self.servers {
            server.ready().await?;
        }
        self.fleet.stack.wait_workers(2, LIMIT).await?;
        let ended = self.run(graph(900, inverted(), &[save("2")])).await?;
        ended.completed(1)
    }
}

async fn results(bench: &mut Bench) -> anyhow::Result<String> {
    let plain = bench.run(graph(1, inverted(), &[save("2")])).await?;
    plain.completed(1)?;
    let made = &plain.artifacts[0];
    ensure!((made.media_type.as_str(), made.width, made.height) == ("image/png", Some(64), Some(48)));
    let bytes = files::fetch(&bench.fleet.stack.broker.jetstream, made).await?;
    let mut batch = graph(2, inverted(), &[save("2")]);
    batch["1"]["inputs"]["batch_size"] = json!(4);
    bench.run(batch).await?.completed(4)?;
    let two = bench.run(graph(3, inverted(), &[save("1"), save("2")])).await?;
    two.completed(2)?;
    ensure!(two.artifacts[0].sha256 != two.artifacts[1].sha256, "two prefixes, one file: {two:?}");
    // The first result as an input of the next job.
    let jetstream = &bench.fleet.stack.broker.jetstream;
    let input = submit::input(jetstream, &tenant("default"), "photo.png", &bytes).await?;
    let mut loads = job_of(graph(4, inverted(), &[save("2")]));
    let load = json!({"class_type": "LoadImage", "inputs": {"image": "photo.png"}});
    loads.body.workflow.as_mut().context("a workflow")?["1"] = load;
    loads.body.inputs = vec![input];
    bench.submit(&loads).await?;
    let loaded = bench.end(&loads).await?;
    loaded.completed(1)?;
    ensure!(loaded.artifacts[0].width == Some(64), "{loaded:?}");
    Ok("picture 1, batch 4, two prefixes 2, from an upload 1".to_owned())
}

async fn many_files(bench: &mut Bench) -> anyhow::Result<String> {
    let writes = node("ArgosyFiles", json!({"filename_prefix": "x", "count": MANY, "bytes": 16}));
    let ended = bench.run(graph(5, writes, &[])).await?;
    ended.completed(MANY)?;
    let keys: BTreeSet<_> = ended.artifacts.iter().map(|made| made.at.key.as_str()).collect();
    ensure!(keys.len() == MANY && ended.artifacts.iter().all(|made| made.bytes == 16), "{} keys", keys.len());
    Ok(format!("{MANY} files with blanks, #, % and umlauts in their names"))
}

async fn an_empty_file(bench: &mut Bench) -> anyhow::Result<String> {
    let writes = node("ArgosyFiles", json!({"filename_prefix": "x", "count": 1, "bytes": 0}));
    let ended = bench.run(graph(6, writes, &[])).await?;
    ended.failed(FailureCode::Transient, "0 bytes")?;
    Ok(format!("failed after {} attempts", ended.attempts.len()))
}

async fn shown(bench: &mut Bench) -> anyhow::Result<String> {
    let show = |what: &str| node("ArgosyShow", json!({ "what": what }));
    let text = bench.run(graph(7, show("text"), &[])).await?;
    text.completed(1)?;
    ensure!(bench.text(&text.artifacts[0]).await? == "zwölf ✓", "{text:?}");
    bench.run(graph(8, show("nan"), &[save("1")])).await?.completed(1)?;
    let half = bench.run(graph(9, show("surrogate"), &[save("1")])).await?;
    half.completed(2)?;
    let words = bench.text(&half.artifacts[1]).await?;
    ensure!(words == "half a pair: \u{fffd}", "{words}");
    Ok("text is text/plain; NaN and half a surrogate pair cost nothing".to_owned())
}

/// What is no JSON ends the whole server, since it cannot be sent to the socket that listens.
async fn not_json(bench: &mut Bench) -> anyhow::Result<String> {
    let show = node("ArgosyShow", json!({"what": "object"}));
    harms(bench, graph(10, show, &[save("1")]), "").await
}

async fn progress(bench: &mut Bench) -> anyhow::Result<String> {
    let job = job_of(graph(11, sleep(2.0, 8), &[save("2")]));
    let subject = subjects::progress(&job.tenant, job.id);
    let mut heard = bench.fleet.stack.broker.client.subscribe(subject).await?;
    bench.submit(&job).await?;
    bench.end(&job).await?.completed(1)?;
    heard.unsubscribe().await?;
    let mut steps = BTreeSet::new();
    while let Some(message) = heard.next().await {
        let progress: Progress = codec::decode(None, &message.payload)?;
        if progress.detail.as_deref() == Some("ArgosySleep") && progress.steps == 8 {
            steps.insert(progress.step);
        }
    }
    // A step that came together with the next one may be left out, the last one included.
    ensure!(steps.len() >= 5, "steps heard of: {steps:?}");
    Ok(format!("steps {steps:?} of 8"))
}

async fn cancelled(bench: &mut Bench) -> anyhow::Result<String> {
    let job = job_of(graph(12, sleep(120.0, 600), &[save("2")]));
    bench.submit(&job).await?;
    let at = bench.runs().await?;
    let asked = Instant::now();
    let client = &bench.fleet.stack.broker.client;
    let _: CancelReply = api::request(client, "cancel", &JobRequest::of(job.id)).await?;
    let ended = bench.end(&job).await?;
    ensure!(ended.state == JobState::Cancelled, "{ended:?}");
    bench.servers[at].idle().await?;
    Ok(format!("off the server {} ms after the request", asked.elapsed().as_millis()))
}

async fn raised(bench: &mut Bench) -> anyhow::Result<String> {
    let raises = node("ArgosyRaise", json!({ "words": "plain" }));
    let ended = bench.run(graph(13, raises, &[save("2")])).await?;
    let message = ended.failed(FailureCode::InvalidJob, "ArgosyRaise")?;
    ensure!(ended.attempts.len() == 1, "{}", ended.attempts());
    Ok(message.to_owned())
}

async fn refused(bench: &mut Bench) -> anyhow::Result<String> {
    let mut wrong = graph(14, inverted(), &[save("2")]);
    wrong["1"]["inputs"]["width"] = json!(0);
    let ended = bench.run(wrong).await?;
    let message = ended.failed(FailureCode::InvalidJob, "width")?;
    ensure!(ended.attempts.len() == 1, "{}", ended.attempts());
    Ok(message.to_owned())
}

async fn behind_foreign_prompts(bench: &mut Bench) -> anyhow::Result<String> {
    const FOREIGN_S: f64 = 8.0;
    for (server, color) in bench.servers.iter().zip(15..) {
        server.foreign_prompt(&graph(color, sleep(FOREIGN_S, 80), &[save("2")])).await?;
    }
    let started = Instant::now();
    let ended = bench.run(graph(17, sleep(0.5, 5), &[save("2")])).await?;
    ended.completed(1)?;
    let facts = ended.attempts.last().context("an attempt")?;
    let run_ms = facts.finished_at_ms - facts.started_at_ms.context("it started")?;
    let waited = started.elapsed();
    ensure!(
        waited.as_secs_f64() > FOREIGN_S / 2.0 && (400..4_000).contains(&run_ms),
        "{run_ms} of {waited:?}"
    );
    Ok(format!("run_ms {run_ms} of {} ms", waited.as_millis()))
}

async fn a_killed_worker(bench: &mut Bench) -> anyhow::Result<String> {
    let job = job_of(graph(18, sleep(12.0, 60), &[save("2")]));
    bench.submit(&job).await?;
    let at = bench.runs().await?;
    let worker = bench.fleet.stack.member(&format!("worker-local-{}", at + 1))?;
    worker.kill9()?;
    worker.restart()?;
    worker.ready(LIMIT).await?;
    let ended = bench.end(&job).await?;
    ended.completed(1)?;
    let history = bench.servers[at].get("history").await?;
    let text = history.to_string();
    let ran = text.matches(&format!("\"argosy/{}.", job.id)).count();
    ensure!(ran >= 1 && ended.attempts.len() == 1, "{ran} times: {}", ended.attempts());
    bench.fleet.stack.wait_workers(2, LIMIT).await?;
    Ok(format!("found again at the server: {}", ended.attempts()))
}

async fn a_frozen_server(bench: &mut Bench) -> anyhow::Result<String> {
    let job = job_of(graph(19, sleep(6.0, 30), &[save("2")]));
    bench.submit(&job).await?;
    let at = bench.runs().await?;
    bench.servers[at].process().stop()?;
    let ended = bench.end(&job).await;
    bench.servers[at].process().cont()?;
    let ended = ended?;
    ended.completed(1)?;
    bench.servers[at].idle().await?;
    bench.fleet.stack.wait_workers(2, LIMIT).await?;
    Ok(ended.attempts())
}

async fn a_process_that_ends(bench: &mut Bench) -> anyhow::Result<String> {
    let ends = node("ArgosyEnd", json!({"when": "once", "key": "once"}));
    let ended = bench.run(graph(20, ends, &[save("2")])).await?;
    ended.completed(1)?;
    ensure!(ended.attempts.len() > 1, "{}", ended.attempts());
    bench.healed().await?;
    Ok(ended.attempts())
}

/// A job that harms whichever server runs it may do so twice, since it may be tried twice.
async fn harms(bench: &mut Bench, harm: Value, words: &str) -> anyhow::Result<String> {
    let mut job = job_of(harm);
    job.constraints.max_attempts = Some(2);
    bench.submit(&job).await?;
    let ended = bench.end(&job).await?;
    ended.failed(FailureCode::BackendDown, words)?;
    let complaint = look_until("a worker that says what is wrong", async || {
        Ok(bench.complaints().await?.into_iter().find(|reason| !reason.is_empty()))
    });
    let complaint = complaint.await?;
    bench.healed().await?;
    Ok(format!("{}; the worker says: {}", ended.attempts(), complaint.replace('\n', " ")))
}

async fn words_that_kill_the_executor(bench: &mut Bench) -> anyhow::Result<String> {
    let raises = node("ArgosyRaise", json!({"words": "surrogate"}));
    harms(bench, graph(21, raises, &[save("2")]), "no sign of life").await
}

async fn every_process_ends(bench: &mut Bench) -> anyhow::Result<String> {
    let ends = node("ArgosyEnd", json!({"when": "always", "key": "always"}));
    harms(bench, graph(22, ends, &[save("2")]), "").await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an installed ComfyUI: make test-comfyui COMFYUI=DIR"]
async fn real_comfyui_servers_do_what_the_worker_expects() -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("argosy-comfyui-").tempdir()?;
    let mut bench = Bench::start(dir.path()).await?;
    let version = bench.servers[0].version().await?;
    let mut failed = Vec::new();
    println!("| version | case | result | seconds |\n|---|---|---|---|");
    macro_rules! cases {
        ($($case:ident)*) => {$(
            let started = Instant::now();
            let result = Box::pin($case(&mut bench)).await;
            let words = result.unwrap_or_else(|error| {
                failed.push(stringify!($case));
                format!("FAILED: {error:#}")
            });
            let name = stringify!($case).replace('_', " ");
            println!("| {version} | {name} | {words} | {:.1} |", started.elapsed().as_secs_f64());
        )*};
    }
    cases! {
        results many_files an_empty_file shown progress cancelled raised refused behind_foreign_prompts
        a_killed_worker a_frozen_server a_process_that_ends words_that_kill_the_executor not_json
        every_process_ends
    }
    let audit = bench.fleet.stack.audit(&bench.jobs, LIMIT).await?;
    println!("| {version} | audit of {} jobs | {} findings | |", bench.jobs.len(), audit.findings.len());
    ensure!(audit.holds(), "{:#?}", audit.findings);
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}
