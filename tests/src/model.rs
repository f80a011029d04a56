//! Model of the claim protocol (promise P2), explored exhaustively: who may call the provider for an attempt
//! when its assignment is delivered twice, workers are paused or killed, and answers of the broker are lost,
//! late or stale.
//!
//! [`claim`] is the state, [`step`] what can happen next, [`check`] what must hold, [`explore`] the search.
//! What the worker host decides is asked of the real `protocol::worker::machine`; only its plumbing is drawn
//! again here, step by step as in `protocol/src/worker/run.rs`.
//!
//! The explorer is our own: `stateright` (0.31, 44 crates with its web server, no features to turn off)
//! leaves out cycles when it checks that something happens eventually, and a hand-back is a cycle.

pub mod check;
pub mod claim;
pub mod explore;
mod real;
pub mod step;
