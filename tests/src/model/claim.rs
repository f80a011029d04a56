//! The state: claim, message, workers, provider, and what was told of the attempt.

/// The workers that an assignment can be delivered to.
pub const WORKERS: usize = 2;
/// Revisions that a claim can have; enough for the faults allowed.
pub const REVISIONS_MAX: usize = 20;
/// Starts without a sender that are kept; each costs a fault.
pub const ORPHANS_MAX: usize = 3;
/// Deliveries are counted up to here: one more than makes `poison`.
pub const DELIVERED_MAX: u8 = schemas::topology::POISON_DELIVERIES as u8 + 1;

/// What a provider lets us find out about a start without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Nothing: Gemini, and RunPod without webhooks.
    Silent,
    /// Nothing, and its answer is the result, of which it keeps none: Gemini's pictures.
    Answers,
    /// It may call us back with the id; its silence says nothing.
    CallsBack,
    /// It lists what it has by our name, and starts a second run under the same name.
    Lists,
    /// It lists by name, and once it was asked refuses every start that was meant before.
    Fences,
}

/// The protocol's rules; each can be broken to see that the checker notices.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The provider is called only under a claim.
    pub claims_first: bool,
    /// Every write names the revision it builds on.
    pub checks_revision: bool,
    /// A provider that cannot tell is never taken to say "not started".
    pub doubts_silence: bool,
    /// A recorded id is resumed.
    pub resumes_by_id: bool,
    /// What was delivered and is refused by the store is kept and stored later, not made again.
    pub keeps_delivered: bool,
    /// An outcome is told although the claim could not record it: its redelivery would say less.
    pub tells_unrecorded: bool,
    /// The outcome is told before the assignment is acknowledged.
    pub tells_before_ack: bool,
    /// A cancel takes a waiting paid assignment out of its queue only under a claim of its own.
    pub cancels_under_claim: bool,
}

impl Rules {
    /// As they should be.
    pub const KEPT: Self = Self {
        claims_first: true,
        checks_revision: true,
        doubts_silence: true,
        resumes_by_id: true,
        keeps_delivered: true,
        tells_unrecorded: true,
        tells_before_ack: true,
        cancels_under_claim: true,
    };
}

/// Faults that may yet happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Faults {
    /// Workers killed; another takes the place at once.
    pub kills: u8,
    /// Requests and answers lost, or late.
    pub lost: u8,
    /// Starts that the provider refuses, and results that the store does.
    pub refusals: u8,
    /// Changes of the broker's leader that forget how often a message was delivered.
    pub recounts: u8,
    /// Somebody cancels the job.
    pub cancels: u8,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Out {
    /// Made and billed.
    Done(u8),
    /// The provider refused the start.
    Refused,
    /// Nobody can tell, or its id could not be recorded.
    Unknown(Option<u8>),
    /// Put aside.
    Poison(Option<u8>),
    /// Delivered, and the result was not stored for as long as it was kept.
    NotStored(u8),
    /// Cancelled before a worker began with it.
    CancelledUnbegun,
    /// Cancelled before the provider was called, by its claimant.
    CancelledBefore,
    /// Cancelled at the provider, which said what it cost until then.
    CancelledAt(u8),
}

/// One revision of the claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Claim {
    /// Somebody is about to call the provider.
    Intent,
    /// The provider's id is known.
    Started(u8),
    /// The work is done, and the provider keeps the result.
    Delivered(u8),
    /// The work is done, and a worker's spool has the result.
    Spooled(u8),
    /// It ended.
    Settled(Out),
}

/// A start on its way to the provider and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// Sent.
    Sent,
    /// Accepted, under this id.
    Accepted(u8),
    /// Refused.
    Refused,
}

/// Where a worker is with its delivery. `delivered` counts deliveries, `seen` is the revision of the claim
/// that it read, `held` the one that it builds on, `id` the provider's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the fields are told above")]
pub enum At {
    /// It has no delivery.
    Idle,
    /// It has one and has done nothing yet.
    Got { delivered: u8 },
    /// About to ask for the claim.
    Asking { delivered: u8 },
    /// Read the claim of somebody before it.
    Taking { delivered: u8, seen: u8 },
    /// About to ask the provider what became of a start.
    Finding { held: u8 },
    /// About to record what it found.
    FoundStarted { held: u8, id: u8 },
    /// About to claim anew what never started.
    FoundNothing { held: u8 },
    /// About to call the provider.
    Starting { held: u8 },
    /// Waits for the provider's answer.
    Calling { held: u8, call: Call },
    /// About to record the provider's id.
    Recording { held: u8, id: u8 },
    /// Follows the work by its id.
    Following { held: u8, id: u8 },
    /// About to write into the claim that the result is there.
    Marking { held: u8, id: u8 },
    /// About to store the result.
    Storing { held: u8, id: u8 },
    /// Waits until the worker whose spool has the result has stored it.
    Awaiting { seen: u8 },
    /// About to record the outcome; `called` as in `machine::Ended`.
    Settling { held: Option<u8>, out: Out, called: bool },
    /// About to tell it.
    Telling { out: Out, called: bool },
    /// About to acknowledge.
    Acking,
}

/// A write that the broker has not stored yet and that nobody waits for any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Late {
    /// The revision it builds on.
    pub held: u8,
    /// What it would write.
    pub claim: Claim,
}

/// What was told of the attempt's money. Of two letters the broker stores the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Told {
    /// Whether the stored letter books money.
    pub letter: Option<bool>,
    /// The work was announced, with its charge.
    pub completed: bool,
    /// A router ended the job as cancelled while it waited; it knows of no money.
    pub ended: bool,
}

/// Everything.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    /// The claim's revisions, from 1.
    pub log: [Option<Claim>; REVISIONS_MAX],
    /// A write that may arrive late.
    pub late: Option<Late>,
    /// Deliveries so far.
    pub delivered: u8,
    /// The assignment is gone from its queue.
    pub acked: bool,
    /// Somebody asked for the job to be cancelled.
    pub cancelled: bool,
    /// The workers.
    pub workers: [At; WORKERS],
    /// Starts on their way to the provider whose senders are gone: the revisions they were made under.
    pub orphans: [Option<u8>; ORPHANS_MAX],
    /// Paid runs that the provider started.
    pub started: u8,
    /// The result that lies in a spool, by its run: it outlives the worker.
    pub spooled: Option<u8>,
    /// The provider refuses starts made under an earlier revision than this.
    pub fence: u8,
    /// What was told.
    pub told: Told,
    /// Faults left.
    pub faults: Faults,
}

impl State {
    /// An assignment that waits.
    #[must_use]
    pub const fn new(faults: Faults) -> Self {
        Self {
            log: [None; REVISIONS_MAX],
            late: None,
            delivered: 0,
            acked: false,
            cancelled: false,
            workers: [At::Idle; WORKERS],
            orphans: [None; ORPHANS_MAX],
            started: 0,
            spooled: None,
            fence: 0,
            told: Told { letter: None, completed: false, ended: false },
            faults,
        }
    }

    /// The claim's revision; 0 for none.
    #[must_use]
    pub fn revision(&self) -> u8 {
        u8::try_from(self.log.iter().flatten().count()).unwrap_or(u8::MAX)
    }

    /// What a revision says.
    ///
    /// # Panics
    /// When there is no such revision: a flaw of the model.
    #[must_use]
    pub fn claim(&self, revision: u8) -> Claim {
        self.log[usize::from(revision) - 1].expect("a revision that exists")
    }

    /// Stores a revision.
    ///
    /// # Panics
    /// When the log is full: the bounds do not fit the faults.
    #[must_use]
    pub fn with_claim(mut self, claim: Claim) -> Self {
        let next = usize::from(self.revision());
        assert!(next < REVISIONS_MAX, "more than {REVISIONS_MAX} revisions");
        self.log[next] = Some(claim);
        self
    }

    /// The same with a worker somewhere else.
    #[must_use]
    pub fn with(mut self, worker: usize, at: At) -> Self {
        self.workers[worker] = at;
        self
    }

    /// The same with a start on its way whose sender no longer listens.
    ///
    /// # Panics
    /// When there are too many: the bounds do not fit the faults.
    #[must_use]
    pub fn with_orphan(mut self, held: u8) -> Self {
        let free = self.orphans.iter().position(Option::is_none).expect("fewer orphans");
        self.orphans[free] = Some(held);
        self.orphans.sort_unstable();
        self
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let log: Vec<Claim> = self.log.iter().flatten().copied().collect();
        write!(out, "claim {log:?}, workers {:?}, started {}, {:?}", self.workers, self.started, self.told)?;
        write!(out, ", delivered {}{}", self.delivered, if self.acked { ", acknowledged" } else { "" })?;
        write!(out, "{}", if self.cancelled { ", cancelled" } else { "" })
    }
}
