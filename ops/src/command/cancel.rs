//! `argosy cancel`.

use super::session::Session;
use super::tenant_note;
use super::whose::Whose;
use crate::exit::DoesNotHold;
use crate::say::{say, say_json};
use crate::text::Text;
use crate::tone::{self, Tone};
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
                say_json(&reply)?;
            } else {
                let state = if reply.known { reply.state.as_str() } else { "unknown" };
                let mut text = Text::default();
                text.toned([
                    (format!("{job}  "), Tone::Plain),
                    (state.to_owned(), tone::of_state(state)),
                    (format!(": {}", reply.effect), Tone::Plain),
                ]);
                say(text);
            }
            if !reply.known {
                strange.push(job.to_string());
            }
        }
        if strange.is_empty() {
            return Ok(());
        }
        if let Some(tenant) = &self.whose.tenant {
            tenant_note::note(session, tenant).await;
        }
        Err(DoesNotHold(format!("unknown jobs: {}", strange.join(", "))).into())
    }
}
