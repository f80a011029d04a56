//! Trials of a whole fleet: the demo, the kill drill, the benchmark. Each starts a fleet of real processes, gives it
//! work, and judges what came of it; what a person sees of a verdict is printed by `ops`.

pub mod audience;
pub mod bench;
pub mod chance;
mod counters;
pub mod demo;
pub mod drill;
pub mod figures;
pub mod made_up;
pub mod migrations;
