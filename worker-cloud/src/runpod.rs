//! The serverless data plane: `POST /run`, `GET /status/{id}`, `POST /cancel/{id}`, `GET /health`.
//!
//! Everything that thinks is pure and tabled in tests: [`wire`] reads, [`request`] writes, [`errors`] and
//! [`jobs`] translate failures, [`output`] finds the files, [`poll`] paces. [`client`] only moves bytes.

pub mod client;
pub mod errors;
pub mod jobs;
pub mod output;
pub mod poll;
pub mod request;
pub mod wire;
