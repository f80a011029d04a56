//! The sums behind the views: equal to those of the rows at every moment, whatever was summed when.

use std::time::Duration;

use ledger::Store;
use ledger::rollup::{RolledUp, period_of};
use schemas::{Charge, ChargeState, Event, JobId, JobState, MicroUsd};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use crate::loops::until;
use crate::plain_views::{make_plain_views, sums_are_those_of_rows};
use crate::server::{Database, migrated};
use crate::story::{Story, T};

const ENOUGH: Duration = Duration::from_secs(60);
const MONEY_LOCK: i64 = 0x4152_474f_0002;
/// Three years.
const AGO_MS: i64 = 3 * 365 * 86_400_000;

/// A database that has the old views beside the new ones, in schema `plain`.
async fn compared() -> Database {
    let database = migrated().await;
    make_plain_views(&database.pool).await;
    database
}

impl Database {
    async fn sums_are_those_of_rows(&self, when: &str) {
        sums_are_those_of_rows(&self.pool, when).await;
    }

    async fn count(&self, of: &'static str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from rollup.{of}")))
            .fetch_one(&self.pool)
            .await
            .expect("readable")
    }

    /// Notices all news, then sums it.
    pub(crate) async fn roll_up(&self) -> RolledUp {
        let noticed = self.store.roll_up(ENOUGH).await.expect("it is noticed");
        let done = self.store.roll_up(ENOUGH).await.expect("it is summed");
        assert!(!done.more && done.given_up == 0 && noticed.given_up == 0, "{done:?}");
        RolledUp { spans: noticed.spans + done.spans, ..done }
    }
}

/// The same event as if it had been told earlier: every time in it.
pub(crate) fn earlier(event: &Event, by_ms: i64) -> Event {
    fn shift(value: &mut Value, by_ms: i64) {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    match field.as_i64() {
                        Some(time_ms) if name == "time_ms" || name.ends_with("_at_ms") => {
                            *field = (time_ms - by_ms).into();
                        }
                        _ => shift(field, by_ms),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| shift(item, by_ms)),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(event).expect("plain data");
    shift(&mut value, by_ms);
    serde_json::from_value(value).expect("an event still")
}

/// A job of years ago: those of one number are in the same period, each number is 25 minutes after the last.
fn story(number: u8) -> (Story, i64) {
    let by_ms = AGO_MS - i64::from(number) * 25 * 60_000;
    let job = JobId::from_parts(T - by_ms, [number; 10]);
    (Story { job, tenant: format!("studio-{}", number % 3).parse().expect("a name") }, by_ms)
}

/// A life by its number: eventful, free, paid, unpaid and failed, with open money, or only begun.
fn life(number: u8) -> Vec<Event> {
    let (story, by_ms) = story(number);
    let open = Charge { state: ChargeState::Pending, ..Charge::posted(MicroUsd(900)) };
    let paid = Charge::posted(MicroUsd(1_000 + i64::from(number)));
    let events = match number % 6 {
        0 => story.eventful(),
        1 => {
            vec![story.ended(110, JobState::Completed, vec![story.attempt(100, 1, "local", Charge::VOIDED)])]
        }
        2 => vec![story.ended(
            9_000_000,
            JobState::Completed,
            vec![story.attempt(8_999_000, 1, "cloud", paid)],
        )],
        3 => vec![story.ended(70, JobState::Failed, vec![story.failed(60, 1, "gemini", Charge::VOIDED)])],
        4 => vec![
            story.assigned(10, 1, "cloud", 900),
            story.ended(60, JobState::Cancelled, vec![story.failed(50, 1, "cloud", open)]),
        ],
        _ => vec![story.assigned(10, 1, "gemini", 700), story.running(20, 1, "gemini")],
    };
    events.iter().map(|event| earlier(event, by_ms)).collect()
}

/// News about money, long after the end.
fn late(number: u8) -> Event {
    let (story, by_ms) = story(number);
    let attempt = story.attempt(25, 1, "cloud", Charge::posted(MicroUsd(77_000)));
    earlier(&story.charged(90_000_000, attempt), by_ms)
}

#[tokio::test]
async fn sums_are_those_of_the_rows_before_and_after_they_are_made() {
    let database = compared().await;
    for number in 0..60 {
        database.store.ingest(&life(number)).await.unwrap();
    }
    // Ids that are not of this age, or not UUIDv7 at all.
    for id in ["ffffffff-ffff-4fff-bfff-ffffffffffff", "00000000-0000-7000-8000-000000000002"] {
        let (mut story, by_ms) = story(6);
        story.job = id.parse().unwrap();
        database.store.ingest(&[earlier(&story.eventful()[7], by_ms)]).await.unwrap();
    }
    database.sums_are_those_of_rows("before anything is summed").await;
    let done = database.roll_up().await;
    assert!(done.spans >= 26, "25 hours and 2 odd ids: {done:?}");
    assert_eq!((database.count("marks").await, database.count("latency_open").await), (0, 0));
    assert_eq!(database.count("spans").await, i64::try_from(done.spans).unwrap());
    database.sums_are_those_of_rows("when everything is summed").await;
    assert_eq!(database.roll_up().await.spans, 0, "nothing is left to do");

    // The newest hour is not over: its rows are read until it is.
    let now = Story { job: JobId::new(), ..Story::new(1) };
    database.store.ingest(&now.eventful()).await.unwrap();
    database.sums_are_those_of_rows("with news").await;
    assert_eq!(database.roll_up().await.spans, 0, "its hour is not over");
    database.sums_are_those_of_rows("with news that is not summed yet").await;
}

#[tokio::test]
async fn late_news_is_in_the_sums_at_once() {
    let database = compared().await;
    for number in 0..24 {
        database.store.ingest(&life(number)).await.unwrap();
    }
    database.roll_up().await;
    let spans = database.count("spans").await;
    for number in [2, 4, 5, 13] {
        database.store.ingest(&[late(number)]).await.unwrap();
        database.sums_are_those_of_rows("with a late charge").await;
    }
    // A reservation is news too, also of a job that no event told of.
    let tenants = crate::story::who_may_spend();
    for number in [5, 200] {
        let reserved = database.store.reserve(&[story(number).0.reservation(0, 2, 10)], &tenants).await;
        assert!(reserved.unwrap()[0].granted);
        database.sums_are_those_of_rows("with a late reservation").await;
    }
    assert!(database.roll_up().await.spans > 0);
    database.sums_are_those_of_rows("when they are summed again").await;
    assert_eq!(database.count("marks").await, 0);
    assert_eq!(database.count("spans").await, spans + 1, "summed again in their places");
}

/// Two ledgers sum, two tell, one looks: what it sees is exact every time.
#[tokio::test]
async fn many_at_once_keep_the_sums() {
    let database = compared().await;
    let mut working = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let store = database.store.clone();
        working.spawn(async move {
            for _ in 0..60 {
                store.roll_up(ENOUGH).await.expect("it goes on");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }
    for half in 0..2 {
        let store = database.store.clone();
        working.spawn(async move {
            for number in (half..80).step_by(2) {
                store.ingest(&life(number)).await.expect("it is stored");
                store.ingest(&[late(number / 2)]).await.expect("it is stored");
            }
        });
    }
    while working.try_join_next().is_none() {
        database.sums_are_those_of_rows("while others work").await;
    }
    working.join_all().await;
    database.sums_are_those_of_rows("after all that").await;
    database.roll_up().await;
    assert_eq!(database.count("marks").await, 0);
    database.sums_are_those_of_rows("when everything is summed").await;
}

#[tokio::test]
async fn news_while_a_span_is_summed_is_not_lost() {
    let database = compared().await;
    database.store.ingest(&life(2)).await.unwrap();
    database.store.roll_up(ENOUGH).await.unwrap();
    let mut other = PgConnection::connect(&database.url).await.unwrap();
    let mut writing = other.begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock($1)").bind(MONEY_LOCK).execute(&mut *writing).await.unwrap();
    let store: Store = database.store.clone();
    let mut summing = tokio::task::JoinSet::new();
    summing.spawn(async move { store.roll_up(ENOUGH).await });
    // It has summed and waits for the lock; what it read is old as soon as this commits.
    let waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted
        and database = (select oid from pg_database where datname = current_database())";
    until("the sum waits for the lock", async || database.number(waiting).await > 0).await;
    sqlx::query("update charges set posted_micro_usd = posted_micro_usd + 5")
        .execute(&mut *writing)
        .await
        .unwrap();
    sqlx::query("insert into rollup.marks values ($1, false)")
        .bind(period_of(story(2).0.job.0))
        .execute(&mut *writing)
        .await
        .unwrap();
    writing.commit().await.unwrap();
    let done = summing.join_next().await.expect("it was started").unwrap().unwrap();
    assert_eq!((done.spans, done.given_up), (0, 1), "it is given up");
    database.sums_are_those_of_rows("after that").await;
    assert_eq!(database.roll_up().await.spans, 1);
    database.sums_are_those_of_rows("when it is summed").await;
}

#[tokio::test]
async fn a_crash_while_summing_changes_nothing() {
    let database = compared().await;
    for number in 0..12 {
        database.store.ingest(&life(number)).await.unwrap();
    }
    database.roll_up().await;
    database.store.ingest(&[late(2)]).await.unwrap();
    let period = period_of(story(2).0.job.0);
    let mut dying = PgConnection::connect(&database.url).await.unwrap();
    let mut summing = dying.begin().await.unwrap();
    sqlx::query("select rollup.sum_span($1, $1)").bind(period).execute(&mut *summing).await.unwrap();
    sqlx::query("delete from rollup.marks").execute(&mut *summing).await.unwrap();
    database.sums_are_those_of_rows("while others have not committed").await;
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *summing).await.unwrap();
    sqlx::query("select pg_terminate_backend($1)").bind(pid).execute(&database.pool).await.unwrap();
    sqlx::query("select 1").execute(&mut *summing).await.expect_err("the connection is gone");
    database.sums_are_those_of_rows("after the crash").await;
    assert!(database.count("marks").await > 0, "and it is still to be summed");
    database.roll_up().await;
    database.sums_are_those_of_rows("when it is summed").await;
}

#[tokio::test]
async fn periods_are_the_same_in_sql_and_here() {
    let database = migrated().await;
    let mut ids: Vec<Uuid> = vec![Uuid::nil(), Uuid::max(), JobId::new().0];
    for edge in [60_000_u128, 1 << 42, (1 << 42) - 60_000 + 20_000, 1 << 47, 5_000_000_000_000] {
        ids.extend([(edge << 80) - 1, edge << 80, (edge << 80) + 1].map(Uuid::from_u128));
    }
    ids.extend(
        (0..100_u128).map(|n| Uuid::from_u128(n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))),
    );
    for id in ids {
        let (period, within): (i64, bool) = sqlx::query_as(
            "select p, $1 between rollup.first_id(p) and rollup.last_id(p)
                and rollup.period_of(rollup.first_id(p)) = p and rollup.period_of(rollup.last_id(p)) = p
            from rollup.period_of($1) as p",
        )
        .bind(id)
        .fetch_one(&database.pool)
        .await
        .unwrap();
        assert_eq!((period, within), (period_of(id), true), "{id}");
    }
}
