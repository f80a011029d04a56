//! Where jobs come from: a file, or a generator with a seed. What a ledger recorded would be one more [`Source`].

mod file;
mod generate;
mod source;
mod spec;

pub use file::{BadFile, parse};
pub use generate::{Generator, UnknownGenerator};
pub use source::Source;
pub use spec::Workload;
