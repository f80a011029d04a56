//! The router: takes jobs in, has `policy` decide, and carries the decision out.
//!
//! It is stateless: what it knows comes from watched buckets and stream state, what it did is in the
//! broker before it acknowledges what it read. Two routers on the same consumers change nothing but
//! speed, and one may be killed between any two lines: every step is a publish with an id of its own,
//! then the acknowledgement, and a repeat is a no-op (see the modules for each).
//!
//! | module | what it does |
//! |---|---|
//! | [`intake`] | jobs from the lanes: admit, plan, place |
//! | [`keys`] | idempotency keys: one job for each |
//! | [`place`] | reserve, `assigned` event, assignment; recovery of a half-done placement |
//! | [`dead`] | failed attempts: retry, failover, end |
//! | [`ending`] | terminal events, parking, refusals |
//! | [`fleet`] | offers, backlog, breakers: the fleet as plans see it |
//! | [`reserving`] | asks the ledger for money, in batches |
//! | `queue` | what lies in the work queues |
//! | [`too_new`] | what is of a newer schema: handed back, then put aside |
//! | [`orphans`] | what the broker holds and gives to nobody: sent again |
//! | [`sweep`] | takes waiting work back from backends without workers, or far behind |
//! | `unrun` | the dead letter of what no worker will end |
//! | [`advisories`] | messages that the broker gave up on |
//! | [`history`] | what happened to one job, from its events |
//! | [`api`] | status, explain, cancel, estimate, backends |

pub mod advisories;
pub mod api;
pub mod dead;
pub mod ending;
pub mod fleet;
pub mod history;
pub mod intake;
pub mod keys;
pub mod orphans;
pub mod place;
mod queue;
pub mod reserving;
pub mod room;
pub mod shared;
pub mod start;
pub mod sweep;
pub mod too_new;
mod unrun;
