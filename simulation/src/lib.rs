//! The judge of routing: what a strategy costs and how late it is, over the same arrivals, beside other strategies and
//! beside the least possible cost with everything known before.
//!
//! A discrete-event simulation in virtual milliseconds. The decisions are the shipped ones: the strategy
//! [`shipped`] polls the steps of `protocol::router` over simulated ports, so plan, admission, fair order, waiting
//! room, breaker, retry and take-back are no copies. What is simulated here is what the routers decide about: servers
//! with slots, providers with start-ups and bills, failures and outages. The same workload, strategy and seed give the
//! same run.

pub mod baselines;
pub mod bound;
pub mod chance;
pub mod chart;
pub mod compare;
pub mod figures;
pub mod fleet;
pub mod job;
pub mod named;
pub mod planned;
pub mod prototype;
pub mod run;
pub mod setting;
pub mod shipped;
pub mod strategy;
pub mod workload;
pub mod world;
