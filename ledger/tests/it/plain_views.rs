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

/// Compares each view in one statement, which sees one moment.
pub(crate) async fn sums_are_those_of_rows(pool: &PgPool, when: &str) {
    for view in SUMMED {
        let sql = format!(
            "select count(*) from ((table plain.{view} except all table analytics.{view})
                union all (table analytics.{view} except all table plain.{view})) as different"
        );
        let different: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(pool).await.expect("readable");
        assert_eq!(different, 0, "{view} {when}");
    }
}
