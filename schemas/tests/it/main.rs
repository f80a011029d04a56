//! The wire's own tests, in one binary.

mod codec;
mod golden;
mod names;
mod tenants;
mod unknown;
mod workflow;
