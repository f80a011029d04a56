//! Makes a failing list small: parts are dropped by halves, then one by one, then what is left is made
//! plainer. A list counts as failing when the same promise breaks.

use super::invariants::Promise;
use super::mutation::Mutation;
use super::operations::text::List;
use super::operations::{Operation, Order};
use super::run;

/// Runs that one shrinking may take.
const RUNS_MAX: u32 = 4_000;

struct Shrinking {
    seed: u64,
    mutation: Mutation,
    promise: Promise,
    runs: u32,
}

/// The smallest list found that breaks the same promise.
#[must_use]
pub fn shrink(list: &List, mutation: Mutation, promise: Promise) -> List {
    let mut shrinking = Shrinking { seed: list.seed, mutation, promise, runs: 0 };
    let mut operations = list.operations.clone();
    loop {
        let before = operations.clone();
        operations = shrinking.drop_parts(operations);
        operations = shrinking.simplify(operations);
        if operations == before || shrinking.runs >= RUNS_MAX {
            return List { seed: list.seed, operations };
        }
    }
}

impl Shrinking {
    fn fails(&mut self, operations: &[(i64, Operation)]) -> bool {
        self.runs += 1;
        let list = List { seed: self.seed, operations: operations.to_vec() };
        self.runs <= RUNS_MAX
            && run(&list, self.mutation).1.is_some_and(|breach| breach.promise == self.promise)
    }

    /// Halves, quarters, down to single operations.
    fn drop_parts(&mut self, mut operations: Vec<(i64, Operation)>) -> Vec<(i64, Operation)> {
        let mut size = operations.len() / 2;
        while size >= 1 {
            let mut at = 0;
            while at < operations.len() {
                let mut fewer = operations.clone();
                fewer.drain(at..(at + size).min(operations.len()));
                if self.fails(&fewer) {
                    operations = fewer;
                } else {
                    at += size;
                }
            }
            size /= 2;
        }
        operations
    }

    /// Drops what an order asks for beyond the plain.
    fn simplify(&mut self, mut operations: Vec<(i64, Operation)>) -> Vec<(i64, Operation)> {
        for at in 0..operations.len() {
            let Operation::Submit(order) = operations[at].1 else { continue };
            let plainer = [
                Order { lane: 1, ..order },
                Order { large: false, ..order },
                Order { generous: false, ..order },
                Order { cost_micro_usd: None, ..order },
                Order { deadline_ms: None, ..order },
                Order { away: false, ..order },
                Order { uses: None, ..order },
                Order { input_ms: None, ..order },
                Order { only: None, ..order },
                Order { paid: None, ..order },
            ];
            for order in plainer {
                let Operation::Submit(now) = operations[at].1 else { continue };
                let merged = merge(now, order, at, &operations);
                if merged != operations && self.fails(&merged) {
                    operations = merged;
                }
            }
        }
        operations
    }
}

/// The list with one more thing left out of an order.
fn merge(now: Order, plainer: Order, at: usize, operations: &[(i64, Operation)]) -> Vec<(i64, Operation)> {
    let pick = |value: Option<i64>, other: Option<i64>| if other.is_none() { None } else { value };
    let order = Order {
        job: now.job,
        lane: if plainer.lane == 1 { 1 } else { now.lane },
        large: now.large && plainer.large,
        generous: now.generous && plainer.generous,
        paid: now.paid.filter(|_| plainer.paid.is_some()),
        only: now.only.filter(|_| plainer.only.is_some()),
        away: now.away && plainer.away,
        cost_micro_usd: pick(now.cost_micro_usd, plainer.cost_micro_usd),
        deadline_ms: pick(now.deadline_ms, plainer.deadline_ms),
        invalid: now.invalid,
        key: now.key,
        uses: now.uses.filter(|_| plainer.uses.is_some()),
        input_ms: pick(now.input_ms, plainer.input_ms),
    };
    let mut changed = operations.to_vec();
    changed[at].1 = Operation::Submit(order);
    changed
}
