//! The `argosy` command and what an operator needs: doctor, tables, the verdicts of trials as text.

pub mod command;
pub mod doctor;
pub mod exit;
mod file_names;
mod moment;
pub mod money;
pub mod monitor;
pub mod show;
mod storage;
pub mod table;
