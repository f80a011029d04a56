//! Strikes by the plan, and looks after everybody: what was killed is started again, what was stopped is set
//! going again, and what ended by itself is started again as a supervisor would.

use super::history::{Component, Hit};
use super::plan::{Blow, Plan, Strike};
use super::probe::Probe;
use super::storage::Storage;
use super::victim::{OWN_END_REST, Victim};
use anyhow::Context as _;
use runtime::clock::now_ms;
use stack::Stack;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How often somebody is looked after, and how exact a time to recover is.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// Everybody is ready again within this once the blows are over.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// What was struck so far.
#[derive(Debug, Default)]
pub(super) struct Hits(Mutex<Vec<Hit>>);

impl Hits {
    /// Writes one down.
    pub(super) fn add(&self, hit: Hit) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(hit);
    }

    /// How many.
    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// All of them, in the order of the blows.
    pub(super) fn take(&self) -> Vec<Hit> {
        let mut all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        all.sort_by_key(|hit| hit.at_ms);
        all
    }
}

/// What a drill's chaos needs to know.
#[derive(Debug)]
pub(super) struct Chaos<'a> {
    /// Seeds the plan.
    pub(super) seed: u64,
    /// No blow falls any more once this fires; everybody is looked after further on.
    pub(super) calm: &'a CancellationToken,
    /// Where blows are written down.
    pub(super) hits: &'a Hits,
    /// What is filled and made larger.
    pub(super) storages: &'a [Storage],
}

impl Chaos<'_> {
    /// Strikes until it is calm, and looks after everybody for ever.
    ///
    /// # Errors
    /// A process could not be struck, or not be started again.
    pub(super) async fn rage(&self, stack: &mut Stack) -> anyhow::Result<()> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let ledger = stack.member("ledger")?.port_file().to_owned();
        let all = victims(stack);
        let idle: Vec<AtomicBool> = all.iter().map(|_| AtomicBool::new(true)).collect();
        let (mut senders, mut carers) = (Vec::new(), Vec::new());
        for (victim, idle) in all.into_iter().zip(&idle) {
            let (sender, orders) = mpsc::channel(1);
            senders.push(sender);
            let probe = Self::probe(&victim, http.clone(), &ledger);
            carers.push(Carer { victim, orders, idle, probe, hits: self.hits, open: None }.look_after());
        }
        let (fill, fills) = mpsc::channel(1);
        let cared_for = futures::future::try_join_all(carers);
        let striking = self.strike(&senders, &idle, &fill);
        let filling = async {
            self.fill(senders.len(), fills).await;
            Ok(())
        };
        futures::future::try_join3(cared_for, striking, filling).await?;
        Ok(())
    }

    /// Fills what is struck, one at a time, until it is calm. What can be filled has the numbers after so many processes.
    async fn fill(&self, processes: usize, mut fills: mpsc::Receiver<Strike>) {
        while let Some(Some(strike)) = self.calm.run_until_cancelled(fills.recv()).await {
            let storage = &self.storages[strike.target - processes];
            let filled = self.calm.run_until_cancelled(storage.fill()).await;
            let at_ms = now_ms();
            if filled.is_some() {
                self.calm.run_until_cancelled(tokio::time::sleep(Duration::from_millis(strike.for_ms))).await;
            }
            // Also after a fill that the calm cut off: the broker may have done it.
            storage.enlarge().await;
            if filled.is_some() {
                self.hits.add(Hit {
                    at_ms,
                    name: storage.name().to_owned(),
                    component: Component::Storage,
                    blow: Some(Blow::FillStore),
                    status: None,
                    back_at_ms: Some(now_ms()),
                    useful_at_ms: None,
                });
            }
        }
    }

    /// None for the broker: what it does is in the events.
    fn probe(victim: &Victim<'_>, http: reqwest::Client, ledger: &Path) -> Option<Probe> {
        let port_file = match victim {
            Victim::Nats(_) | Victim::Links(..) => return None,
            Victim::Postgres(_) => ledger,
            Victim::Member(member) => member.port_file(),
        };
        Some(Probe::of(http, victim.component(), port_file.to_owned()))
    }

    async fn strike(
        &self,
        senders: &[mpsc::Sender<Strike>],
        idle: &[AtomicBool],
        fill: &mpsc::Sender<Strike>,
    ) -> anyhow::Result<()> {
        for strike in Plan::of(self.seed, senders.len(), self.storages.len()) {
            tokio::select! {
                () = self.calm.cancelled() => return Ok(()),
                () = tokio::time::sleep(Duration::from_millis(strike.after_ms)) => {}
            }
            if strike.blow == Blow::FillStore {
                // While something is full, nothing else is filled.
                fill.try_send(strike).ok();
                continue;
            }
            let (before, from) = (0..senders.len()).partition::<Vec<_>, _>(|index| *index < strike.target);
            let up = from.into_iter().chain(before).find(|index| idle[*index].swap(false, Ordering::AcqRel));
            if let Some(index) = up {
                senders[index].send(strike).await.context("its carer is gone")?;
            }
        }
        Ok(())
    }
}

/// Everybody, in an order that is the same for the same fleet.
fn victims(stack: &mut Stack) -> Vec<Victim<'_>> {
    let members = stack.members.iter_mut().map(Victim::Member);
    let (nodes, links) = stack.nats.parts();
    // One node alone has no links.
    let parted = if nodes.len() > 1 { nodes.len() } else { 0 };
    let nodes = nodes.iter_mut().map(Victim::Nats);
    let links = (0..parted).map(|node| Victim::Links(links, node));
    members.chain(links).chain(nodes).chain([Victim::Postgres(&mut stack.postgres)]).collect()
}

/// Sets everybody going and waits until all are ready.
///
/// # Errors
/// Somebody did not become ready.
pub(super) async fn revive(stack: &mut Stack) -> anyhow::Result<()> {
    let mut all = victims(stack);
    // The servers first: the others are not ready without them.
    for victim in all.iter_mut().rev() {
        victim.resume()?;
    }
    for victim in all.iter_mut().rev() {
        let name = victim.name();
        victim.revive(READY_WITHIN).await.with_context(|| format!("{name} after the blows"))?;
    }
    Ok(())
}

/// One process and the one who strikes it and looks after it.
struct Carer<'a> {
    victim: Victim<'a>,
    orders: mpsc::Receiver<Strike>,
    /// It may be struck.
    idle: &'a AtomicBool,
    probe: Option<Probe>,
    hits: &'a Hits,
    /// The latest blow, until its process has done something useful.
    open: Option<Hit>,
}

impl Carer<'_> {
    async fn look_after(mut self) -> anyhow::Result<()> {
        let mut striking = true;
        loop {
            tokio::select! {
                order = self.orders.recv(), if striking => match order {
                    Some(strike) => self.strike(strike).await?,
                    None => striking = false,
                },
                () = tokio::time::sleep(LOOK_EVERY) => self.look().await?,
            }
        }
    }

    async fn strike(&mut self, strike: Strike) -> anyhow::Result<()> {
        self.write_down();
        let mut hit = self.hit(Some(strike.blow), None);
        let down = Duration::from_millis(strike.for_ms);
        match strike.blow {
            Blow::Kill => {
                self.victim.kill()?;
                tokio::time::sleep(down).await;
                hit.back_at_ms = Some(now_ms());
                self.victim.restart().await?;
            }
            Blow::Stop => {
                self.victim.pause()?;
                tokio::time::sleep(down).await;
                self.victim.resume()?;
                hit.back_at_ms = Some(now_ms());
            }
            Blow::FillStore => anyhow::bail!("{} cannot be filled", hit.name),
        }
        self.open = Some(hit);
        match &mut self.probe {
            Some(probe) => probe.begin(strike.blow == Blow::Kill).await,
            None => self.write_down(),
        }
        self.idle.store(true, Ordering::Release);
        Ok(())
    }

    async fn look(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.victim.own_end()? {
            self.write_down();
            let mut hit = self.hit(None, Some(status));
            tokio::time::sleep(OWN_END_REST).await;
            self.victim.restart().await?;
            hit.back_at_ms = Some(now_ms());
            self.hits.add(hit);
        }
        if let (Some(hit), Some(probe)) = (&mut self.open, &mut self.probe)
            && probe.is_useful().await
        {
            hit.useful_at_ms = Some(now_ms());
            self.write_down();
        }
        Ok(())
    }

    fn hit(&self, blow: Option<Blow>, status: Option<String>) -> Hit {
        let (name, component) = (self.victim.name(), self.victim.component());
        Hit { at_ms: now_ms(), name, component, blow, status, back_at_ms: None, useful_at_ms: None }
    }

    fn write_down(&mut self) {
        self.open.take().into_iter().for_each(|hit| self.hits.add(hit));
    }
}

impl Drop for Carer<'_> {
    fn drop(&mut self) {
        self.write_down();
    }
}
