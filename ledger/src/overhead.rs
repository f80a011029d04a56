//! Charges without a job: the bills of serverless endpoints, from bucket `BILLS` into table `overhead`.
//!
//! The bucket holds one document for each endpoint and UTC day. The ledger reads all of them when it starts and each
//! change afterwards; a row is computed from the document and the attempts of that day, so reading a document twice, or
//! an old one late, changes nothing.

use std::time::Duration;

use async_nats::jetstream::{self, kv};
use futures::StreamExt;
use policy::overhead::{Overhead, overhead};
use runtime::{bills, telemetry};
use schemas::bill::{EndpointBill, utc_day};
use schemas::{MicroUsd, codec};
use tokio_util::sync::CancellationToken;

use crate::{Error, Store};

/// Wait before a broken watch is opened again, and before the database is asked again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How often the rows of the last days are computed again: attempts may be booked after their day's bill came.
const REFRESH_EVERY: Duration = Duration::from_secs(60);
/// The days that are computed again, the running one included.
const REFRESH_DAYS: i32 = 3;

impl Store {
    /// Brings the charge without a job of an endpoint and day up to date.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn post_bill(&self, bill: &EndpointBill) -> Result<Overhead, Error> {
        let workers: Vec<String> = bill.workers.iter().map(ToString::to_string).collect();
        let backend = bill.backend.to_string();
        let mut transaction = self.pool.begin().await?;
        // What is stored already may be newer: figures never go back. Zeros until they are computed below.
        let merged = sqlx::query!(
            r#"insert into overhead as o (backend, endpoint, day, simulated, workers, billed_micro_usd, asked_at,
                seen_micro_usd, standby_micro_usd, attempts_micro_usd, amount_micro_usd, estimated, held_micro_usd)
            values ($1, $2, date '1970-01-01' + $3::integer, $4, $5, $6::bigint, at_ms($7), $8, $9, 0, coalesce($6::bigint, 0),
                $6::bigint is null, 0)
            on conflict (backend, endpoint, day) do update set
                workers = array(select distinct w from unnest(o.workers || excluded.workers) as w order by w),
                billed_micro_usd = greatest(o.billed_micro_usd, excluded.billed_micro_usd),
                asked_at = greatest(o.asked_at, excluded.asked_at),
                seen_micro_usd = greatest(o.seen_micro_usd, excluded.seen_micro_usd),
                standby_micro_usd = greatest(o.standby_micro_usd, excluded.standby_micro_usd),
                attempts_micro_usd = 0,
                amount_micro_usd = coalesce(greatest(o.billed_micro_usd, excluded.billed_micro_usd), 0),
                estimated = o.billed_micro_usd is null and excluded.billed_micro_usd is null
            returning billed_micro_usd, to_ms(asked_at) as asked_at_ms, seen_micro_usd, standby_micro_usd"#,
            &backend,
            &bill.endpoint,
            bill.day,
            bill.simulated,
            &workers as &[String],
            bill.billed_micro_usd.map(|amount| amount.0),
            bill.asked_at_ms,
            bill.seen_micro_usd.0.max(0),
            bill.standby_micro_usd.0.max(0),
        )
        .fetch_one(&mut *transaction)
        .await?;
        // An attempt of a worker that serves another endpoint of the same backend is on that one's bill.
        let attempts = sqlx::query_scalar!(
            r#"select coalesce(sum(c.posted_micro_usd), 0)::bigint as "attempts!"
            from charges c left join attempts a on a.job = c.job and a.attempt = c.attempt
            where coalesce(c.posted_day, c.budget_day) = date '1970-01-01' + $3::integer
                and c.state = 'posted' and not c.possibly_paid and c.backend = $1
                and not exists (select from overhead o where o.backend = $1
                    and o.day = date '1970-01-01' + $3::integer and o.endpoint <> $2 and a.worker = any(o.workers))"#,
            &backend,
            &bill.endpoint,
            bill.day,
        )
        .fetch_one(&mut *transaction)
        .await?;
        let merged = EndpointBill {
            billed_micro_usd: merged.billed_micro_usd.map(MicroUsd),
            asked_at_ms: merged.asked_at_ms,
            seen_micro_usd: MicroUsd(merged.seen_micro_usd),
            standby_micro_usd: MicroUsd(merged.standby_micro_usd),
            ..bill.clone()
        };
        let charge = overhead(&merged, MicroUsd(attempts));
        sqlx::query!(
            r#"update overhead set attempts_micro_usd = $4, amount_micro_usd = $5, estimated = $6, held_micro_usd = $7
            where backend = $1 and endpoint = $2 and day = date '1970-01-01' + $3::integer"#,
            &backend,
            &bill.endpoint,
            bill.day,
            attempts,
            charge.amount_micro_usd.0,
            charge.estimated,
            charge.held_micro_usd.0,
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(charge)
    }

    /// Computes the charges without a job of the days from this one on again: attempts were booked since.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn refresh_overhead(&self, since_day: i32) -> Result<(), Error> {
        let rows = sqlx::query!(
            r#"select backend, endpoint, day - date '1970-01-01' as "day!", simulated
            from overhead where day >= date '1970-01-01' + $1::integer"#,
            since_day,
        )
        .fetch_all(&self.pool)
        .await?;
        for row in rows {
            let Ok(backend) = row.backend.parse() else { continue };
            self.post_bill(&EndpointBill::new(backend, row.endpoint, row.day, row.simulated)).await?;
        }
        Ok(())
    }
}

/// Follows the bills until stopped. Whatever may pass (broker or database away) is waited out.
///
/// # Errors
/// Never.
pub async fn run(
    jetstream: jetstream::Context,
    store: Store,
    stop: CancellationToken,
) -> Result<(), std::convert::Infallible> {
    let refreshing = async {
        loop {
            tokio::time::sleep(REFRESH_EVERY).await;
            let since_day = utc_day(runtime::clock::now_ms()).saturating_sub(REFRESH_DAYS - 1);
            if let Err(error) = store.refresh_overhead(since_day).await {
                tracing::warn!(%error, "charges without a job are not computed again yet");
            }
        }
    };
    let following = async {
        loop {
            if let Err(words) = follow(&jetstream, &store).await {
                tracing::warn!(reason = words, "bills are not followed, asking again");
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = refreshing => {}
        () = following => {}
    }
    Ok(())
}

/// Takes every document of the bucket and each change until the watch ends.
async fn follow(jetstream: &jetstream::Context, store: &Store) -> Result<(), String> {
    let bucket = bills::open(jetstream).await.map_err(|fault| fault.to_string())?;
    let watching = bucket.watch_with_history(">").await;
    let mut changes = watching.map_err(|error| telemetry::chain(&error))?;
    while let Some(entry) = changes.next().await {
        let entry = entry.map_err(|error| telemetry::chain(&error))?;
        if entry.operation != kv::Operation::Put {
            continue;
        }
        match codec::decode::<EndpointBill>(None, &entry.value) {
            Ok(bill) => post_patiently(store, &bill).await,
            Err(error) => tracing::warn!(key = entry.key, %error, "a bill cannot be read"),
        }
    }
    Ok(())
}

/// Posts a bill, waiting out a database that is away; what the database objects to is left out.
async fn post_patiently(store: &Store, bill: &EndpointBill) {
    while let Err(error) = store.post_bill(bill).await {
        tracing::warn!(%error, key = bill.key(), "a bill is not posted");
        if error.is_about_data() {
            return;
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}
