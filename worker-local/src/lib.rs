//! Runs attempts on a ComfyUI server of our own: one process for each server.
//!
//! [`backend::ComfyBackend`] is the [`worker_host::Backend`]; [`comfy`] speaks the server's protocol;
//! [`gpu`] reads the driver. Everything that decides how a server's words are understood is a pure table
//! ([`comfy::errors`], [`comfy::outputs`], [`comfy::wire`]), tested against recordings of a real server.

pub mod backend;
pub mod comfy;
pub mod config;
pub mod gpu;

pub use backend::ComfyBackend;
pub use config::ComfyConfig;
