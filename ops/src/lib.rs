//! The `argosy` command and what it stands on: servers and processes that it starts and ends.

pub mod process;
pub mod servers;
