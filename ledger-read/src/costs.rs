//! What was spent, by day, backend, tenant or label.

use serde::Serialize;

use crate::{Error, ROWS_MAX, Reader, clamp_ms};

/// What to sum by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CostBy {
    /// The day (UTC) of the end of the attempts, as invoices have it.
    Day,
    /// Where they ran.
    Backend,
    /// Who pays.
    Tenant,
    /// The value of this label; jobs without it are summed under an empty key.
    Label(String),
}

/// A sum of charges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CostRow {
    /// The day, backend, tenant or label value.
    pub key: String,
    /// Jobs that had a charge.
    pub jobs: i64,
    /// Charges.
    pub charges: i64,
    /// Spent.
    pub posted_micro_usd: i64,
    /// The part of it of which the provider could not tell whether it billed.
    pub possibly_paid_micro_usd: i64,
    /// Still set aside.
    pub open_micro_usd: i64,
}

/// A charge without a job: what an endpoint costs on a day beside its attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the columns of analytics.overhead describe them")]
pub struct OverheadRow {
    pub day: String,
    pub backend: String,
    pub endpoint: String,
    pub reason: String,
    pub state: String,
    pub amount_micro_usd: i64,
    pub attempts_micro_usd: i64,
    pub billed_micro_usd: Option<i64>,
    pub held_micro_usd: i64,
}

impl OverheadRow {
    /// The provider's billing call has not answered yet.
    #[must_use]
    pub fn is_estimated(&self) -> bool {
        self.state == "estimated"
    }
}

/// The books as a whole: `reserved + overrun = posted + voided + open`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the columns of analytics.conservation describe them")]
pub struct Conservation {
    pub reserved_micro_usd: i64,
    pub overrun_micro_usd: i64,
    pub posted_micro_usd: i64,
    pub voided_micro_usd: i64,
    pub open_micro_usd: i64,
}

impl Conservation {
    /// Nothing was lost and nothing appeared.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.reserved_micro_usd + self.overrun_micro_usd
            == self.posted_micro_usd + self.voided_micro_usd + self.open_micro_usd
    }
}

impl Reader {
    /// Sums of charges since a moment (their day counts whole), by key.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn costs(&self, by: &CostBy, since_ms: i64) -> Result<Vec<CostRow>, Error> {
        let (what, label) = match by {
            CostBy::Day => ("day", None),
            CostBy::Backend => ("backend", None),
            CostBy::Tenant => ("tenant", None),
            CostBy::Label(label) => ("label", Some(label.as_str())),
        };
        let rows = sqlx::query_as!(
            CostRow,
            r#"select case $1 when 'day' then c.day::text when 'backend' then c.backend
                    when 'tenant' then c.tenant else coalesce(j.labels ->> $2, '') end as "key!",
                count(distinct c.job) as "jobs!", count(*) as "charges!",
                sum(c.posted_micro_usd)::bigint as "posted_micro_usd!",
                coalesce(sum(c.posted_micro_usd) filter (where c.possibly_paid), 0)::bigint
                    as "possibly_paid_micro_usd!",
                sum(c.open_micro_usd)::bigint as "open_micro_usd!"
            from analytics.charges c
            left join jobs j on $1 = 'label' and j.id = c.job
            where c.day >= utc_day(at_ms($3))
            group by 1 order by 1 limit $4"#,
            what,
            label,
            clamp_ms(since_ms),
            ROWS_MAX,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows)
    }

    /// Charges without a job since a moment (its day counts whole), by day, backend and endpoint.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn overhead(&self, since_ms: i64) -> Result<Vec<OverheadRow>, Error> {
        let rows = sqlx::query_as!(
            OverheadRow,
            r#"select day::text as "day!", backend as "backend!", endpoint as "endpoint!", reason as "reason!",
                state as "state!", amount_micro_usd as "amount_micro_usd!",
                attempts_micro_usd as "attempts_micro_usd!", billed_micro_usd, held_micro_usd as "held_micro_usd!"
            from analytics.overhead where day >= utc_day(at_ms($1)) order by day, backend, endpoint limit $2"#,
            clamp_ms(since_ms),
            ROWS_MAX,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows)
    }

    /// The books as a whole.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn conservation(&self) -> Result<Conservation, Error> {
        let whole = sqlx::query_as!(
            Conservation,
            r#"select coalesce(sum(reserved_micro_usd), 0)::bigint as "reserved_micro_usd!",
                coalesce(sum(overrun_micro_usd), 0)::bigint as "overrun_micro_usd!",
                coalesce(sum(posted_micro_usd), 0)::bigint as "posted_micro_usd!",
                coalesce(sum(voided_micro_usd), 0)::bigint as "voided_micro_usd!",
                coalesce(sum(open_micro_usd), 0)::bigint as "open_micro_usd!"
            from analytics.conservation"#,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(whole)
    }
}
