//! The verdicts of trials as text for people.

pub mod bench;
pub mod demo;
pub mod drill;
pub mod simulate;
