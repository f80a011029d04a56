//! Made-up books are good books: their sums are those of their rows.

use std::time::Duration;

use ledger::Store;
use ledger_read::Reader;
use schemas::{JobId, samples};
use sqlx::postgres::PgPool;
use trials::made_up::{MadeUp, view_queries};

use crate::database::Database;
use crate::plain_views::{make_plain_views, sums_are_those_of_rows};

const ENOUGH: Duration = Duration::from_secs(60);
const DAY_MS: i64 = 86_400_000;
/// The jobs ended three years before the samples' moment.
const UNTIL_MS: i64 = samples::TIME_MS - 3 * 365 * DAY_MS;

async fn number(pool: &PgPool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(pool).await.expect("the query is good")
}

/// The generator's books are good, and spans of many jobs are cut.
#[tokio::test]
async fn made_up_books_add_up() {
    let database = Database::start().await;
    let store = Store::connect(&database.url, 4).await.expect("the database answers");
    store.migrate().await.expect("the migrations apply");
    let made_up = MadeUp::connect(&database.url).await.expect("the database answers");
    let pool = PgPool::connect(&database.url).await.expect("the database answers");
    make_plain_views(&pool).await;
    made_up.fill(&store, 6_000, UNTIL_MS).await.expect("filled");
    assert!((5_800..6_200).contains(&number(&pool, "select count(*) from attempts").await));
    let reader = Reader::connect(&database.url, 2).await.expect("the database answers");
    assert!(reader.conservation().await.expect("readable").holds());
    sums_are_those_of_rows(&pool, "before the hours between two copies are summed").await;
    let noticed = store.roll_up(ENOUGH).await.expect("it is noticed");
    let done = store.roll_up(ENOUGH).await.expect("it is summed");
    assert!(!done.more && noticed.spans + done.spans >= 19, "{noticed:?} {done:?}");
    assert!(number(&pool, "select count(*) from rollup.spans").await > 500);
    assert_eq!(number(&pool, "select count(*) from rollup.marks").await, 0);
    sums_are_those_of_rows(&pool, "when everything is summed").await;
    let day = made_up.day(UNTIL_MS - DAY_MS).await.expect("a day");
    for (view, sql) in view_queries(&day) {
        let rows = made_up.read_rows(&sql).await.expect(view);
        assert!(
            rows > 0 || matches!(view, "open_reservations" | "failures_before_attempt"),
            "{view} is empty"
        );
    }
    let newest: uuid::Uuid = sqlx::query_scalar("select job from events order by job desc limit 1")
        .fetch_one(&pool)
        .await
        .expect("there are decisions");
    assert!(reader.job_detail(JobId(newest)).await.expect("readable").is_some());
}
