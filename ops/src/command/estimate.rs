//! `argosy estimate`: a dry run.

use super::explain::decision_text;
use super::job_options::JobOptions;
use super::session::Session;
use crate::exit::DoesNotHold;
use crate::{api, submit, table};
use anyhow::Context as _;
use clap::Args;
use runtime::clock::now_ms;
use schemas::JobId;
use schemas::api::{EstimateReply, EstimateRequest};

/// What would be decided for a job now: nothing is run and nothing is spent.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    argosy estimate \"a lighthouse\"\n  \
    argosy estimate \"waves\" --kind video --duration-s 5 --allow-paid --exclude-backend local\n  \
    argosy estimate --workflow ops/workflows/flux_txt2img.json --json | jq .decision.choice")]
pub(crate) struct Estimate {
    #[command(flatten)]
    job: JobOptions,
}

impl Estimate {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let mut material = self.job.read()?;
        let broker = session.broker().await?;
        for (name, file) in &self.job.input {
            let bytes = std::fs::read(file).with_context(|| format!("cannot read {file}"))?;
            material.inputs.push(submit::input(&broker.jetstream, &self.job.tenant, name, &bytes).await?);
        }
        let request = EstimateRequest { job: self.job.to_job(&material, JobId::new(), now_ms()) };
        let reply: EstimateReply = api::request(&broker.client, "estimate", &request).await?;
        if session.json {
            table::say_json(&reply)?;
        } else if let Some(decision) = &reply.decision {
            table::say(decision_text(decision));
        }
        match &reply.failure {
            None => Ok(()),
            Some(failure) => {
                Err(DoesNotHold(format!("{} ({})", failure.message, failure.code.as_str())).into())
            }
        }
    }
}
