//! The RunPod worker: its tables, and its behaviour against the simulator.

mod bills;
mod configuration;
mod conformance;
mod failures;
mod flights;
mod outputs;
mod pacing;
mod requests;
mod world;
