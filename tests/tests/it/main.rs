//! End to end with real servers and our real binaries, and the workspace's own rules.

mod backpressure;
mod bench;
mod cancel;
mod doctor;
mod drill;
mod faults;
mod groups;
mod join;
mod keys;
mod life;
mod model;
mod processes;
mod python;
mod refusals;
mod room;
mod simulation;
mod stops;
mod submit;
mod tidy;
