//! `argosy submit`: one job or many, the way any client does it.

use super::draft::Draft;
use super::job_options::JobOptions;
use super::keyed::{Keyed, Told};
use super::live;
use super::series::{check_model, drafts};
use super::session::Session;
use crate::exit::{DoesNotHold, Usage};
use crate::say::{say, say_json, warning};
use crate::words;
use anyhow::{Context as _, bail};
use clap::Args;
use client::files;
use client::follow::Tracker;
use client::submit;
use runtime::broker::Broker;
use runtime::clock::now_ms;
use runtime::fleet_config;
use schemas::{Encoding, Job, JobId, SCHEMA_VERSION};
use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::path::PathBuf;

/// Publish jobs and wait for the broker's acknowledgement: what is acknowledged is never lost.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    argosy submit \"a lighthouse in a storm\" --wait\n  \
    argosy submit \"a cat\" --model flux --width 768 --height 768 --max-cost-usd 0.05 --allow-paid\n  \
    argosy submit --workflow ops/workflows/sdxl_txt2img.json \"a red hat\" --seed 5 --steps 4 --count 3\n  \
    argosy submit --workflow ops/workflows/img2img.json --input photo.png=./photo.png --set 3.denoise=0.4 --wait --out out\n  \
    argosy submit \"waves\" --kind video --duration-s 3 --lane batch\n  \
    echo \"a red fox\" | argosy submit - --count 10 --label project=foxes\n  \
    argosy submit --file jobs.jsonl      one job a line; id, time and tenant are filled in\n\n\
    A workflow's own inputs are filled where they can be found without doubt; else nothing is published, and the \
    refusal lists those that may be meant. --set names any input, and --set '3.seed={{seed}}' marks the one that \
    --seed fills.\n\n\
    A line of jobs.jsonl: {\"body\":{\"kind\":\"image\",\"prompt\":\"a cat\"},\"constraints\":{\"max_cost_micro_usd\":0}}")]
pub(crate) struct Submit {
    #[command(flatten)]
    job: JobOptions,
    /// Many jobs, one JSON object a line; `-` reads standard input. Each line says all of its job
    #[arg(long, value_name = "FILE", conflicts_with_all = NOT_WITH_FILE)]
    file: Option<PathBuf>,
    /// So many of them, each with an id and a seed of its own: seeds count up from --seed, or from the workflow's
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Wait for the end, and download what was made
    #[arg(long)]
    wait: bool,
    /// Where downloads go
    #[arg(long, value_name = "DIR", default_value = ".", requires = "wait")]
    out: PathBuf,
    /// Do not check the job against the fleet's limits and catalog before publishing
    #[arg(long)]
    no_check: bool,
}

/// The options that describe one job. Beside `--file` they would have no effect: each of its lines says all of its
/// job but the tenant.
const NOT_WITH_FILE: [&str; 25] = [
    "prompt",
    "workflow",
    "set",
    "kind",
    "model",
    "width",
    "height",
    "steps",
    "seed",
    "duration_s",
    "negative",
    "input",
    "key",
    "lane",
    "max_cost_usd",
    "deadline_s",
    "backend",
    "exclude_backend",
    "allow_paid",
    "no_paid",
    "retry_unknown",
    "prefer",
    "profile",
    "label",
    "count",
];

impl Submit {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        // What can be refused without the fleet is refused before anything is sent.
        let (bulk, drafts) = match &self.file {
            Some(file) => (self.bulk(file)?, Vec::new()),
            None => (Vec::new(), drafts(&self.job, &self.job.read()?, self.count)?),
        };
        let broker = session.broker().await?;
        let planned = if self.file.is_some() {
            bulk.into_iter().map(|job| (job.body.seed, job)).collect()
        } else {
            self.described(&broker, drafts).await?
        };
        let (seeds, jobs): (Vec<Option<u64>>, Vec<Job>) = planned.into_iter().unzip();
        if !self.no_check {
            check(&broker, &jobs).await?;
        }
        let keyed = Keyed::listen(&broker, &jobs).await?;
        submit::jobs(&broker.publisher, &jobs).await?;
        let told = keyed.told().await;
        for (job, seed) in jobs.iter().zip(&seeds) {
            self.say_submitted(session, job, *seed, told.get(&job.id))?;
        }
        if !self.wait {
            return refusals(&told);
        }
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
        let tracker = live::follow_to_the_end(&broker, &ids, session.json).await?;
        self.fetch(&broker, session, &tracker).await?;
        live::verdict(&tracker)
    }

    /// Says of a job that it was published, and whether it is one that its key made before.
    fn say_submitted(
        &self,
        session: &Session,
        job: &Job,
        seed: Option<u64>,
        told: Option<&Told>,
    ) -> anyhow::Result<()> {
        let mut warnings = policy::admit::warnings(job);
        let same_as = match told {
            Some(Told::SameAs(first)) => Some(*first),
            _ => None,
        };
        if session.json {
            return say_json(&serde_json::json!({
                "job": job.id, "tenant": job.tenant, "lane": job.lane, "state": "submitted", "seed": seed,
                "warnings": warnings, "same_as": same_as,
            }));
        }
        match seed.filter(|_| self.count > 1) {
            Some(seed) => say(format!("{}  seed {seed}", job.id)),
            None => say(job.id.to_string()),
        }
        if let Some(first) = same_as {
            let key = job.idempotency_key.as_deref().unwrap_or_default();
            warnings.push(format!("it is the same as job {first}, which came with key `{key}` before"));
        }
        warnings.iter().for_each(|words| warning(false, &format!("job {}: {words}", job.id)));
        Ok(())
    }

    /// The jobs with their seeds, files uploaded.
    async fn described(
        &self,
        broker: &Broker,
        drafts: Vec<Draft>,
    ) -> anyhow::Result<Vec<(Option<u64>, Job)>> {
        if let (Some(draft), false) = (drafts.first(), self.no_check) {
            check_model(&draft.body, &fleet_config::load(&broker.jetstream).await?.catalog)?;
        }
        let inputs = self.job.upload(broker).await?;
        let planned = drafts.into_iter().map(|mut draft| {
            draft.body.inputs.clone_from(&inputs);
            let id = JobId::new();
            (draft.seed(id), self.job.to_job(draft, id, now_ms()))
        });
        Ok(planned.collect())
    }

    fn bulk(&self, file: &PathBuf) -> anyhow::Result<Vec<Job>> {
        let reader: Box<dyn std::io::Read> = if file.as_os_str() == "-" {
            Box::new(std::io::stdin())
        } else {
            Box::new(std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?)
        };
        let mut jobs = Vec::new();
        for (index, line) in std::io::BufReader::new(reader).lines().enumerate() {
            let line = line.with_context(|| format!("cannot read {}", file.display()))?;
            if line.trim().is_empty() {
                continue;
            }
            let job = read_line(&line, self.job.tenant.as_str());
            jobs.push(job.with_context(|| format!("{} line {}", file.display(), index + 1))?);
        }
        if jobs.is_empty() {
            bail!("{} has no jobs", file.display());
        }
        Ok(jobs)
    }

    async fn fetch(&self, broker: &Broker, session: &Session, tracker: &Tracker) -> anyhow::Result<()> {
        for (job, view) in tracker.jobs() {
            let mut fetched = Vec::new();
            let artifacts = files::all(&broker.jetstream, view).await?;
            for artifact in &artifacts {
                let path = files::download(&broker.jetstream, *job, artifact, &self.out).await?;
                if !session.json {
                    say(path.display().to_string());
                }
                fetched.push(path);
            }
            if session.json {
                say_json(&serde_json::json!({
                    "job": job, "state": view.state, "backend": view.backend, "artifacts": artifacts,
                    "files": fetched, "failure": view.failure,
                }))?;
            }
        }
        Ok(())
    }
}

/// A key that came with another content before is refused by the router that reads it.
fn refusals(told: &BTreeMap<JobId, Told>) -> anyhow::Result<()> {
    let refused = told.iter().filter_map(|(job, told)| match told {
        Told::Refused(failure) => Some(format!("job {job} was refused: {}", words::failure(failure))),
        Told::SameAs(_) => None,
    });
    let refused: Vec<String> = refused.collect();
    if refused.is_empty() { Ok(()) } else { Err(DoesNotHold(refused.join("; ")).into()) }
}

/// A line of a bulk file: a job, with what every job needs filled in.
fn read_line(line: &str, tenant: &str) -> anyhow::Result<Job> {
    let mut value: serde_json::Value = serde_json::from_str(line)?;
    let fields = value.as_object_mut().context("a line must be a JSON object")?;
    let mut fill = |name: &str, value: serde_json::Value| {
        fields.entry(name).or_insert(value);
    };
    fill("schema_version", SCHEMA_VERSION.into());
    fill("id", JobId::new().to_string().into());
    fill("time_ms", now_ms().into());
    fill("tenant", tenant.into());
    let job: Job = Encoding::Json.decode(value.to_string().as_bytes())?;
    if let Some(field) = policy::fill::ignored(&job.body).first() {
        let text = format!(
            "body.{field} has no effect beside body.workflow, which does not say the same: put it into the workflow's \
             own input, or leave it out"
        );
        return Err(Usage(text).into());
    }
    Ok(job)
}

/// Says before publishing what a router would say after it.
pub(crate) async fn check(broker: &Broker, jobs: &[Job]) -> anyhow::Result<()> {
    let fleet = fleet_config::load(&broker.jetstream).await?;
    for job in jobs {
        let bytes = Encoding::MessagePack.encode(job).len();
        let admitted = policy::admit::check_unknown(job)
            .and_then(|()| policy::admit::admit_tenant(&job.tenant, &fleet.tenants))
            .and_then(|()| policy::admit::admit(job, &fleet.catalog, &fleet.policy, bytes, now_ms()));
        if let Err(failure) = admitted {
            // Each of admission's texts names its field and the cure.
            bail!("job {} was not published: {} ({})", job.id, failure.message, failure.code.as_str());
        }
    }
    Ok(())
}
