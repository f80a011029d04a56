//! `argosy estimate`: a dry run.

use super::explain::decision_text;
use super::job_options::JobOptions;
use super::series::{check_model, drafts};
use super::session::Session;
use crate::exit::DoesNotHold;
use crate::say::{say, say_json};
use anyhow::Context as _;
use clap::Args;
use client::api;
use runtime::clock::now_ms;
use runtime::fleet_config;
use schemas::api::{EstimateReply, EstimateRequest};
use schemas::{JobId, UnknownFields};

/// What would be decided for a job now: nothing is run and nothing is spent.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    argosy estimate \"a lighthouse\"\n  \
    argosy estimate \"waves\" --kind video --duration-s 5 --allow-paid --exclude-backend local\n  \
    argosy estimate --workflow ops/workflows/flux_txt2img.json --width 1024 --steps 30\n  \
    argosy estimate --workflow ops/workflows/flux_txt2img.json --json | jq .decision.choice")]
pub(crate) struct Estimate {
    #[command(flatten)]
    job: JobOptions,
}

impl Estimate {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let mut draft = drafts(&self.job, &self.job.read()?, 1)?.pop().context("one draft")?;
        let broker = session.broker().await?;
        check_model(&draft.body, &fleet_config::load(&broker.jetstream).await?.catalog)?;
        draft.body.inputs = self.job.upload(&broker).await?;
        let job = self.job.to_job(draft, JobId::new(), now_ms());
        let tenant = job.tenant.clone();
        let request = EstimateRequest { job, unknown: UnknownFields::default() };
        let reply: EstimateReply =
            api::request_as(&broker.client, Some(&tenant), "estimate", &request).await?;
        if session.json {
            say_json(&reply)?;
        } else if let Some(decision) = &reply.decision {
            say(decision_text(decision));
        }
        match &reply.failure {
            None => Ok(()),
            Some(failure) => {
                Err(DoesNotHold(format!("{} ({})", failure.message, failure.code.as_str())).into())
            }
        }
    }
}
