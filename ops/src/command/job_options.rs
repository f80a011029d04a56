//! A job as options of the command line: `submit` and `estimate` take the same.

use super::draft::Draft;
use crate::exit::Usage;
use crate::money;
use anyhow::Context as _;
use clap::{Args, ValueEnum};
use client::submit;
use client::workflow::Workflow;
use policy::fill::Setting;
use runtime::broker::Broker;
use schemas::{
    Backend, Body, Constraints, Input, Job, JobId, Kind, Lane, MicroUsd, Preferences, Profile,
    SCHEMA_VERSION, Tenant, UnknownFields,
};
use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

/// What is produced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KindOption {
    /// A still picture.
    Image,
    /// A moving one.
    Video,
}

/// How urgent it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LaneOption {
    /// A person is looking at the screen.
    Interactive,
    /// Soon.
    Standard,
    /// Whenever there is room.
    Batch,
}

/// Which weights to score with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProfileOption {
    /// The default.
    Balanced,
    /// Cost before all.
    Cheapest,
    /// Speed before all.
    Fastest,
}

/// What to make, and what must hold.
#[derive(Debug, Clone, Args)]
pub struct JobOptions {
    /// What it should show; `-` reads it from standard input
    pub prompt: Option<String>,
    /// A ComfyUI workflow in API format, by itself or as other tools hand it on: the body of ComfyUI's /prompt, that of a
    /// RunPod handler, a PNG that it made; `-` reads it from standard input. Prompt, --negative, --seed, --steps,
    /// --width and --height fill its own inputs, or are refused
    #[arg(long, value_name = "FILE")]
    pub workflow: Option<PathBuf>,
    /// Any input of the workflow, its node by id or title; `{{seed}}`, `{{prompt}}` and the like mark where an
    /// option goes. Repeatable
    #[arg(long, value_name = "NODE.INPUT=VALUE", requires = "workflow")]
    pub set: Vec<Setting>,
    /// Image or video
    #[arg(long, value_enum, default_value = "image")]
    pub kind: KindOption,
    /// A model of the catalog; beside a workflow of other files, the model whose machine it needs
    #[arg(long)]
    pub model: Option<String>,
    /// Pixels
    #[arg(long)]
    pub width: Option<u32>,
    /// Pixels
    #[arg(long)]
    pub height: Option<u32>,
    /// Sampling steps
    #[arg(long)]
    pub steps: Option<u32>,
    /// Same seed, same backend, same picture
    #[arg(long)]
    pub seed: Option<u64>,
    /// Length of a video, for example 3 or 2.5
    #[arg(long, value_name = "SECONDS", value_parser = milliseconds)]
    pub duration_s: Option<u32>,
    /// What it should not show
    #[arg(long, value_name = "TEXT")]
    pub negative: Option<String>,
    /// Keep what the workflow shows and does not save as well
    #[arg(long)]
    pub keep_previews: bool,
    /// A file that the workflow names: it is put into the artifact store. Repeatable
    #[arg(long, value_name = "NAME=FILE", value_parser = pair)]
    pub input: Vec<(String, String)>,
    /// Who it is for and who pays
    #[arg(long, default_value = "default", env = "ARGOSY_TENANT")]
    pub tenant: Tenant,
    /// Your own name for the request: published again within a day, it is the same job. With --count each
    /// job's name ends in its number: TEXT/1, TEXT/2
    #[arg(long, value_name = "TEXT")]
    pub key: Option<String>,
    /// How urgent it is
    #[arg(long, value_enum, default_value = "standard")]
    pub lane: LaneOption,
    /// The most that may be spent on it, in dollars; 0 means free backends only
    #[arg(long, value_name = "USD", value_parser = money::parse)]
    pub max_cost_usd: Option<MicroUsd>,
    /// When it is of no more use, seconds from now
    #[arg(long, value_name = "SECONDS")]
    pub deadline_s: Option<u32>,
    /// Only this backend. Repeatable
    #[arg(long)]
    pub backend: Vec<Backend>,
    /// Never this backend. Repeatable
    #[arg(long, value_name = "BACKEND")]
    pub exclude_backend: Vec<Backend>,
    /// Allow paid backends, as far as the tenant's word permits: with `never` nothing is spent
    #[arg(long, conflicts_with = "no_paid")]
    pub allow_paid: bool,
    /// Spend nothing, whatever the tenant's word says
    #[arg(long)]
    pub no_paid: bool,
    /// When what came of a paid attempt is unknown: may another be paid? Unsaid, if the ceiling covers both
    #[arg(long, value_name = "BOOL")]
    pub retry_unknown: Option<bool>,
    /// Take this backend if it is eligible at all
    #[arg(long, value_name = "BACKEND")]
    pub prefer: Option<Backend>,
    /// Which weights to score with
    #[arg(long, value_enum, default_value = "balanced")]
    pub profile: ProfileOption,
    /// Your own words for reports. Repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub label: Vec<(String, String)>,
}

/// What the options refer to, read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Material {
    /// The prompt.
    pub prompt: Option<String>,
    /// The workflow, and what goes beside it.
    pub workflow: Option<Workflow>,
}

impl JobOptions {
    /// Reads prompt and workflow from where the options say; inputs are left to the caller.
    ///
    /// # Errors
    /// Nothing to make, or two things from standard input, or a file that cannot be read.
    pub fn read(&self) -> anyhow::Result<Material> {
        let workflow_from_stdin = self.workflow.as_deref() == Some(Path::new("-"));
        let prompt_from_stdin = self.prompt.as_deref() == Some("-")
            || (self.prompt.is_none() && self.workflow.is_none() && !std::io::stdin().is_terminal());
        if workflow_from_stdin && prompt_from_stdin {
            return Err(Usage("prompt and workflow cannot both come from standard input".to_owned()).into());
        }
        let workflow = match &self.workflow {
            None => None,
            Some(path) => {
                let bytes = if workflow_from_stdin { stdin_bytes()? } else { read_bytes(path)? };
                Some(client::workflow::read(&bytes).with_context(|| path.display().to_string())?)
            }
        };
        let prompt = match &self.prompt {
            _ if prompt_from_stdin => Some(stdin()?.trim().to_owned()),
            other => other.clone(),
        };
        if workflow.is_none() && prompt.as_ref().is_none_or(|text| text.is_empty()) {
            return Err(Usage("give a prompt, --workflow FILE, or --file JOBS.jsonl".to_owned()).into());
        }
        Ok(Material { prompt, workflow })
    }

    /// Puts the files of `--input` into the artifact store.
    ///
    /// # Errors
    /// A file that cannot be read, or that the store refused.
    pub async fn upload(&self, broker: &Broker) -> anyhow::Result<Vec<Input>> {
        let mut inputs = Vec::with_capacity(self.input.len());
        for (name, file) in &self.input {
            let bytes = std::fs::read(file).with_context(|| format!("cannot read {file}"))?;
            inputs.push(submit::input(&broker.jetstream, &self.tenant, name, &bytes).await?);
        }
        Ok(inputs)
    }

    /// What the options ask for, before a workflow is filled.
    #[must_use]
    pub fn body(&self, material: &Material) -> Body {
        Body {
            kind: match self.kind {
                KindOption::Image => Kind::Image,
                KindOption::Video => Kind::Video,
            },
            prompt: material.prompt.clone(),
            negative_prompt: self.negative.clone(),
            workflow: material.workflow.as_ref().map(|workflow| workflow.graph.clone()),
            extra_data: material.workflow.as_ref().and_then(|workflow| workflow.extra_data.clone()),
            keep_previews: self.keep_previews,
            model: self.model.clone(),
            width: self.width,
            height: self.height,
            steps: self.steps,
            seed: self.seed,
            duration_ms: self.duration_s,
            inputs: Vec::new(),
            ..Body::default()
        }
    }

    /// The job that the options and a draft describe.
    #[must_use]
    pub fn to_job(&self, draft: Draft, id: JobId, now_ms: i64) -> Job {
        Job {
            schema_version: SCHEMA_VERSION,
            id,
            idempotency_key: draft.key,
            time_ms: now_ms,
            tenant: self.tenant.clone(),
            lane: match self.lane {
                LaneOption::Interactive => Lane::Interactive,
                LaneOption::Standard => Lane::Standard,
                LaneOption::Batch => Lane::Batch,
            },
            body: draft.body,
            constraints: Constraints {
                max_cost_micro_usd: self.max_cost_usd,
                deadline_ms: self.deadline_s.map(|seconds| now_ms + i64::from(seconds) * 1_000),
                backends: (!self.backend.is_empty()).then(|| self.backend.clone()),
                exclude_backends: self.exclude_backend.clone(),
                allow_paid: match (self.allow_paid, self.no_paid) {
                    (true, _) => Some(true),
                    (_, true) => Some(false),
                    _ => None,
                },
                retry_unknown: self.retry_unknown,
                ..Constraints::default()
            },
            preferences: Preferences {
                profile: match self.profile {
                    ProfileOption::Balanced => Profile::Balanced,
                    ProfileOption::Cheapest => Profile::Cheapest,
                    ProfileOption::Fastest => Profile::Fastest,
                },
                backend: self.prefer.clone(),
                ..Preferences::default()
            },
            labels: self.label.iter().cloned().collect::<BTreeMap<_, _>>(),
            unknown: UnknownFields::default(),
        }
    }
}

fn stdin() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("standard input")?;
    Ok(text)
}

fn stdin_bytes() -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).context("standard input")?;
    Ok(bytes)
}

fn read_bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// `key=value`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

/// `2.5` seconds to 2500 milliseconds, without floats.
fn milliseconds(text: &str) -> Result<u32, String> {
    let bad = || format!("`{text}` is not a duration: write seconds, for example 3 or 2.5");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !(whole.to_owned() + fraction).bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad());
    }
    let whole: u32 = whole.parse().map_err(|_| bad())?;
    let fraction: u32 = format!("{fraction:0<3}").parse().map_err(|_| bad())?;
    whole.checked_mul(1_000).and_then(|ms| ms.checked_add(fraction)).ok_or_else(bad)
}
