//! The views as they were before there were sums, beside the present ones, in schema `plain`. The tests of `trials`
//! include this file: books that are made up are held against the same views.

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPool;

/// The views as they were before there were sums: made of the rows alone.
const OF_ROWS: &str = include_str!("../../migrations/0004_analytics.sql");
const SUMMED: [&str; 10] = [
    "cost_by_day",
    "cost_by_backend",
    "cost_by_tenant",
    "cost_by_label",
    "savings_by_baseline",
    "failure_rates",
    "failures",
    "latency",
    "utilisation",
    "conservation",
];

/// Makes the old views.
pub(crate) async fn make_plain_views(pool: &PgPool) {
    let views = OF_ROWS.split("-- The read-only role").next().expect("the views come first");
    // Decisions are not summed, and what they are stored as has changed since.
    let statements = views.split(";\n").filter(|statement| !statement.contains("analytics.candidates"));
    let plain = statements.collect::<Vec<_>>().join(";\n").replace("analytics", "plain");
    sqlx::raw_sql(AssertSqlSafe(plain)).execute(pool).await.expect("the old views are made");
}

/// The columns of a view of before, which all views still have; and rows as there were then: those with charges.
async fn asked_of(pool: &PgPool, view: &str) -> (String, &'static str) {
    let columns: String = sqlx::query_scalar(
        "select string_agg(attname::text, ', ' order by attnum) from pg_attribute
        where attrelid = ('plain.' || $1)::regclass and attnum > 0",
    )
    .bind(view)
    .fetch_one(pool)
    .await
    .expect("readable");
    (columns, if view.starts_with("cost_by_") { "where charges > 0" } else { "" })
}

/// Compares each view in one statement, which sees one moment.
pub(crate) async fn sums_are_those_of_rows(pool: &PgPool, when: &str) {
    for view in SUMMED {
        let (columns, had) = asked_of(pool, view).await;
        let now = format!("select {columns} from analytics.{view} {had}");
        let sql = format!(
            "select count(*) from ((table plain.{view} except all {now})
                union all ({now} except all table plain.{view})) as different"
        );
        let different: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(pool).await.expect("readable");
        assert_eq!(different, 0, "{view} {when}");
    }
}
