//! Replaces the processes of an earlier release by those of this state, one by one, while jobs flow. Each waits for
//! paid work in flight before it goes, and for useful work of its successor before the next one's turn.

use super::chaos::Hits;
use super::flow::Flow;
use super::history::{Hit, Removal, Replacement};
use super::probe::Probe;
use super::victim::Victim;
use super::{order, victim};
use anyhow::Context as _;
use runtime::clock::now_ms;
use schemas::topology::Topology;
use stack::{Member, Role, Stack};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// A new process is ready within this: a ledger's migrations are part of it.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// What a process that is asked to stop gets beyond its own grace.
const BEYOND_GRACE: Duration = Duration::from_secs(5);

/// What was replaced so far.
#[derive(Debug, Default)]
pub(super) struct Replacements(Mutex<(Vec<Replacement>, usize)>);

impl Replacements {
    fn add(&self, replacement: Replacement) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.push(replacement);
    }

    /// A line for each that was not told of yet.
    pub(super) fn news(&self) -> Vec<String> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, told) = &mut *inner;
        let lines = all[*told..].iter().map(line).collect();
        *told = all.len();
        lines
    }

    /// All of them, in their order.
    pub(super) fn take(&self) -> Vec<Replacement> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).0)
    }
}

fn line(replacement: &Replacement) -> String {
    let paid: Vec<String> = replacement
        .paid_in_flight
        .iter()
        .map(|(backend, attempts)| format!("{attempts} at {backend}"))
        .collect();
    format!(
        "{} {}, paid attempts in flight: {}; its successor was ready after {} ms, at work after {} ms",
        replacement.name,
        replacement.removal.as_str(),
        paid.join(", "),
        replacement.ready_at_ms - replacement.at_ms,
        replacement.useful_at_ms - replacement.at_ms,
    )
}

/// The names of those that are to be replaced, in their order.
///
/// # Errors
/// The changelog gives no order.
pub(super) fn to_replace(stack: &Stack) -> anyhow::Result<Vec<String>> {
    let fleet: Vec<(&str, Role)> = stack.members.iter().map(|member| (member.name(), member.role)).collect();
    Ok(order::names(&order::documented()?, &fleet))
}

/// Into how many shares jobs are divided. One goes at the beginning, one after each replacement, one at the end; as many
/// again, and once more, are for those who wait for work that they can have.
pub(super) const fn shares(replacements: usize) -> usize {
    3 * (replacements + 2)
}

/// What an upgrade needs to know.
#[derive(Debug)]
pub(super) struct Upgrade<'a> {
    /// Decides who is killed and who is asked to stop.
    pub(super) seed: u64,
    /// What is on its way.
    pub(super) flow: &'a Flow,
    /// Where replacements are written down.
    pub(super) replacements: &'a Replacements,
    /// Where ends that processes made by themselves are written down.
    pub(super) hits: &'a Hits,
    /// Fires when everything was replaced.
    pub(super) calm: &'a CancellationToken,
}

impl Upgrade<'_> {
    /// Replaces everything, and looks after everybody for ever.
    ///
    /// # Errors
    /// A new process did not become ready, or the broker refused this state's topology.
    pub(super) async fn replace(&self, stack: &mut Stack, names: &[String]) -> anyhow::Result<()> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let topology = Topology::new(stack.options().nodes);
        runtime::topology::apply(&stack.broker.jetstream, &topology)
            .await
            .context("this state's topology")?;
        for (index, name) in names.iter().enumerate() {
            let replacement = self.replace_one(stack, name, removal(self.seed, index), &http).await?;
            self.replacements.add(replacement);
        }
        self.flow.unbind();
        self.calm.cancel();
        loop {
            self.look(&mut stack.members).await?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn replace_one(
        &self,
        stack: &mut Stack,
        name: &str,
        removal: Removal,
        http: &reqwest::Client,
    ) -> anyhow::Result<Replacement> {
        let role = stack.member(name)?.role;
        let paid_in_flight = self.paid_work(&mut stack.members, role).await?;
        let (to, grace) = (stack.options().bin_dir.clone(), stack.options().grace_ms);
        let member = stack.member(name)?;
        let (from, at_ms) = (member.program().to_owned(), now_ms());
        let status = match removal {
            Removal::Drained => member.terminate(Duration::from_millis(grace) + BEYOND_GRACE).await?,
            Removal::Killed => member.kill9()?,
        };
        member.set_bin_dir(&to)?;
        member.restart()?;
        self.flow.next_share();
        member.ready(READY_WITHIN).await.with_context(|| format!("{name} of this state"))?;
        let ready_at_ms = now_ms();
        let component = Victim::Member(&mut *member).component();
        let mut probe = Probe::of(http.clone(), component, member.port_file().to_owned());
        let to = member.program().to_owned();
        probe.begin(true).await;
        while !probe.is_useful().await {
            self.flow.keep_flowing();
            self.look(&mut stack.members).await?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(Replacement {
            at_ms,
            name: name.to_owned(),
            component,
            removal,
            exit_code: status.code(),
            from,
            to,
            paid_in_flight,
            ready_at_ms,
            useful_at_ms: now_ms(),
        })
    }

    /// Waits for paid attempts in flight: of its own where a worker of a paid backend is next, else of any.
    async fn paid_work(&self, members: &mut [Member], role: Role) -> anyhow::Result<BTreeMap<String, u64>> {
        let own = match role {
            Role::WorkerCloud => Some("cloud"),
            Role::WorkerGemini => Some("gemini"),
            _ => None,
        };
        loop {
            let paid = self.flow.paid_in_flight();
            if own.map_or_else(|| !paid.is_empty(), |own| paid.contains_key(own)) {
                return Ok(paid);
            }
            self.flow.keep_flowing();
            self.look(members).await?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Starts again what ended by itself, which is a finding.
    async fn look(&self, members: &mut [Member]) -> anyhow::Result<()> {
        for member in members {
            let mut victim = Victim::Member(member);
            let Some(status) = victim.own_end()? else { continue };
            let (at_ms, name, component) = (now_ms(), victim.name(), victim.component());
            tokio::time::sleep(victim::OWN_END_REST).await;
            victim.restart().await?;
            let (back_at_ms, status) = (Some(now_ms()), Some(status));
            self.hits.add(Hit { at_ms, name, component, blow: None, status, back_at_ms, useful_at_ms: None });
        }
        Ok(())
    }
}

/// Every other one is killed; the others drain. Another seed turns it round.
const fn removal(seed: u64, index: usize) -> Removal {
    if (seed ^ index as u64) & 1 == 0 { Removal::Killed } else { Removal::Drained }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_drain_and_some_are_killed_and_another_seed_turns_it_round() {
        for index in 0..20 {
            assert_ne!(removal(1, index), removal(1, index + 1));
            assert_ne!(removal(1, index), removal(2, index));
        }
    }
}
