//! What workers do.

pub mod begin;
pub mod delivered;
pub mod machine;
