//! What routers do: jobs are taken in, placed, followed up and ended.
//!
//! | module | what it does |
//! |---|---|
//! | [`intake`] | a job from its lane: decode, admit, key, tracks, place, answer |
//! | [`room`] | jobs in hand that wait for room, in fair order |
//! | [`read_past`] | the first jobs of other tenants behind those that wait |
//! | [`keys`] | idempotency keys: one job for each |
//! | [`place`] | reserve, `assigned` event, assignment; resuming a half-done placement |
//! | [`failed_attempts`] | retry, failover, end |
//! | [`ending`] | terminal events, refusals |
//! | [`parking`] | what is put aside for an operator |
//! | [`history`] | what happened to one job, from its tracks |
//! | [`withdraw`] | assignments that no worker will end |
//! | [`take_back`] | waiting work of backends without workers, or far behind |
//! | [`cancel`] | a job that is to be cancelled |
//! | [`orphans`] | messages that their consumer has passed |
//! | [`rhythm`] | how often a router looks |
//! | [`stalled`] | messages in delivery that are in nobody's hands |
//! | [`unended`] | jobs whose work cannot be read, or is gone |
//! | [`lost`] | open jobs of which no stream holds anything |
//! | [`too_new`] | messages of a newer schema |

pub mod cancel;
mod decide;
pub mod ending;

pub mod failed_attempts;
pub mod first_to_go;
pub mod guards;
pub mod history;
pub mod inputs;
pub mod intake;
pub mod job;
pub mod keys;
pub mod lost;
pub mod orphans;
pub mod parking;
pub mod place;
pub mod ports;
pub mod read_past;
pub mod rhythm;
pub mod room;
mod scene;
pub mod schedule;
pub mod stalled;
pub mod take_back;
pub mod too_new;
pub mod unended;
mod view;
pub mod withdraw;

pub use job::{AdmittedJob, Placement};
pub use ports::{BucketEntry, Delivery, KeysLeft, LastAssigned, LedgerAway, Queued, RouterPorts};
