//! What was measured: `out/bench/report.json`, one entry a row.

use super::spread::Spread;
use super::targets::{Target, target_of};
use anyhow::Context as _;
use runtime::clock::now_ms;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;

/// The form of the file.
pub const VERSION: u32 = 1;

/// A benchmark's report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The form of the file: 1.
    pub version: u32,
    /// When it was written, Unix milliseconds.
    pub time_ms: i64,
    /// Processors of the machine.
    pub processors: usize,
    /// How long all took, milliseconds.
    pub wall_ms: u64,
    /// The figures.
    pub rows: Vec<Row>,
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What, with dots: `router.share_of_limit`.
    pub name: String,
    /// In which unit.
    pub unit: String,
    /// Over the runs.
    #[serde(flatten)]
    pub spread: Spread,
    /// How many runs.
    pub runs: usize,
    /// What was measured was given up: the figures are the least that it can be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub given_up: bool,
    /// What it should be; none where there is no target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Whether the median is so; absent also where it was given up too early to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub met: Option<bool>,
}

impl Row {
    /// A figure over its runs; none of no run.
    #[must_use]
    pub fn of(name: &str, unit: &str, runs: &[f64]) -> Option<Self> {
        let spread = Spread::of(runs)?;
        let target = target_of(name);
        let met = target.map(|target| target.is_met(spread.median));
        let (name, unit) = (name.to_owned(), unit.to_owned());
        Some(Self { name, unit, spread, runs: runs.len(), given_up: false, target, met })
    }

    /// The same of runs that were given up: each figure is the least that it can be.
    #[must_use]
    pub fn of_given_up(name: &str, unit: &str, runs: &[f64]) -> Option<Self> {
        let row = Self::of(name, unit, runs)?;
        let met = row.target.and_then(|target| target.is_met_from(row.spread.median));
        Some(Self { given_up: true, met, ..row })
    }
}

/// A row by its name.
#[must_use]
pub fn find<'a>(rows: &'a [Row], name: &str) -> Option<&'a Row> {
    rows.iter().find(|row| row.name == name)
}

impl Report {
    /// The rows, and where and when they were measured.
    #[must_use]
    pub fn new(rows: Vec<Row>, wall: Duration) -> Self {
        Self {
            version: VERSION,
            time_ms: now_ms(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
            rows,
        }
    }

    /// Writes it into a folder.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, out: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
        let path = out.join("report.json");
        std::fs::write(&path, serde_json::to_vec_pretty(self)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}
