//! What happens to a fleet in a run: a list of operations, made from a seed or read from a text.

pub mod generate;
pub mod text;

use super::provider::Trouble;

/// A job as a list names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Order {
    /// Its number in the run.
    pub job: u32,
    /// 0 to 2, most urgent first; 3 for a subject of no lane.
    pub lane: usize,
    /// Of the larger class.
    pub large: bool,
    /// Of the tenant who consents to spend.
    pub generous: bool,
    /// Its own word on money.
    pub paid: Option<bool>,
    /// Only this backend, by number.
    pub only: Option<usize>,
    /// Never our own machines.
    pub away: bool,
    /// Its ceiling, micro-dollars.
    pub cost_micro_usd: Option<i64>,
    /// Its deadline, milliseconds after it is submitted.
    pub deadline_ms: Option<i64>,
    /// It asks for what nobody makes.
    pub invalid: bool,
    /// Its idempotency key, by number.
    pub key: Option<u32>,
    /// An earlier job whose result is its input, if that has one by then.
    pub uses: Option<u32>,
    /// It has an uploaded input that goes by its age so long after it is submitted, milliseconds.
    pub input_ms: Option<i64>,
}

/// Something that happens. Lengths are milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A client publishes a job.
    Submit(Order),
    /// A client publishes the same job once more.
    Again {
        /// Which.
        job: u32,
    },
    /// A client asks to cancel a job.
    Cancel {
        /// Which.
        job: u32,
    },
    /// An operator removes a job's assignment from its queue, also while a worker has it in hand. One that carries its decision is
    /// the only track of its job, so that nothing could know of the job any more: it stays.
    Purge {
        /// Which.
        job: u32,
    },
    /// A job's assignment cannot be read any more where it lies. As with [`Self::Purge`], the only track of a job stays.
    Garble {
        /// Which.
        job: u32,
    },
    /// The broker delivers what a job has in anybody's hand once more.
    Redeliver {
        /// Which.
        job: u32,
    },
    /// A process dies and is started again later.
    Kill {
        /// Which.
        process: usize,
        /// How long it is away.
        for_ms: i64,
    },
    /// A process is stopped (SIGSTOP) for a while.
    Pause {
        /// Which.
        process: usize,
        /// For how long.
        for_ms: i64,
    },
    /// A process cannot reach the broker for a while.
    Cut {
        /// Which.
        process: usize,
        /// For how long.
        for_ms: i64,
    },
    /// A part of a process's calls and answers is lost for a while.
    Lossy {
        /// Which.
        process: usize,
        /// For how long.
        for_ms: i64,
    },
    /// A process's clock is off from now on.
    Clock {
        /// Which.
        process: usize,
        /// By how much after it was corrected.
        off_ms: i64,
        /// By how much the times in its offers and failed attempts are: those of a release that corrects nothing.
        stamps_ms: i64,
    },
    /// A worker is asked to stop (SIGTERM), lets go after a grace and is started again.
    Drain {
        /// Which.
        process: usize,
        /// Its grace.
        for_ms: i64,
    },
    /// A process is stopped for a while the moment it holds a new claim.
    Trap {
        /// Which.
        process: usize,
        /// For how long.
        for_ms: i64,
    },
    /// A worker dies when a result lies in its spool, or when its own server has begun work that hangs there, and is
    /// started again later.
    Snatch {
        /// Which.
        process: usize,
        /// How long it is away.
        for_ms: i64,
        /// A client asks to cancel the job so much later.
        cancel_ms: Option<i64>,
    },
    /// A worker is cut off from the broker the moment a result lies in its spool.
    Sever {
        /// Which.
        process: usize,
        /// For how long.
        for_ms: i64,
    },
    /// The artifact store takes nothing for a while.
    StoreFull {
        /// For how long.
        for_ms: i64,
    },
    /// A provider misbehaves for a while.
    Provider {
        /// Which, by number.
        backend: usize,
        /// How.
        trouble: Trouble,
        /// For how long.
        for_ms: i64,
    },
    /// A provider restarts under what it runs.
    Restart {
        /// Which, by number.
        backend: usize,
    },
    /// The ledger's database is away for a while.
    LedgerAway {
        /// For how long.
        for_ms: i64,
    },
    /// An operator deletes a consumer, and a process makes it anew: it delivers all that it holds as if for the first time.
    Remake {
        /// Which, by number ([`super::broker`]).
        consumer: usize,
    },
    /// The ledger makes room in the stream of events.
    MakeRoom,
    /// The bucket of claims is full for a while.
    ClaimsFull {
        /// For how long.
        for_ms: i64,
    },
    /// A process cannot read a document for a while.
    Unreadable {
        /// Which.
        process: usize,
        /// For how long.
        for_ms: i64,
    },
    /// A router of an older release takes the place of one for a while: it takes no job of the schema that clients use.
    Older {
        /// Which.
        process: usize,
        /// For how long.
        for_ms: i64,
    },
    /// The machine with the broker and all processes sleeps. The times of what follows in a list do not count this.
    StandStill {
        /// For how long.
        for_ms: i64,
    },
    /// The broker restarts; acknowledgements that it had not confirmed may be gone.
    Broker {
        /// How long it is away.
        for_ms: i64,
    },
}

impl Operation {
    /// The job it is about.
    #[must_use]
    pub const fn job(&self) -> Option<u32> {
        match self {
            Self::Submit(order) => Some(order.job),
            Self::Again { job }
            | Self::Cancel { job }
            | Self::Purge { job }
            | Self::Garble { job }
            | Self::Redeliver { job } => Some(*job),
            _ => None,
        }
    }
}
