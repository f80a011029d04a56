//! What can be struck: any process of the fleet, and the links of a broker's nodes, through one door.

use super::history::Component;
use servers::{LinkState, Links, NatsServer, Postgres};
use stack::{Member, Role};
use std::time::Duration;

/// From an end by itself to the restart.
pub(super) const OWN_END_REST: Duration = Duration::from_millis(300);

/// A process of the fleet.
#[derive(Debug)]
pub(super) enum Victim<'a> {
    Member(&'a mut Member),
    Nats(&'a mut NatsServer),
    /// A node's links to the others, by the node's number.
    Links(&'a Links, usize),
    Postgres(&'a mut Postgres),
}

impl Victim<'_> {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Member(member) => member.name().to_owned(),
            Self::Nats(nats) => nats.name().to_owned(),
            Self::Links(_, node) => format!("links-{}", node + 1),
            Self::Postgres(_) => "postgres".to_owned(),
        }
    }

    pub(super) fn component(&self) -> Component {
        match self {
            Self::Member(member) => match member.role {
                Role::Simulator => Component::Simulator,
                Role::Router => Component::Router,
                Role::WorkerLocal => Component::WorkerLocal,
                Role::WorkerCloud => Component::WorkerCloud,
                Role::WorkerGemini => Component::WorkerGemini,
                Role::Ledger => Component::Ledger,
            },
            Self::Nats(_) => Component::NatsServer,
            Self::Links(..) => Component::Links,
            Self::Postgres(_) => Component::Postgres,
        }
    }

    /// SIGKILL; gone when this returns.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Member(member) => member.kill9().map(drop)?,
            Self::Nats(nats) => nats.kill9()?,
            Self::Links(links, node) => links.set(*node, LinkState::Cut),
            Self::Postgres(postgres) => postgres.kill9()?,
        }
        Ok(())
    }

    /// SIGSTOP.
    pub(super) fn pause(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Member(member) => member.pause()?,
            Self::Nats(nats) => nats.pause()?,
            Self::Links(links, node) => links.set(*node, LinkState::Stalled),
            Self::Postgres(postgres) => postgres.pause()?,
        }
        Ok(())
    }

    /// SIGCONT.
    pub(super) fn resume(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Member(member) => member.resume()?,
            Self::Nats(nats) => nats.resume()?,
            Self::Links(links, node) => links.set(*node, LinkState::Open),
            Self::Postgres(postgres) => postgres.resume()?,
        }
        Ok(())
    }

    /// Starts it again. Returns as soon as a process of ours is started, since one that starts may be struck
    /// too; a server is waited for, since it is started anew while what is left of the old one is in its way.
    pub(super) async fn restart(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Member(member) => member.restart()?,
            Self::Nats(nats) => nats.restart().await?,
            Self::Links(links, node) => links.set(*node, LinkState::Open),
            Self::Postgres(postgres) => postgres.restart().await?,
        }
        Ok(())
    }

    /// How it ended, if it has.
    pub(super) fn own_end(&mut self) -> anyhow::Result<Option<String>> {
        Ok(match self {
            Self::Member(member) => member.try_wait()?.map(|status| status.to_string()),
            Self::Nats(nats) => (!nats.is_running()).then(|| "ended".to_owned()),
            Self::Postgres(postgres) => (!postgres.is_running()).then(|| "ended".to_owned()),
            Self::Links(..) => None,
        })
    }

    /// Makes sure that it runs, whatever was being done to it.
    pub(super) async fn revive(&mut self, within: Duration) -> anyhow::Result<()> {
        self.resume()?;
        if self.own_end()?.is_some() {
            self.restart().await?;
        }
        if let Self::Member(member) = self {
            // One that was just asked to stop ends before it is ready.
            if member.ready(within).await.is_err() && member.try_wait()?.is_some() {
                member.restart()?;
            }
            member.ready(within).await?;
        }
        Ok(())
    }
}
