//! ComfyUI's protocol: HTTP for everything that counts, a websocket for progress.
//!
//! The server knows no idempotency (the same prompt id posted twice runs twice), replays no websocket
//! message and names no process id. So: our own prompt id, derived from the attempt; a look into queue
//! and history before anything is submitted ([`lookup`]); polling as the authority ([`watch`]); the
//! socket for progress only. Existing client crates were rejected: none has client-chosen ids, targeted
//! cancel and the queue.

pub mod cancel;
pub mod client;
pub mod discovery;
pub mod errors;
pub mod graph;
pub mod lookup;
pub mod message;
pub mod outputs;
pub mod socket;
pub mod watch;
pub mod wire;

pub use worker_host::python_json;
