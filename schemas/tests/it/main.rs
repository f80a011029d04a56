//! The wire's own tests, in one binary.

mod codec;
mod files;
mod frozen;
mod golden;
mod names;
mod needs;
mod sources;
mod tenants;
mod unknown;
mod workflow;
