//! A worker's next step, as `protocol/src/worker/run.rs` and `settle.rs` take them.

use protocol::worker::machine::{self, Delivery};

use super::{Step, Steps};
use crate::model::claim::{At, Call, Claim, Late, Out, Provider, State};
use crate::model::real::{self, Begun};

impl Steps<'_> {
    pub(super) fn of_the_worker(&mut self) {
        let (worker, rules) = (self.worker, self.model.rules);
        match self.state.workers[worker] {
            At::Idle => {}
            At::Got { delivered } => self.first_look(delivered),
            At::Asking { delivered } => self.ask(delivered),
            At::Taking { delivered, seen } => self.take_over(delivered, seen),
            At::Finding { held } => self.find(held),
            At::FoundStarted { held, id } => {
                let follow = |held| At::Following { held, id };
                self.write(held, Claim::Started(id), follow, At::Idle);
            }
            At::FoundNothing { held } => {
                self.write(held, Claim::Intent, |held| At::Starting { held }, At::Idle);
            }
            At::Starting { held } => {
                let unstarted = At::Settling { held: Some(held), out: Out::CancelledBefore, called: true };
                if self.state.cancelled {
                    self.go(unstarted);
                }
                // A young claim is trusted, an older one renewed first.
                self.go(At::Calling { held, call: Call::Sent });
                self.write(held, Claim::Intent, |held| At::Calling { held, call: Call::Sent }, unstarted);
            }
            At::Calling { held, call } => self.calling(held, call),
            At::Recording { held, id } => {
                let recorded = self.state.revision();
                let unrecorded = match self.state.log[usize::from(recorded).saturating_sub(1)] {
                    // Reported before, or recorded without an answer.
                    Some(Claim::Started(known)) if known == id => At::Following { held: recorded, id },
                    _ => At::Settling { held: Some(held), out: Out::Unknown(Some(id)), called: true },
                };
                self.write(held, Claim::Started(id), |held| At::Following { held, id }, unrecorded);
            }
            At::Following { held, id } => {
                let settling = |out| At::Settling { held: Some(held), out, called: true };
                if self.state.cancelled {
                    self.go(settling(Out::CancelledAt(id)));
                }
                // What was written down before is not written again.
                let known = held > 0 && self.state.claim(held) == Claim::Delivered(id);
                self.go(if known { At::Storing { held, id } } else { At::Marking { held, id } });
            }
            At::Marking { held, id } => {
                let kept_by_us = self.model.provider == Provider::Answers;
                let claim = if kept_by_us { Claim::Spooled(id) } else { Claim::Delivered(id) };
                // A claim that does not say so is no reason to throw the result away.
                self.write(held, claim, |held| At::Storing { held, id }, At::Storing { held, id });
            }
            At::Storing { held, id } => self.store(held, id),
            At::Awaiting { seen } => self.await_stored(seen),
            At::Settling { held, out, called } => {
                let telling = At::Telling { out, called };
                let unrecorded = if rules.tells_unrecorded { telling } else { At::Idle };
                match held {
                    Some(held) => self.write(held, Claim::Settled(out), |_| telling, unrecorded),
                    None => self.go(telling),
                }
            }
            At::Telling { out, called } if rules.tells_before_ack || self.state.acked => {
                self.tell(out, called);
            }
            At::Telling { .. } | At::Acking => self.acknowledge(),
        }
    }

    /// The store takes the result, or refuses it for now.
    fn store(&mut self, held: u8, id: u8) {
        let settling = |out| At::Settling { held: Some(held), out, called: true };
        if self.state.cancelled {
            self.go(settling(Out::CancelledAt(id)));
        }
        self.go(settling(Out::Done(id)));
        if let Some(state) = self.spend(|faults| &mut faults.refusals) {
            let at = if self.model.rules.keeps_delivered {
                At::Storing { held, id }
            } else {
                At::Starting { held }
            };
            self.add_fault(Step::Refuse(self.worker), state.with(self.worker, at));
        }
    }

    /// Looks at the claim until it is settled, or the result is no longer kept.
    fn await_stored(&mut self, seen: u8) {
        let current = self.state.revision();
        match self.state.claim(current) {
            Claim::Settled(out) => self.go(At::Settling { held: None, out, called: true }),
            Claim::Spooled(id) => {
                self.go(At::Settling { held: Some(seen), out: Out::NotStored(id), called: true });
                if self.state.cancelled {
                    self.go(At::Settling { held: Some(seen), out: Out::CancelledAt(id), called: true });
                }
            }
            _ => self.go(At::Idle),
        }
    }

    fn delivery(&self, delivered: u8) -> Delivery {
        Delivery { delivered: delivered.into(), cancelled: self.state.cancelled, expired: false, paid: true }
    }

    /// As `machine::first_look` says.
    fn first_look(&mut self, delivered: u8) {
        self.go(match machine::first_look(self.delivery(delivered)) {
            Some(failure) => At::Settling { held: None, out: real::unbegun(&failure), called: false },
            None if self.model.rules.claims_first => At::Asking { delivered },
            None => At::Starting { held: self.state.revision() },
        });
    }

    /// Creates the claim. Without an answer the client reads what is there.
    fn ask(&mut self, delivered: u8) {
        if self.state.revision() == 0 {
            let unbegun = machine::unbegun(self.delivery(delivered)).map(|failure| real::unbegun(&failure));
            let granted = |held| match unbegun {
                Some(out) => At::Settling { held: Some(held), out, called: false },
                None => At::Starting { held },
            };
            self.write(0, Claim::Intent, granted, At::Idle);
            if let Some(state) = self.lose() {
                let stored =
                    state.with_claim(Claim::Intent).with(self.worker, At::Taking { delivered, seen: 1 });
                self.add_fault(Step::Unanswered(self.worker), stored);
            }
            return;
        }
        for seen in 0..=self.state.revision() {
            let at = if seen == 0 { At::Idle } else { At::Taking { delivered, seen } };
            let next = self.state.with(self.worker, at);
            if seen == self.state.revision() {
                self.add(Step::Go(self.worker), next);
            } else {
                self.add_fault(Step::ReadStale(self.worker), next);
            }
        }
    }

    /// As `machine::begin_from` says, early and late.
    fn take_over(&mut self, delivered: u8, seen: u8) {
        let claim = self.state.claim(seen);
        for begun in self.model.begins.from(claim, delivered) {
            match (begun, claim) {
                (Begun::Wait, _) => self.go(At::Idle),
                (Begun::Retell, Claim::Settled(out)) => {
                    self.go(At::Settling { held: None, out, called: true });
                }
                (Begun::Poison, claim) => {
                    let id = if let Claim::Started(id) = claim { Some(id) } else { None };
                    self.go(At::Settling { held: Some(seen), out: Out::Poison(id), called: true });
                }
                (Begun::Resume, Claim::Started(id) | Claim::Delivered(id))
                    if self.model.rules.resumes_by_id =>
                {
                    self.write(seen, claim, |held| At::Following { held, id }, At::Idle);
                }
                (Begun::Resume, _) => self.write(seen, claim, |held| At::Starting { held }, At::Idle),
                (Begun::AwaitStored, _) => self.go(At::Awaiting { seen }),
                (Begun::GiveUp, Claim::Spooled(id) | Claim::Delivered(id)) => {
                    self.go(At::Settling { held: Some(seen), out: Out::NotStored(id), called: true });
                }
                (Begun::GiveUp, claim) => unreachable!("given up from {claim:?}"),
                (Begun::Find, _) => self.write(seen, claim, |held| At::Finding { held }, At::Idle),
                (Begun::Retell, claim) => unreachable!("retold from {claim:?}"),
            }
        }
    }

    /// Asks the provider what became of a start, as each kind of provider can say.
    fn find(&mut self, held: u8) {
        let unknown = At::Settling { held: Some(held), out: Out::Unknown(None), called: true };
        let started = (self.state.started > 0).then_some(At::FoundStarted { held, id: 1 });
        match self.model.provider {
            Provider::Silent | Provider::Answers if self.model.rules.doubts_silence => self.go(unknown),
            Provider::Silent | Provider::Answers => self.go(At::FoundNothing { held }),
            Provider::CallsBack => {
                self.go(unknown);
                if let Some(started) = started {
                    self.go(started);
                }
            }
            Provider::Lists => self.go(started.unwrap_or(At::FoundNothing { held })),
            Provider::Fences => {
                let state = self.state.with(self.worker, started.unwrap_or(At::FoundNothing { held }));
                self.add(Step::Go(self.worker), State { fence: state.fence.max(held), ..state });
            }
        }
    }

    fn calling(&mut self, held: u8, call: Call) {
        let unknown = At::Settling { held: Some(held), out: Out::Unknown(None), called: true };
        match call {
            Call::Accepted(id) if self.model.provider == Provider::Answers => {
                let state = State { spooled: Some(id), ..*self.state };
                self.add(Step::Go(self.worker), state.with(self.worker, At::Marking { held, id }));
            }
            Call::Accepted(id) => self.go(At::Recording { held, id }),
            Call::Refused => {
                self.go(At::Settling { held: Some(held), out: Out::Refused, called: true });
            }
            Call::Sent => {
                let fenced = held < self.state.fence;
                let refused = At::Calling { held, call: Call::Refused };
                if fenced {
                    self.add(Step::Refuse(self.worker), self.state.with(self.worker, refused));
                } else {
                    let started = self.state.started + 1;
                    let accepted = At::Calling { held, call: Call::Accepted(started) };
                    let state = State { started, ..*self.state }.with(self.worker, accepted);
                    self.add(Step::Accept(self.worker), state);
                    if let Some(state) = self.spend(|faults| &mut faults.refusals) {
                        self.add_fault(Step::Refuse(self.worker), state.with(self.worker, refused));
                    }
                }
            }
        }
        if call != Call::Refused
            && let Some(state) = self.lose()
        {
            let state = state.with(self.worker, unknown);
            let state = if call == Call::Sent { state.with_orphan(held) } else { state };
            self.add_fault(Step::GiveUp(self.worker), state);
        }
    }

    /// Of two letters the first is stored; an announced end tells its money in any case.
    fn tell(&mut self, out: Out, called: bool) {
        let mut told = self.state.told;
        match out {
            Out::Done(_) => told.completed = true,
            out => told.letter = told.letter.or(Some(self.model.charges.books(out, called))),
        }
        let after = if self.model.rules.tells_before_ack { At::Acking } else { At::Idle };
        self.add(Step::Go(self.worker), State { told, ..self.state.with(self.worker, after) });
        if let Some(state) = self.lose() {
            let state = state.with(self.worker, At::Idle);
            self.add_fault(Step::Unanswered(self.worker), state);
            self.add_fault(Step::Unanswered(self.worker), State { told, ..state });
        }
    }

    fn acknowledge(&mut self) {
        let at = self.state.workers[self.worker];
        let after = if at == At::Acking { At::Idle } else { at };
        self.add(Step::Go(self.worker), State { acked: true, ..self.state.with(self.worker, after) });
        if let Some(state) = self.lose() {
            self.add_fault(Step::Unanswered(self.worker), state.with(self.worker, At::Idle));
        }
    }

    /// Writes the claim and goes on as it turns out: stored, refused by its revision, or without an answer.
    fn write(&mut self, held: u8, claim: Claim, stored: impl Fn(u8) -> At, failed: At) {
        if self.model.rules.checks_revision && held != self.state.revision() {
            return self.go(failed);
        }
        let at = stored(self.state.revision() + 1);
        self.add(Step::Go(self.worker), self.state.with_claim(claim).with(self.worker, at));
        if let Some(state) = self.lose() {
            let state = state.with(self.worker, failed);
            self.add_fault(Step::Unanswered(self.worker), state.with_claim(claim));
            self.add_fault(Step::Unanswered(self.worker), state);
            let late = Some(Late { held, claim });
            self.add_fault(Step::Unanswered(self.worker), State { late, ..state });
        }
    }
}
