//! Breadth-first search over all states of a model: shortest way to a broken rule, and states from which
//! nothing but new faults can happen, or from which the end cannot be reached.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// What can be explored.
pub trait Model {
    /// One state; small, since all are kept.
    type State: Copy + Eq + Hash + Debug;
    /// What leads from one state to the next.
    type Step: Copy + Debug;

    /// Where it begins.
    fn start(&self) -> Self::State;
    /// What can happen in a state.
    fn steps(&self, state: &Self::State, found: &mut Vec<Next<Self::Step, Self::State>>);
    /// The rule that a state breaks.
    fn broken(&self, state: &Self::State) -> Option<&'static str>;
    /// Whether everything is over.
    fn is_over(&self, state: &Self::State) -> bool;
}

/// One thing that can happen.
#[derive(Debug, Clone, Copy)]
pub struct Next<P, S> {
    /// What happens.
    pub step: P,
    /// What it leads to.
    pub state: S,
    /// It is a fault: it need not happen, so nothing may depend on it.
    pub fault: bool,
}

/// What an exploration found.
#[derive(Debug)]
pub struct Explored {
    /// States seen.
    pub states: usize,
    /// Steps between them.
    pub steps: usize,
    /// The broken rule and the shortest way to it.
    pub broken: Option<Broken>,
}

/// A broken rule.
#[derive(Debug)]
pub struct Broken {
    /// Which rule.
    pub rule: &'static str,
    /// The way to it, one line for each step with the state that it leads to.
    pub trace: Vec<String>,
}

/// The rule that the end can always be reached without a further fault.
pub const NEVER_ENDS: &str = "the end can be reached from everywhere";

/// Explores all states of a model, or up to the first broken rule.
///
/// # Panics
/// When there are more states than `states_max`: the model is not as small as its author thinks.
pub fn explore<M: Model>(model: &M, states_max: usize) -> Explored {
    let mut search =
        Search { states: vec![model.start()], from: vec![None], back: vec![Vec::new()], steps: 0 };
    let mut known: HashMap<M::State, usize, BuildHasherDefault<Mixer>> = HashMap::default();
    known.insert(model.start(), 0);
    let mut found = Vec::new();
    let mut at = 0;
    while at < search.states.len() {
        if let Some(rule) = model.broken(&search.states[at]) {
            return search.explored(Some((rule, at)));
        }
        model.steps(&search.states[at].clone(), &mut found);
        for next in found.drain(..) {
            search.steps += 1;
            let to = *known.entry(next.state).or_insert(search.states.len());
            if to == search.states.len() {
                assert!(to < states_max, "more than {states_max} states");
                search.states.push(next.state);
                search.from.push(Some((at, next.step)));
                search.back.push(Vec::new());
            }
            if !next.fault {
                search.back[to].push(at);
            }
        }
        at += 1;
    }
    let stuck = search.never_over(|state| model.is_over(state));
    search.explored(stuck.map(|at| (NEVER_ENDS, at)))
}

/// A quick hash of small states that nobody chooses to harm us.
#[derive(Default)]
struct Mixer(u64);

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(byte.into());
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u64(value.unsigned_abs() as u64);
    }

    fn finish(&self) -> u64 {
        // The map takes its bucket from the low bits, the products are best in the high ones.
        self.0.rotate_left(26)
    }
}

struct Search<S, P> {
    states: Vec<S>,
    /// The step by which each state was first reached.
    from: Vec<Option<(usize, P)>>,
    /// From where each state is reached without a fault.
    back: Vec<Vec<usize>>,
    steps: usize,
}

impl<S: Copy + Debug, P: Copy + Debug> Search<S, P> {
    /// The first state from which no faultless way leads to the end.
    fn never_over(&self, is_over: impl Fn(&S) -> bool) -> Option<usize> {
        let mut ends: Vec<bool> = self.states.iter().map(is_over).collect();
        let mut open: Vec<usize> = (0..ends.len()).filter(|&at| ends[at]).collect();
        while let Some(at) = open.pop() {
            for &before in &self.back[at] {
                if !ends[before] {
                    ends[before] = true;
                    open.push(before);
                }
            }
        }
        ends.iter().position(|ends| !ends)
    }

    fn explored(&self, broken: Option<(&'static str, usize)>) -> Explored {
        let broken = broken.map(|(rule, at)| Broken { rule, trace: self.trace(at) });
        Explored { states: self.states.len(), steps: self.steps, broken }
    }

    fn trace(&self, mut at: usize) -> Vec<String> {
        let mut trace = Vec::new();
        while let Some((before, step)) = self.from[at] {
            trace.push(format!("{step:?} -> {:?}", self.states[at]));
            at = before;
        }
        trace.reverse();
        trace
    }
}
