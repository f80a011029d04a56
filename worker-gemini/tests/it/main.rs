//! The Gemini worker: its tables, and its behaviour against the simulator.

mod answers;
mod configuration;
mod conformance;
mod counting;
mod keys;
mod refusals;
mod runs;
mod sizing;
mod world;
