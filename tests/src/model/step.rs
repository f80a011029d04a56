//! What can happen next: one step of a worker, the broker, the provider or fate. Any worker may rest between
//! any two of its steps for as long as it likes, which is what a pause (SIGSTOP) is.

mod worker;

use crate::model::check::Protocol;
use crate::model::claim::{At, Call, Claim, DELIVERED_MAX, Faults, Late, Out, Provider, State, WORKERS};
use crate::model::explore::Next;

/// What happened; the number is the worker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The broker delivers the assignment, for the first time or again.
    Deliver(usize),
    /// The same, by a leader that has forgotten the deliveries before.
    DeliverUncounted(usize),
    /// The worker takes its next step.
    Go(usize),
    /// The broker stored what the worker wrote, or not, and the answer was lost.
    Unanswered(usize),
    /// The worker read the claim as it was earlier.
    ReadStale(usize),
    /// The provider accepts the worker's start.
    Accept(usize),
    /// The provider refuses it.
    Refuse(usize),
    /// The worker stops waiting for the provider's answer.
    GiveUp(usize),
    /// The worker is killed.
    Kill(usize),
    /// A late write reaches the broker.
    LateWrite,
    /// A start whose sender is gone is accepted.
    AcceptOrphan,
    /// A start whose sender is gone never arrives.
    DropOrphan,
    /// The provider reports its id, which goes into a claim that waits for it.
    Report,
    /// A worker stores what lies in its spool and settles the claim, whoever has the assignment.
    Rescue,
    /// Somebody cancels the job.
    Cancel,
    /// A router takes the cancelled assignment out of its queue.
    TakeOut,
}

type Found = Vec<Next<Step, State>>;

/// Everything that can happen in a state.
pub(super) fn all(model: &Protocol, state: &State, found: &mut Found) {
    for worker in 0..WORKERS {
        let mut steps = Steps { model, state, worker, found: &mut *found };
        steps.of_the_broker();
        steps.of_the_worker();
        steps.of_fate();
    }
    Steps { model, state, worker: WORKERS, found }.of_nobody();
}

struct Steps<'a> {
    model: &'a Protocol,
    state: &'a State,
    worker: usize,
    found: &'a mut Found,
}

impl Steps<'_> {
    fn add(&mut self, step: Step, state: State) {
        self.found.push(Next { step, state, fault: false });
    }

    fn add_fault(&mut self, step: Step, state: State) {
        self.found.push(Next { step, state, fault: true });
    }

    /// The worker moves on.
    fn go(&mut self, at: At) {
        self.add(Step::Go(self.worker), self.state.with(self.worker, at));
    }

    /// The state with one fault less of a kind, if one is left.
    fn spend(&self, kind: impl Fn(&mut Faults) -> &mut u8) -> Option<State> {
        let mut state = *self.state;
        let left = kind(&mut state.faults);
        *left = left.checked_sub(1)?;
        Some(state)
    }

    fn lose(&self) -> Option<State> {
        self.spend(|faults| &mut faults.lost)
    }

    fn of_the_broker(&mut self) {
        if self.state.acked || self.state.workers[self.worker] != At::Idle {
            return;
        }
        let delivered = (self.state.delivered + 1).min(DELIVERED_MAX);
        let given =
            |state: State, delivered| State { delivered, ..state }.with(self.worker, At::Got { delivered });
        let next = given(*self.state, delivered);
        let uncounted = self.spend(|faults| &mut faults.recounts).map(|state| given(state, 1));
        self.add(Step::Deliver(self.worker), next);
        if let Some(state) = uncounted {
            self.add_fault(Step::DeliverUncounted(self.worker), state);
        }
    }

    fn of_fate(&mut self) {
        let at = self.state.workers[self.worker];
        if at == At::Idle {
            return;
        }
        if let Some(state) = self.spend(|faults| &mut faults.kills) {
            let state = state.with(self.worker, At::Idle);
            let killed =
                if let At::Calling { held, call: Call::Sent } = at { state.with_orphan(held) } else { state };
            self.add_fault(Step::Kill(self.worker), killed);
        }
    }

    fn of_nobody(&mut self) {
        let state = *self.state;
        if let Some(Late { held, claim }) = state.late {
            let fits = held == state.revision() || !self.model.rules.checks_revision;
            let arrived = if fits { state.with_claim(claim) } else { state };
            self.add_fault(Step::LateWrite, State { late: None, ..arrived });
        }
        if let Some(at) = state.orphans.iter().position(Option::is_some) {
            for at in at..state.orphans.len() {
                let mut gone = state;
                let held = gone.orphans[at].take().unwrap_or_default();
                gone.orphans.sort_unstable();
                self.add(Step::DropOrphan, gone);
                if held >= state.fence {
                    self.add(Step::AcceptOrphan, State { started: gone.started + 1, ..gone });
                }
            }
        }
        let waits = state.revision() > 0 && state.claim(state.revision()) == Claim::Intent;
        if self.model.provider == Provider::CallsBack && state.started > 0 && waits {
            self.add_fault(Step::Report, state.with_claim(Claim::Started(1)));
        }
        self.rescue();
        if let Some(next) = self.spend(|faults| &mut faults.cancels) {
            self.add_fault(Step::Cancel, State { cancelled: true, ..next });
        }
        if state.cancelled && !state.acked {
            self.take_out();
        }
    }

    /// Nobody needs to die first: the worker that has the spool may be slow.
    fn rescue(&mut self) {
        let state = *self.state;
        let claim = (state.revision() > 0).then(|| state.claim(state.revision()));
        if let (Some(id), Some(Claim::Intent | Claim::Spooled(_))) = (state.spooled, claim) {
            let settled = state.with_claim(Claim::Settled(Out::Done(id)));
            self.add(Step::Rescue, State { spooled: None, ..settled });
        }
    }

    /// A router takes a waiting assignment away and ends the job. It sees only that no worker told of it yet.
    fn take_out(&mut self) {
        let mut state = *self.state;
        if self.model.rules.cancels_under_claim {
            if state.revision() > 0 {
                return;
            }
            state = state.with_claim(Claim::Settled(Out::CancelledUnbegun));
        }
        state.told.ended = true;
        self.add_fault(Step::TakeOut, State { acked: true, ..state });
    }
}
