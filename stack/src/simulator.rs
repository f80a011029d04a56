//! A simulator's back door: its invoice, and ways to make it fail. No worker ever calls it.

use anyhow::Context as _;
use policy::invariants::{BilledDay, InvoiceLine};
use schemas::MicroUsd;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A simulator answers from memory.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The key and endpoint that a simulated RunPod asks for.
pub(crate) const SIMULATED_RUNPOD: (&str, &str) = ("sim-runpod-key", "sim-endpoint");
/// The backend whose provider bills workers, not jobs.
const BILLED_BACKEND: &str = "cloud";

#[derive(Deserialize)]
struct Bill {
    records: Vec<BillRecord>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BillRecord {
    start_time: String,
    serverless_id: String,
    total_amount: f64,
}

/// Dollars into micro-dollars, to the nearest.
#[expect(clippy::cast_possible_truncation, reason = "a simulator bills a few dollars")]
fn micro_usd(dollars: f64) -> MicroUsd {
    MicroUsd((dollars * 1e6).round() as i64)
}

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

    /// What the provider's billing call says, by endpoint and UTC day; none where the provider has no such call.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn bill(&self) -> anyhow::Result<Option<Vec<BilledDay>>> {
        if self.backend != BILLED_BACKEND {
            return Ok(None);
        }
        let asked =
            self.http.get(format!("{}/v2/billing/serverless", self.url)).bearer_auth(SIMULATED_RUNPOD.0);
        let context = || format!("bill of the simulator at {}", self.url);
        let answer =
            asked.send().await.and_then(reqwest::Response::error_for_status).with_context(context)?;
        let bill: Bill = answer.json().await.with_context(context)?;
        let day = |record: BillRecord| BilledDay {
            endpoint: record.serverless_id,
            day: record.start_time.get(..10).unwrap_or_default().to_owned(),
            amount_micro_usd: micro_usd(record.total_amount),
        };
        Ok(Some(bill.records.into_iter().map(day).collect()))
    }

    /// Workers of the provider that are up, and billed: at work, starting or idle. None where it has no such workers.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn workers_up(&self) -> anyhow::Result<u64> {
        if self.backend != BILLED_BACKEND {
            return Ok(0);
        }
        let (key, endpoint) = SIMULATED_RUNPOD;
        let asked = self.http.get(format!("{}/v2/{endpoint}/health", self.url)).bearer_auth(key);
        let context = || format!("health of the simulator at {}", self.url);
        let answer =
            asked.send().await.and_then(reqwest::Response::error_for_status).with_context(context)?;
        let health: serde_json::Value = answer.json().await.with_context(context)?;
        let count = |state: &str| health["workers"][state].as_u64().unwrap_or_default();
        Ok(count("idle") + count("initializing") + count("running"))
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
