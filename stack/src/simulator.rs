//! A simulator's back door: its invoice, and ways to make it fail. No worker ever calls it.

use anyhow::Context as _;
use policy::invariants::InvoiceLine;
use schemas::MicroUsd;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A simulator answers from memory.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// One simulator of a running fleet.
#[derive(Debug, Clone)]
pub struct Simulator {
    /// Whose provider it simulates: `local`, `cloud` or `gemini`.
    pub backend: String,
    /// Where it listens.
    pub url: String,
    http: reqwest::Client,
}

/// What the provider would bill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoice {
    /// The sum of the lines, micro-dollars.
    pub total_micro_usd: i64,
    /// In order of billing.
    pub lines: Vec<InvoiceEntry>,
}

/// A line of an invoice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceEntry {
    /// The provider's id of the work.
    pub provider_id: String,
    /// What was bought, for a person.
    pub what: String,
    /// The charge, micro-dollars.
    pub amount_micro_usd: i64,
}

impl Invoice {
    /// The lines as the audit reads them.
    #[must_use]
    pub fn audit_lines(&self) -> Vec<InvoiceLine> {
        let lines = self.lines.iter().map(|line| InvoiceLine {
            provider_id: line.provider_id.clone(),
            amount_micro_usd: MicroUsd(line.amount_micro_usd),
        });
        lines.collect()
    }
}

impl Simulator {
    /// The simulator at an address.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub fn at(backend: &str, url: &str) -> anyhow::Result<Self> {
        runtime::tls::install();
        // Never through a proxy: it is on this machine.
        let http = reqwest::Client::builder().timeout(ANSWER_WITHIN).no_proxy().build()?;
        Ok(Self { backend: backend.to_owned(), url: url.to_owned(), http })
    }

    /// What the provider would bill.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn invoice(&self) -> anyhow::Result<Invoice> {
        let asked = self.http.get(format!("{}/_admin/invoice", self.url)).send().await;
        let answer = asked.and_then(reqwest::Response::error_for_status);
        let context = || format!("invoice of the simulator at {}", self.url);
        answer.with_context(context)?.json().await.with_context(context)
    }

    /// Counters since it started.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn stats(&self) -> anyhow::Result<serde_json::Value> {
        let asked = self.http.get(format!("{}/_admin/stats", self.url)).send().await?;
        Ok(asked.error_for_status()?.json().await?)
    }

    /// Cuts every connection and turns new ones away for so long. A ComfyUI also forgets its queue.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn offline(&self, for_ms: u64) -> anyhow::Result<()> {
        let body = serde_json::json!({ "for_ms": for_ms });
        let asked = self.http.post(format!("{}/_admin/offline", self.url)).json(&body).send().await?;
        asked.error_for_status().context("going offline")?;
        Ok(())
    }

    /// Replaces the armed faults: a JSON array of `{"name", "times"?, "probability"?, "for_ms"?, …}`.
    ///
    /// # Errors
    /// It does not answer, or knows no such fault.
    pub async fn set_faults(&self, faults: &serde_json::Value) -> anyhow::Result<()> {
        let asked = self.http.put(format!("{}/_admin/faults", self.url)).json(faults).send().await?;
        let status = asked.status();
        if !status.is_success() {
            anyhow::bail!("faults refused: {status} {}", asked.text().await.unwrap_or_default());
        }
        Ok(())
    }
}
