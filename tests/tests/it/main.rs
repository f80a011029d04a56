//! End to end with real servers and our real binaries, and the workspace's own rules.

mod backpressure;
mod bench;
mod cancel;
mod consent;
mod doctor;
mod documents;
mod drill;
mod faults;
mod groups;
mod inputs;
mod join;
mod keys;
mod life;
mod model;
mod orphans;
mod processes;
mod python;
mod refusals;
mod room;
mod shapes;
mod simulation;
mod stops;
mod store_full;
mod submit;
mod tidy;
mod unknown;
