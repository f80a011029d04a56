//! `argosy cancel`.

use super::session::Session;
use super::whose::Whose;
use crate::exit::DoesNotHold;
use crate::table;
use clap::Args;
use client::api;
use schemas::JobId;
use schemas::api::{CancelReply, JobRequest};

/// Cancel jobs: those that wait are taken back, those that run are stopped at their provider.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    argosy cancel 01990000-0000-7000-8000-000000000001\n  \
    argosy jobs --tenant studio-b --state assigned --json | jq -r .job | xargs argosy cancel")]
pub(crate) struct Cancel {
    /// Which jobs
    #[arg(required = true)]
    jobs: Vec<JobId>,
    #[command(flatten)]
    whose: Whose,
}

impl Cancel {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let broker = session.broker().await?;
        let mut strange = Vec::new();
        for job in self.jobs {
            let tenant = self.whose.tenant.as_ref();
            let reply: CancelReply =
                api::request_as(&broker.client, tenant, "cancel", &JobRequest::of(job)).await?;
            if session.json {
                table::say_json(&reply)?;
            } else {
                let state = if reply.known { reply.state.as_str() } else { "unknown" };
                table::say(format!("{job}  {state}: {}", reply.effect));
            }
            if !reply.known {
                strange.push(job.to_string());
            }
        }
        if strange.is_empty() {
            return Ok(());
        }
        Err(DoesNotHold(format!("unknown jobs: {}", strange.join(", "))).into())
    }
}
