//! The schema itself: migrations, comments, roles, checks.

use schemas::JobState;

use crate::server::{empty, migrated};
use crate::story::Story;

#[tokio::test]
async fn migrations_apply_to_an_empty_database_and_again_to_a_full_one() {
    let database = empty().await;
    let (one, two) = tokio::join!(database.store.migrate(), database.store.migrate());
    one.expect("two processes may migrate at once");
    two.expect("two processes may migrate at once");
    database.store.ingest(&Story::new(1).eventful()).await.unwrap();
    database.store.migrate().await.expect("nothing is left to do");
    assert_eq!(database.number("select count(*) from jobs").await, 1);
    let ahead = "select count(*) from pg_inherits where inhparent = 'events'::regclass";
    assert!(database.number(ahead).await >= 5, "months ahead and the default partition");
}

#[tokio::test]
async fn every_view_and_every_column_says_what_it_is() {
    let database = migrated().await;
    let views = "select count(*) from pg_views where schemaname = 'analytics'";
    assert!(database.number(views).await >= 15);
    let silent = database
        .text(
            "select string_agg(name, ', ') from (
                select relname::text as name from pg_class
                where relnamespace = 'analytics'::regnamespace and obj_description(oid, 'pg_class') is null
                union all
                select c.relname || '.' || a.attname from pg_class c
                join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
                where c.relnamespace = 'analytics'::regnamespace and col_description(c.oid, a.attnum) is null
            ) as silent",
        )
        .await;
    assert_eq!(silent, "-", "these have no comment");
}

#[tokio::test]
async fn analysts_read_the_views_and_write_nothing() {
    let database = migrated().await;
    database.store.ingest(&Story::new(1).eventful()).await.unwrap();
    // One that never had an attempt.
    database.store.ingest(&[Story::new(2).ended(9, JobState::Cancelled, Vec::new())]).await.unwrap();
    database.store.post_bill(&schemas::samples::endpoint_bill()).await.unwrap();
    let mut analyst = database.pool.acquire().await.unwrap();
    sqlx::query("set role argosy_analyst").execute(&mut *analyst).await.unwrap();
    let views: Vec<String> =
        sqlx::query_scalar("select viewname::text from pg_views where schemaname = 'analytics'")
            .fetch_all(&mut *analyst)
            .await
            .unwrap();
    for view in views {
        let sql = sqlx::AssertSqlSafe(format!("select count(*) from analytics.{view}"));
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut *analyst).await.expect("readable");
        assert!(count > 0 || view == "open_reservations", "{view} is empty");
    }
    for forbidden in [
        "select count(*) from public.jobs",
        "delete from public.charges",
        "insert into public.budgets values ('fleet', '', 1, 1)",
        "delete from analytics.charges",
        "create table analytics.mine (x integer)",
        "create view public.mine as select 1",
    ] {
        let refused = sqlx::query(forbidden).execute(&mut *analyst).await;
        let error = refused.expect_err(forbidden);
        let code = error.as_database_error().and_then(|error| error.code().map(|code| code.to_string()));
        assert!(matches!(code.as_deref(), Some("42501" | "55000")), "{forbidden}: {error}");
    }
}

#[tokio::test]
async fn the_tables_refuse_impossible_money() {
    let database = migrated().await;
    database.store.ingest(&[Story::new(1).assigned(1, 1, "cloud", 5)]).await.unwrap();
    for impossible in [
        "update charges set reserved_micro_usd = -1",
        "update charges set posted_micro_usd = 5",
        "update charges set state = 'posted', settled_by = 'ended', posted_micro_usd = -5, posted_at = now()",
        "update charges set state = 'lost'",
        "update jobs set state = 'completed'",
    ] {
        let error = sqlx::query(impossible).execute(&database.pool).await.expect_err(impossible);
        let code = error.as_database_error().and_then(|error| error.code().map(|code| code.to_string()));
        assert_eq!(code.as_deref(), Some("23514"), "{impossible}: {error}");
    }
}
