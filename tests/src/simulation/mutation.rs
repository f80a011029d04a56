//! Breaches of the protocol, made on purpose: the invariants have to notice each of them.

/// What is done wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mutation {
    /// Nothing: the steps of the real processes.
    #[default]
    None,
    /// Workers call the provider without a claim.
    SkipTheIntent,
    /// Workers acknowledge an assignment before its end is published.
    AcknowledgeFirst,
    /// Everything but ends is published without what makes a repeat of it harmless: an id, or an expectation.
    DropTheMessageId,
    /// Workers call the provider again when the answer to a paid start was lost.
    RetryThePaidCall,
    /// Ends are published wherever another end may be.
    SettleTwice,
    /// Claims are written over whatever is there.
    IgnoreTheRevision,
    /// Routers ask for money after the assignment is out.
    ReserveLate,
    /// A cancel purges paid work that a worker has claimed.
    PurgeClaimed,
    /// Workers tell an outcome that they could not write into their claim.
    TellUnrecorded,
    /// A cancel purges waiting work before the job's end is stored.
    PurgeFirst,
    /// Workers end paid attempts by a first look, without asking for the claim.
    TrustFirstDelivery,
    /// Routers and ledger take a job's own word over its tenant's.
    TrustTheJob,
    /// Routers take every job for the first with its idempotency key.
    IgnoreTheKey,
    /// Routers acknowledge a job before they place it.
    AcknowledgeTheJobFirst,
    /// Routers delete a job that they read past its consumer before they place it.
    DeleteWhatIsReadPast,
    /// Routers acknowledge a failed attempt before they follow it up.
    AcknowledgeTheFailureFirst,
    /// Routers take refused money for granted.
    SpendWhatWasRefused,
    /// The ledger removes the ends of jobs and leaves no marker of them.
    SkipTheMarker,
    /// Routers and workers take a claim that is gone by its age for one that never was.
    IgnoreTheAgeOfClaims,
    /// Routers remove old keys and cancel requests whether or not their jobs are over.
    RemoveWhatGuards,
}

impl Mutation {
    /// All of them, with the word by which a list names them.
    pub const ALL: [(Self, &'static str); 20] = [
        (Self::SkipTheIntent, "skip-the-intent"),
        (Self::AcknowledgeFirst, "acknowledge-first"),
        (Self::DropTheMessageId, "drop-the-message-id"),
        (Self::RetryThePaidCall, "retry-the-paid-call"),
        (Self::SettleTwice, "settle-twice"),
        (Self::IgnoreTheRevision, "ignore-the-revision"),
        (Self::ReserveLate, "reserve-late"),
        (Self::PurgeClaimed, "purge-claimed"),
        (Self::TellUnrecorded, "tell-unrecorded"),
        (Self::PurgeFirst, "purge-first"),
        (Self::TrustFirstDelivery, "trust-first-delivery"),
        (Self::TrustTheJob, "trust-the-job"),
        (Self::IgnoreTheKey, "ignore-the-key"),
        (Self::AcknowledgeTheJobFirst, "acknowledge-the-job-first"),
        (Self::DeleteWhatIsReadPast, "delete-what-is-read-past"),
        (Self::AcknowledgeTheFailureFirst, "acknowledge-the-failure-first"),
        (Self::SpendWhatWasRefused, "spend-what-was-refused"),
        (Self::SkipTheMarker, "skip-the-marker"),
        (Self::IgnoreTheAgeOfClaims, "ignore-the-age-of-claims"),
        (Self::RemoveWhatGuards, "remove-what-guards"),
    ];
}
