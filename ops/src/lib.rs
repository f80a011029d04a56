//! The `argosy` command and what it stands on: servers and processes that it starts and ends, a whole fleet
//! of them ([`stack`]), the one way in ([`submit`]), the events on the way out ([`follow`]), the audit.

pub mod api;
pub mod audience;
pub mod audit;
pub mod bench;
pub mod chance;
pub mod command;
mod counters;
pub mod demo;
pub mod doctor;
pub mod documents;
pub mod drill;
pub mod exit;
pub mod figures;
pub mod files;
pub mod fleet_file;
pub mod follow;
pub mod money;
pub mod monitor;
pub mod parked;
pub mod process;
pub mod servers;
pub mod stack;
pub mod station;
pub mod submit;
pub mod table;
