//! What must hold, and the model put together.

use crate::model::claim::{At, Faults, Out, Provider, Rules, State};
use crate::model::explore::{Model, Next};
use crate::model::real::{Begins, Charges};
use crate::model::step::{self, Step};

/// Rule: a provider starts at most one paid run for an attempt.
pub const PAID_TWICE: &str = "at most one paid start";
/// Rule: what was started is booked, whoever lived to tell of it.
pub const BILLED_UNBOOKED: &str = "what the provider started is booked";
/// Rule: an assignment is acknowledged only after its outcome was told.
pub const LOST: &str = "told before acknowledged";

/// The protocol with a provider, rules and faults.
pub struct Protocol {
    /// What the provider lets us find out.
    pub provider: Provider,
    /// Which rules are kept.
    pub rules: Rules,
    /// Which faults may happen.
    pub faults: Faults,
    pub(super) charges: Charges,
    pub(super) begins: Begins,
}

impl Protocol {
    /// Puts it together.
    #[must_use]
    pub fn new(provider: Provider, rules: Rules, faults: Faults) -> Self {
        let (charges, begins) = (Charges::of_the_machine(), Begins::of_the_machine());
        Self { provider, rules, faults, charges, begins }
    }
}

impl Model for Protocol {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State::new(self.faults)
    }

    fn steps(&self, state: &State, found: &mut Vec<Next<Step, State>>) {
        step::all(self, state, found);
    }

    fn broken(&self, state: &State) -> Option<&'static str> {
        let told = state.told.completed || state.told.ended || state.told.letter.is_some();
        if state.started > 1 {
            return Some(PAID_TWICE);
        }
        if state.acked && !told {
            return Some(LOST);
        }
        let booked = state.told.completed || state.told.letter == Some(true);
        (self.is_over(state) && state.started > 0 && !booked).then_some(BILLED_UNBOOKED)
    }

    /// Nobody has anything left to do or to say about the attempt.
    fn is_over(&self, state: &State) -> bool {
        state.acked
            && state.workers.iter().all(|at| *at == At::Idle)
            && state.orphans.iter().all(Option::is_none)
    }
}

/// All outcomes that a claim can hold, for tables.
pub(super) fn outs() -> Vec<Out> {
    let ids = [None, Some(1), Some(2)];
    let mut outs = vec![Out::Refused, Out::CancelledUnbegun, Out::CancelledBefore];
    outs.extend(
        ids.into_iter().flatten().flat_map(|id| [Out::Done(id), Out::NotStored(id), Out::CancelledAt(id)]),
    );
    outs.extend(ids.into_iter().flat_map(|id| [Out::Unknown(id), Out::Poison(id)]));
    outs
}
