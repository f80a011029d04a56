//! What every process needs.
//!
//! A process is: configuration checked before anything connects ([`config`]), logs and metrics
//! ([`telemetry`]), a broker connection that retries ([`broker`]), tasks that somebody owns
//! ([`tasks`]), two-stage shutdown ([`lifecycle`]) and three small pages ([`health`]). [`process`] puts
//! these together.

pub mod acknowledge;
pub mod address;
pub mod artifacts;
pub mod bills;
pub mod bounded;
pub mod broker;
pub mod cancels;
pub mod claims;
pub mod clock;
pub mod config;
pub mod count;
pub mod escape;
pub mod exit;
pub mod fetch;
pub mod fleet_config;
pub mod health;
pub mod lanes;
pub mod ledger;
pub mod lifecycle;
pub mod limits;
pub mod log_fields;
mod log_limit;
pub mod loops;
pub mod media_type;
pub mod metrics;
pub mod png_text;
pub mod process;
pub mod publish;
pub mod reports;
mod require;
pub mod retry_after;
mod secret;
pub mod store_room;
pub mod tasks;
pub mod telemetry;
pub mod tls;
pub mod topology;
pub mod trouble;
pub mod watched;

pub use mimalloc::MiMalloc;

/// Gives a binary the allocator of the fleet: messages are many small pieces that are soon dropped.
#[macro_export]
macro_rules! allocator {
    () => {
        #[global_allocator]
        static ALLOCATOR: $crate::MiMalloc = $crate::MiMalloc;
    };
}
