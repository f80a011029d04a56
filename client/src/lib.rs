//! What a Rust service uses to give the fleet work and get its results. [`Client`] has what nearly every service needs:
//! submit a job, follow it, fetch its files; `examples/rust` is a whole program. The modules have the rest: ask the
//! routers, read and redrive what is parked, and read and set the configuration documents.

pub mod api;
pub mod breakers;
pub mod documents;
pub mod files;
pub mod follow;
pub mod parked;
mod service;
pub mod submit;
pub mod workflow;

/// The messages: jobs, events, artifacts. A service needs no other crate of the fleet than this one.
pub use schemas;
pub use service::{Client, Following, new_job};
