//! The provider's bill, written by the simulator's own arithmetic and never shown to the fleet.
//!
//! Lines go to a file before the provider answers, so that a killed simulator still knows what it charged. The
//! file is flushed to the operating system, not to the disk: the drill kills processes, not machines.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::Error;

/// One billed piece of work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When it was billed, Unix milliseconds.
    pub at_ms: u64,
    /// What was bought, for a person: model, status.
    pub what: String,
    /// The provider's id of the job or answer; unique in an invoice.
    pub provider_id: String,
    /// What the request said about itself (label, file prefix); may be empty.
    pub job_hint: String,
    /// How much was used.
    pub quantity: u64,
    /// Unit of `quantity`: `execution_s` or `tokens`.
    pub unit: String,
    /// The charge in micro-dollars.
    pub amount_micro_usd: u64,
}

/// All lines and their sum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoice {
    /// Which simulator billed.
    pub simulator: String,
    /// Always `micro_usd`.
    pub currency_unit: String,
    /// Sum of the lines.
    pub total_micro_usd: u64,
    /// In order of billing.
    pub lines: Vec<Line>,
}

pub(super) struct Ledger {
    state: Mutex<Book>,
}

struct Book {
    lines: Vec<Line>,
    billed: HashSet<String>,
    file: File,
    /// The simulator stopped: nothing is sold any more.
    closed: bool,
}

impl Ledger {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let fail = |source| Error::State { path: path.to_owned(), source };
        let lines: Vec<Line> = crate::journal::read(path)?;
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(fail)?;
        let billed = lines.iter().map(|line| line.provider_id.clone()).collect();
        Ok(Self { state: Mutex::new(Book { lines, billed, file, closed: false }) })
    }

    /// False if nothing can be billed any more.
    pub(super) fn bill_once(&self, line: Line) -> std::io::Result<bool> {
        let mut book = self.lock();
        if book.closed || book.billed.contains(&line.provider_id) {
            return Ok(!book.closed);
        }
        let mut text = serde_json::to_string(&line)?;
        text.push('\n');
        book.file.write_all(text.as_bytes())?;
        book.billed.insert(line.provider_id.clone());
        book.lines.push(line);
        Ok(true)
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
    }

    pub(super) fn invoice(&self, simulator: &str) -> Invoice {
        let lines = self.lock().lines.clone();
        Invoice {
            simulator: simulator.to_owned(),
            currency_unit: "micro_usd".to_owned(),
            total_micro_usd: lines.iter().map(|line| line.amount_micro_usd).sum(),
            lines,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
