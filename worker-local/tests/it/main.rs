//! The ComfyUI worker against recordings of a real server, and against the simulator.

mod conformance;
mod decode;
mod faults;
mod inputs;
mod jobs;
mod old;
mod outputs;
mod proxy;
mod python;
mod replay;
mod runs;
mod table;
mod transcript;
