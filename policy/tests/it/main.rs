//! The decisions of `policy`, held by tables that read like sentences and by laws that hold for all input.

mod admit;
mod allocations;
mod audit;
mod breaker;
mod breakers;
mod cost;
mod defaults;
mod dispose;
mod files;
mod fill;
mod funds;
mod laws;
mod needs;
mod overdue;
mod overhead;
mod plan;
mod pools;
mod schedule;
mod table;
mod unknown;
mod validate;
mod world;
