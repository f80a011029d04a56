//! Runs attempts on the Gemini API: images by `generateContent`, video by the Interactions API.
//!
//! [`gemini`] speaks the protocol and translates its answers; [`backend`] is what the worker host calls.
//! Which model makes what, at which price and until when, is catalog data and appears in no code.

pub mod backend;
pub mod config;
pub mod gemini;

pub use backend::GeminiBackend;
pub use config::{ConfigError, GeminiConfig};
