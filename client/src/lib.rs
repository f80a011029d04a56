//! What a Rust service uses to give the fleet work and get its results: submit a job, follow its events,
//! fetch its files, ask the routers, read and redrive what is parked, and read and set the configuration documents.

pub mod api;
pub mod documents;
pub mod files;
pub mod follow;
pub mod parked;
pub mod submit;
