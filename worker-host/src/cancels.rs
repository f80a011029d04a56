//! Requests to cancel jobs, as this crate's callers know them.

pub use runtime::cancels::Cancels;
