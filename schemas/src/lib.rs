//! The wire: every message that crosses a process boundary, and where it travels.
//!
//! Passive data only. Nothing here does I/O, reads a clock or decides anything; decisions live in
//! `policy`, plumbing in `runtime`. Messages are MessagePack maps or JSON objects, told apart by the
//! `Content-Type` header ([`codec`]). Readers tolerate unknown fields, and those of a job are kept and written again
//! ([`UnknownFields`]; a new guard in `constraints` needs a new [`SCHEMA_VERSION`]); unknown enum values decode to
//! `Unknown` and are refused later, with a reason, by policy.
//!
//! Two rules keep old and new processes together: a field is only ever added with a default, and the
//! bytes of every message are locked by golden files (`golden/v1`; those of releases in `golden/frozen`), so a change shows up
//! as a change to a file.

pub mod api;
pub mod artifact;
pub mod assignment;
pub mod attempt;
pub mod bill;
pub mod breaker;
pub mod calendar;
pub mod cancel;
pub mod catalog;
pub mod codec;
pub mod config;
pub mod dead;
pub mod decision;
pub mod digest;
pub mod event;
pub mod failure;
pub mod ids;
pub mod job;
pub mod json_schema;
pub mod key;
pub mod money;
pub mod offer;
pub mod parked;
pub mod price;
pub mod progress;
pub mod queue;
pub mod reserve;
pub mod samples;
pub mod state;
pub mod subjects;
pub mod tenants;
pub mod text;
pub mod topology;
mod unknown;
pub mod workflow;

pub use artifact::{Artifact, ArtifactRef, SavedAs};
pub use assignment::Assignment;
pub use attempt::{
    AttemptFacts, AttemptRecord, AttemptState, Charge, ChargeState, DeliveredResult, Manifest, Outcome,
    RunSpan,
};
pub use cancel::CancelRequest;
pub use catalog::{Catalog, Service};
pub use codec::{DecodeError, Encoding};
pub use config::PolicyConfig;
pub use dead::DeadLetter;
pub use decision::{Candidate, CarriedDecision, Decision, FilterReason, Rejection, Terms};
pub use event::{Event, Fact, JobFacts};
pub use failure::{Failure, FailureCode};
pub use ids::{AttemptId, Backend, Class, JobId, Tenant, WorkerId};
pub use job::{Body, Constraints, Input, Job, Kind, Lane, Preferences, Profile};
pub use key::KeyRecord;
pub use money::MicroUsd;
pub use offer::{ClassOffer, Gpu, Health, Offer, RUNNING_MAX, RunningAttempt, ServerBreaker};
pub use parked::Parked;
pub use price::{Price, PriceList, Unit, Usage};
pub use progress::{Phase, Progress};
pub use queue::{Capability, Queue};
pub use state::JobState;
pub use tenants::{Listing, PaidConsent, TenantConfig, TenantPolicy, TenantsConfig, Unlisted};
pub use unknown::UnknownFields;

/// The version written into every message by this build.
pub const SCHEMA_VERSION: u16 = 1;
