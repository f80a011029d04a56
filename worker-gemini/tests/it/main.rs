//! The Gemini worker: its tables, and its behaviour against the simulator.

mod answers;
mod bounds;
mod configuration;
mod conformance;
mod counting;
mod keys;
mod odd;
mod outcomes;
mod refusals;
mod runs;
mod sizing;
mod world;
