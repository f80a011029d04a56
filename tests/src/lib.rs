//! What the end-to-end tests share: a fleet of real processes per test, and jobs for it.
//!
//! Every wait is for a condition with a deadline; when the deadline passes, the error says what was
//! seen last, and the fleet's logs stay in the folder it names.

pub mod circles;
pub mod comfyui;
pub mod fleet;
pub mod fuzz;
pub mod jobs;
pub mod logs;
pub mod model;
pub mod simulation;
