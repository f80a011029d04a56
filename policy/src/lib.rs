//! Every decision of the fleet, as pure functions: same arguments, same answer.
//!
//! No clock, no randomness, no I/O, no async: time and seeds are arguments. The router, the workers
//! and the audit carry out what is concluded here and conclude nothing themselves. Functions are total:
//! odd configuration gives a poor decision with its reason, never a panic and never NaN; [`validate`]
//! is where odd configuration is refused, before it is used.

pub mod admit;
pub mod backoff;
pub mod baseline;
pub mod billing;
pub mod breaker;
pub mod breakers;
pub mod clocks;
pub mod cost;
pub mod defaults;
pub mod dispose;
pub mod fair;
pub mod fill;
pub mod fleet;
pub mod funds;
pub mod inbox;
pub mod inputs;
pub mod invariants;
pub mod overdue;
pub mod overhead;
pub mod plan;
pub mod retention;
pub mod schedule;
pub mod status;
pub mod stuck;
pub mod validate;
pub mod waiting;
