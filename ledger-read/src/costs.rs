//! What was spent, and on what.

use serde::Serialize;

use crate::{Error, ROWS_MAX, Reader, Window};

/// Rows that one answer about costs may have.
pub const COST_ROWS_MAX: i64 = 100_000;

/// What to sum by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CostBy {
    /// The day (UTC) on which jobs, attempts and charges ended, as invoices have it.
    Day,
    /// The hour (UTC) of that.
    Hour,
    /// Where they ran; empty for jobs without an attempt.
    Backend,
    /// Who pays.
    Tenant,
    /// What made them; empty for jobs without an attempt.
    Model,
    /// How urgent; empty for money of which no event has told yet.
    Lane,
    /// The value of this label; jobs without it are summed under an empty key. It is asked for alone.
    Label(String),
}

impl CostBy {
    /// Its name in columns and questions.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Hour => "hour",
            Self::Backend => "backend",
            Self::Tenant => "tenant",
            Self::Model => "model",
            Self::Lane => "lane",
            Self::Label(_) => "label",
        }
    }
}

/// Jobs, attempts and money. A job counts once, whether it cost anything or not; so the sum of rows is the whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CostRow {
    /// What was asked to sum by, in that order: a day as `2026-11-30`, an hour as `2026-11-30T14:00Z`.
    pub keys: Vec<String>,
    /// Jobs.
    pub jobs: i64,
    /// Those that were completed.
    pub completed_jobs: i64,
    /// Those of which nothing was spent and nothing is set aside.
    pub free_jobs: i64,
    /// Attempts.
    pub attempts: i64,
    /// Charges.
    pub charges: i64,
    /// Spent.
    pub posted_micro_usd: i64,
    /// The part of it of which the provider could not tell whether it billed.
    pub possibly_paid_micro_usd: i64,
    /// Still set aside.
    pub open_micro_usd: i64,
    /// Set aside and not spent.
    pub voided_micro_usd: i64,
}

impl CostRow {
    /// All rows together, without keys.
    #[must_use]
    pub fn total(rows: &[Self]) -> Self {
        let sum = |of: fn(&Self) -> i64| rows.iter().map(of).sum();
        Self {
            keys: Vec::new(),
            jobs: sum(|row| row.jobs),
            completed_jobs: sum(|row| row.completed_jobs),
            free_jobs: sum(|row| row.free_jobs),
            attempts: sum(|row| row.attempts),
            charges: sum(|row| row.charges),
            posted_micro_usd: sum(|row| row.posted_micro_usd),
            possibly_paid_micro_usd: sum(|row| row.possibly_paid_micro_usd),
            open_micro_usd: sum(|row| row.open_micro_usd),
            voided_micro_usd: sum(|row| row.voided_micro_usd),
        }
    }
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
    /// Jobs, attempts and money of a window by what is asked for, in the order of the keys. A label is asked for
    /// alone: what stands beside it has no effect.
    ///
    /// # Errors
    /// [`Error::TooManyRows`] above [`COST_ROWS_MAX`]; [`Error::Database`].
    pub async fn costs(&self, by: &[CostBy], window: Window) -> Result<Vec<CostRow>, Error> {
        let label = by.iter().find_map(|by| match by {
            CostBy::Label(label) => Some(label),
            _ => None,
        });
        let rows = match label {
            Some(label) => self.costs_by_label(label, window).await?,
            None => self.costs_by(by, window).await?,
        };
        if i64::try_from(rows.len()).is_ok_and(|len| len > COST_ROWS_MAX) {
            return Err(Error::TooManyRows { max: COST_ROWS_MAX });
        }
        Ok(rows)
    }

    async fn costs_by(&self, by: &[CostBy], window: Window) -> Result<Vec<CostRow>, Error> {
        let (from_ms, to_ms) = window.bounds();
        let names: Vec<&str> = by.iter().map(CostBy::name).collect();
        // Hours are read from rows, days from sums: of the two, one is asked.
        let rows = sqlx::query_as!(
            CostRow,
            r#"with costs as (
                select null::timestamp as hour_utc, day_utc, tenant, lane, model, backend, jobs, completed_jobs,
                    free_jobs, attempts, charges, posted_micro_usd, possibly_paid_micro_usd, open_micro_usd,
                    voided_micro_usd
                from analytics.costs(coalesce(at_ms($2), '-infinity'), coalesce(at_ms($3), 'infinity'))
                where 'hour' <> all($1::text[])
                union all
                select hour_utc, hour_utc::date, tenant, lane, model, backend, jobs, completed_jobs, free_jobs,
                    attempts, charges, posted_micro_usd, possibly_paid_micro_usd, open_micro_usd, voided_micro_usd
                from analytics.costs_by_hour(coalesce(at_ms($2), '-infinity'), coalesce(at_ms($3), 'infinity'))
                where 'hour' = any($1::text[])
            )
            select k.keys as "keys!", sum(c.jobs)::bigint as "jobs!",
                sum(c.completed_jobs)::bigint as "completed_jobs!", sum(c.free_jobs)::bigint as "free_jobs!",
                sum(c.attempts)::bigint as "attempts!", sum(c.charges)::bigint as "charges!",
                sum(c.posted_micro_usd)::bigint as "posted_micro_usd!",
                sum(c.possibly_paid_micro_usd)::bigint as "possibly_paid_micro_usd!",
                sum(c.open_micro_usd)::bigint as "open_micro_usd!",
                sum(c.voided_micro_usd)::bigint as "voided_micro_usd!"
            from costs c
            cross join lateral (
                select coalesce(array_agg(coalesce(case u.name
                    when 'day' then to_char(c.day_utc, 'YYYY-MM-DD')
                    when 'hour' then to_char(c.hour_utc, 'YYYY-MM-DD"T"HH24:MI"Z"')
                    when 'tenant' then c.tenant when 'lane' then c.lane when 'model' then c.model
                    when 'backend' then c.backend end, '') order by u.place), '{}') as keys
                from unnest($1::text[]) with ordinality as u (name, place)
            ) k
            group by k.keys order by k.keys limit $4"#,
            &names as &[&str],
            from_ms,
            to_ms,
            COST_ROWS_MAX + 1,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows)
    }

    /// What has the label, and under an empty key the rest of all: a job has one value of a label, or none.
    async fn costs_by_label(&self, label: &str, window: Window) -> Result<Vec<CostRow>, Error> {
        let (from_ms, to_ms) = window.bounds();
        let rows = sqlx::query_as!(
            CostRow,
            r#"with labelled as (
                select value, sum(jobs) as jobs, sum(completed_jobs) as completed_jobs, sum(free_jobs) as free_jobs,
                    sum(attempts) as attempts, sum(charges) as charges, sum(posted_micro_usd) as posted,
                    sum(possibly_paid_micro_usd) as possibly_paid, sum(open_micro_usd) as open,
                    sum(voided_micro_usd) as voided
                from analytics.label_costs(coalesce(at_ms($2), '-infinity'), coalesce(at_ms($3), 'infinity'))
                where label = $1 group by value
            ), parts as (
                select * from labelled
                union all
                select '', -jobs, -completed_jobs, -free_jobs, -attempts, -charges, -posted, -possibly_paid, -open,
                    -voided
                from labelled
                union all
                select '', jobs, completed_jobs, free_jobs, attempts, charges, posted_micro_usd,
                    possibly_paid_micro_usd, open_micro_usd, voided_micro_usd
                from analytics.costs(coalesce(at_ms($2), '-infinity'), coalesce(at_ms($3), 'infinity'))
            )
            select array[value] as "keys!", sum(jobs)::bigint as "jobs!",
                sum(completed_jobs)::bigint as "completed_jobs!", sum(free_jobs)::bigint as "free_jobs!",
                sum(attempts)::bigint as "attempts!", sum(charges)::bigint as "charges!",
                sum(posted)::bigint as "posted_micro_usd!", sum(possibly_paid)::bigint as "possibly_paid_micro_usd!",
                sum(open)::bigint as "open_micro_usd!", sum(voided)::bigint as "voided_micro_usd!"
            from parts group by value having sum(jobs + attempts + charges) > 0 order by value limit $4"#,
            label,
            from_ms,
            to_ms,
            COST_ROWS_MAX + 1,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows)
    }

    /// Charges without a job, by day, backend and endpoint: of all days that are in the window in part or whole. A
    /// provider bills days.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn overhead(&self, window: Window) -> Result<Vec<OverheadRow>, Error> {
        let (from_ms, to_ms) = window.bounds();
        let rows = sqlx::query_as!(
            OverheadRow,
            r#"select day::text as "day!", backend as "backend!", endpoint as "endpoint!", reason as "reason!",
                state as "state!", amount_micro_usd as "amount_micro_usd!",
                attempts_micro_usd as "attempts_micro_usd!", billed_micro_usd, held_micro_usd as "held_micro_usd!"
            from analytics.overhead
            where day >= utc_day(coalesce(at_ms($1), '-infinity'))
                and day::timestamp < coalesce(at_ms($2), 'infinity') at time zone 'UTC'
            order by day, backend, endpoint limit $3"#,
            from_ms,
            to_ms,
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
