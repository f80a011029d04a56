//! How often a router looks, and for how long it waits: the process and the simulations take the same figures.

use std::time::Duration;

/// How often the backlog is asked for.
pub const BACKLOG_EVERY: Duration = Duration::from_millis(300);

/// The same while jobs in hand wait for room: what ends makes room for them.
pub const BACKLOG_EVERY_WHEN_WAITING: Duration = Duration::from_millis(100);

/// How often a lane looks at what lies behind those that wait, while the waiting room is full.
pub const READ_PAST_EVERY: Duration = Duration::from_millis(100);

/// How many jobs of a lane a router has in hand, unless it is configured otherwise.
pub const IN_HAND_MAX: usize = 1_024;

/// How often a router looks at work that waits at the backends.
pub const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// How long the ledger may take to answer.
pub const LEDGER_REPLY_LIMIT: Duration = Duration::from_secs(3);

/// How often an absent ledger is looked for.
pub const LEDGER_LOOK_EVERY: Duration = Duration::from_millis(500);
