//! Reservations: the books are read, decided on and written under the money lock, so that the next
//! reservation, whoever asks for it, sees this one.

use ledger_read::clamp_ms;
use std::collections::{BTreeMap, BTreeSet};

use schemas::reserve::{Grant, Reservation};
use schemas::{ChargeState, TenantsConfig};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::budget::{Book, Payer, Standing};
use crate::calendar::{day_of, month_of};
use crate::fold::{ChargeRow, Request};
use crate::ingest::{Charged, write_charges};
use crate::locks::MONEY_LOCK;
use crate::{Error, Store, rollup};

/// Reservations that one call takes.
pub const RESERVE_MAX: usize = 1_000;

impl Store {
    /// Sets money aside, or says why not: one grant for each reservation, in order. All are decided in
    /// one transaction; concurrent callers wait for each other and cannot overshoot a limit together.
    ///
    /// # Errors
    /// [`Error::TooMany`] above [`RESERVE_MAX`]; [`Error::Database`]. Nothing is reserved then.
    pub async fn reserve(
        &self,
        wanted: &[Reservation],
        tenants: &TenantsConfig,
    ) -> Result<Vec<Grant>, Error> {
        if wanted.len() > RESERVE_MAX {
            return Err(Error::TooMany { len: wanted.len(), max: RESERVE_MAX });
        }
        let mut transaction = self.pool.begin().await?;
        let connection = &mut *transaction;
        sqlx::query!("select pg_advisory_xact_lock($1)", MONEY_LOCK).execute(&mut *connection).await?;
        let mut book = open_book(connection, wanted, tenants).await?;
        let mut grants = Vec::with_capacity(wanted.len());
        // Keyed, because one batch may ask for the same attempt twice: the last grant holds.
        let mut rows: BTreeMap<(Uuid, u32), Charged> = BTreeMap::new();
        for reservation in wanted {
            let decided = book.reserve(reservation, tenants);
            if decided.is_ok() {
                rows.insert((reservation.job.0, reservation.attempt), pending(reservation));
            }
            grants.push(Grant { granted: decided.is_ok(), refusal: decided.err() });
        }
        let rows: Vec<Charged> = rows.into_values().collect();
        write_charges(connection, &rows).await?;
        rollup::mark(connection, rows.iter().map(|row| row.job.0)).await?;
        transaction.commit().await?;
        Ok(grants)
    }

    /// Notes the budgets for analysts to see beside the spending.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn note_budgets(&self, tenants: &TenantsConfig) -> Result<(), Error> {
        let mut rows = vec![
            ("fleet", String::new(), tenants.fleet_daily_micro_usd, tenants.fleet_monthly_micro_usd),
            ("default", String::new(), tenants.default.daily_micro_usd, tenants.default.monthly_micro_usd),
        ];
        for (tenant, policy) in &tenants.tenants {
            rows.push(("tenant", tenant.to_string(), policy.daily_micro_usd, policy.monthly_micro_usd));
        }
        let scopes: Vec<String> = rows.iter().map(|row| row.0.to_owned()).collect();
        let names: Vec<String> = rows.iter().map(|row| row.1.clone()).collect();
        let daily: Vec<Option<i64>> = rows.iter().map(|row| row.2.map(|money| money.0)).collect();
        let monthly: Vec<Option<i64>> = rows.iter().map(|row| row.3.map(|money| money.0)).collect();
        sqlx::query!(
            r#"with gone as (
                delete from budgets b where not exists (
                    select from unnest($1::text[], $2::text[]) as n (scope, tenant)
                    where n.scope = b.scope and n.tenant = b.tenant)
            )
            insert into budgets (scope, tenant, daily_micro_usd, monthly_micro_usd)
            select * from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
            on conflict (scope, tenant) do update set
                daily_micro_usd = excluded.daily_micro_usd, monthly_micro_usd = excluded.monthly_micro_usd"#,
            &scopes,
            &names,
            &daily as &[Option<i64>],
            &monthly as &[Option<i64>],
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

fn pending(reservation: &Reservation) -> Charged {
    let amount = reservation.amount_micro_usd.0;
    let at_ms = clamp_ms(reservation.time_ms);
    let backend = reservation.backend.to_string();
    Charged {
        job: reservation.job,
        attempt: reservation.attempt,
        tenant: reservation.tenant.to_string(),
        row: ChargeRow {
            backend: backend.clone(),
            simulated: false,
            state: ChargeState::Pending,
            settled_by: None,
            request: Some(Request { backend, amount_micro_usd: amount, at_ms }),
            reserved_micro_usd: amount,
            posted_micro_usd: 0,
            possibly_paid: false,
            budget_at_ms: at_ms,
            posted_at_ms: None,
        },
    }
}

/// Reads what the reservations touch: their jobs' charges and ends, and the months of their budgets.
async fn open_book(
    connection: &mut PgConnection,
    wanted: &[Reservation],
    tenants: &TenantsConfig,
) -> Result<Book, Error> {
    let mut book = Book::default();
    let jobs: Vec<Uuid> = wanted.iter().map(|reservation| reservation.job.0).collect();
    let charges = sqlx::query!(
        r#"select job, attempt, tenant, state, settled_by,
            open_micro_usd + posted_micro_usd as "committed!", budget_day - date '1970-01-01' as "day!"
        from charges where job = any($1)"#,
        &jobs,
    )
    .fetch_all(&mut *connection)
    .await?;
    for row in charges {
        let state = match row.state.as_str() {
            "pending" => ChargeState::Pending,
            "posted" => ChargeState::Posted,
            _ => ChargeState::Voided,
        };
        let standing = Standing {
            tenant: row.tenant,
            state,
            reopenable: row.settled_by.as_deref() == Some("assigned"),
            committed_micro_usd: row.committed,
            day: row.day,
        };
        book.enter_charge(schemas::JobId(row.job), u32::try_from(row.attempt).unwrap_or_default(), standing);
    }
    let known = sqlx::query!(
        r#"select id, tenant, state, ended_at is not null as "ended!" from jobs where id = any($1)"#,
        &jobs
    )
    .fetch_all(&mut *connection)
    .await?;
    for row in known {
        let job = schemas::JobId(row.id);
        book.enter_owner(job, row.tenant);
        if row.ended {
            book.enter_ended(job, row.state);
        }
    }
    enter_budgets(connection, &mut book, wanted, tenants).await?;
    Ok(book)
}

async fn enter_budgets(
    connection: &mut PgConnection,
    book: &mut Book,
    wanted: &[Reservation],
    tenants: &TenantsConfig,
) -> Result<(), Error> {
    let payers: BTreeSet<Payer> =
        wanted.iter().map(|reservation| Payer::of(&reservation.tenant, tenants)).collect();
    let named = |payer: &Payer| match payer {
        Payer::Tenant(tenant) => Some(tenant.clone()),
        Payer::Unlisted => None,
    };
    let names: Vec<String> = payers.iter().filter_map(named).collect();
    let mut months: Vec<i32> =
        wanted.iter().map(|reservation| month_of(day_of(reservation.time_ms))).collect();
    months.sort_unstable();
    months.dedup();
    // A month is matched by its first day, so that the index on (tenant, day) serves a range.
    let rows = sqlx::query!(
        r#"select b.tenant, b.day - date '1970-01-01' as "day!", b.committed_micro_usd
        from unnest($2::integer[]) as m (month)
        join budget_use b on b.tenant = any($1)
            and b.day >= (date '1970-01-01' + make_interval(months => m.month))::date
            and b.day < (date '1970-01-01' + make_interval(months => m.month + 1))::date"#,
        &names,
        &months,
    )
    .fetch_all(&mut *connection)
    .await?;
    for row in rows {
        book.enter_payer_day(&Payer::Tenant(row.tenant), row.day, i128::from(row.committed_micro_usd));
    }
    let is_limited = tenants.default.daily_micro_usd.is_some() || tenants.default.monthly_micro_usd.is_some();
    if is_limited && payers.contains(&Payer::Unlisted) {
        enter_unlisted(connection, book, &months, tenants).await?;
    }
    if tenants.fleet_daily_micro_usd.is_none() && tenants.fleet_monthly_micro_usd.is_none() {
        return Ok(());
    }
    // Charges without a job, estimated ones included, count against the fleet alone.
    let rows = sqlx::query!(
        r#"select u.day - date '1970-01-01' as "day!", sum(u.micro_usd)::bigint as "committed!"
        from unnest($1::integer[]) as m (month)
        cross join lateral (
            select day, committed_micro_usd as micro_usd from budget_use
            where day >= (date '1970-01-01' + make_interval(months => m.month))::date
                and day < (date '1970-01-01' + make_interval(months => m.month + 1))::date
            union all
            select day, held_micro_usd from overhead
            where day >= (date '1970-01-01' + make_interval(months => m.month))::date
                and day < (date '1970-01-01' + make_interval(months => m.month + 1))::date
        ) as u
        group by u.day"#,
        &months,
    )
    .fetch_all(connection)
    .await?;
    for row in rows {
        book.enter_fleet_day(row.day, i128::from(row.committed));
    }
    Ok(())
}

/// Reads what all tenants without an entry of their own hold together, whatever they are called.
async fn enter_unlisted(
    connection: &mut PgConnection,
    book: &mut Book,
    months: &[i32],
    tenants: &TenantsConfig,
) -> Result<(), Error> {
    let listed: Vec<String> = tenants.tenants.keys().map(ToString::to_string).collect();
    let rows = sqlx::query!(
        r#"select b.day - date '1970-01-01' as "day!", sum(b.committed_micro_usd)::bigint as "committed!"
        from unnest($2::integer[]) as m (month)
        join budget_use b on b.tenant <> all($1)
            and b.day >= (date '1970-01-01' + make_interval(months => m.month))::date
            and b.day < (date '1970-01-01' + make_interval(months => m.month + 1))::date
        group by b.day"#,
        &listed,
        months,
    )
    .fetch_all(connection)
    .await?;
    for row in rows {
        book.enter_payer_day(&Payer::Unlisted, row.day, i128::from(row.committed));
    }
    Ok(())
}
