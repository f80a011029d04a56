//! The serverless data plane: `POST /run`, `GET /status/{id}`, `POST /cancel/{id}`, `GET /health`; and of the management
//! API the billing call ([`billing`]).
//!
//! Everything that thinks is pure and tabled in tests: [`wire`] reads, [`request`] writes, [`errors`] and
//! [`jobs`] translate failures, [`output`] finds the files, [`poll`] paces. [`client`] only moves bytes.

pub mod billing;
pub mod client;
pub mod errors;
pub mod jobs;
pub mod output;
pub mod poll;
pub mod request;
pub mod wire;
