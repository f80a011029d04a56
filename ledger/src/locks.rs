//! The three advisory locks that serialise writers.
//!
//! `INGEST` is held by a transaction that folds jobs, so that no two fold the same job from different
//! knowledge and what is new for one is new (only then may it be copied in), and while partitions are made.
//!
//! `MONEY` is held by whoever moves money: a reservation from reading the budgets to its commit, an ingest for
//! its last step. Reservations therefore see books that stand still, and cannot overshoot a budget by a
//! micro-dollar however many routers ask. Row locks on budgets were rejected: a reservation touches four budgets
//! and a job's ceiling, and the order of locks becomes the design.
//!
//! `ROLLUP` is held by the one process that sums rows for the views ([`crate::rollup`]); it is never waited for.

pub(crate) const INGEST_LOCK: i64 = 0x4152_474f_0001;
pub(crate) const MONEY_LOCK: i64 = 0x4152_474f_0002;
pub(crate) const ROLLUP_LOCK: i64 = 0x4152_474f_0003;
