//! What holds for every view of schema `analytics`: dollars beside micro-dollars, times in UTC, windows that leave
//! other months alone, and the queries that the documents print.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::lives::{DAY_MS, HOUR_MS, lives};
use crate::server::{Database, migrated};
use crate::story::{Story, T};

#[tokio::test]
async fn every_amount_stands_in_dollars_beside_its_micro_dollars() {
    let database = migrated().await;
    database.store.ingest(&Story::new(1).eventful()).await.unwrap();
    database.store.ingest(&[Story::new(2).assigned(10, 1, "cloud", 900)]).await.unwrap();
    database.store.post_bill(&schemas::samples::endpoint_bill()).await.unwrap();
    let amounts: Vec<(String, String, bool)> = sqlx::query_as(
        "select c.relname::text, micro.attname::text, usd.attname is not null
        from pg_class c
        join pg_attribute micro on micro.attrelid = c.oid and micro.attname like '%\\_micro\\_usd'
        left join pg_attribute usd on usd.attrelid = c.oid
            and usd.attname = regexp_replace(micro.attname, '_micro_usd$', '_usd')
        where c.relnamespace = 'analytics'::regnamespace",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    assert!(amounts.len() > 60, "{}", amounts.len());
    for (view, micro_usd, has_dollars) in amounts {
        assert!(has_dollars, "analytics.{view}.{micro_usd} stands alone");
        let usd = micro_usd.replace("_micro_usd", "_usd");
        let sql = format!(
            "select count(*), count({usd}), count(*) filter (where {usd} is distinct from {micro_usd}::numeric / 1000000)
            from analytics.{view}"
        );
        let (rows, _, different): (i64, i64, i64) =
            sqlx::query_as(AssertSqlSafe(sql)).fetch_one(&database.pool).await.unwrap();
        assert!(rows > 0, "analytics.{view} is empty");
        assert_eq!(different, 0, "analytics.{view}.{usd}");
    }
}

#[tokio::test]
async fn every_time_says_that_it_is_utc() {
    let database = migrated().await;
    let silent = "select string_agg(c.relname || '.' || a.attname, ', ') from pg_class c
        join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
        where c.relnamespace = 'analytics'::regnamespace
            and a.atttypid in ('date'::regtype, 'timestamptz'::regtype, 'timestamp'::regtype)
            and a.attname not like '%\\_utc' and position('UTC' in col_description(c.oid, a.attnum)) = 0";
    assert_eq!(database.text(silent).await, "-");
    let times = "select count(*) from pg_attribute a join pg_class c on c.oid = a.attrelid
        where c.relnamespace = 'analytics'::regnamespace and a.attname in ('day_utc', 'hour_utc')";
    assert!(database.number(times).await >= 5);
    let zone =
        "select string_agg(setting, ' ') from pg_db_role_setting s cross join unnest(s.setconfig) as setting
        where s.setdatabase = (select oid from pg_database where datname = current_database())
            and setting ilike 'timezone=%'";
    assert_eq!(database.text(zone).await.to_lowercase(), "timezone=utc");
}

/// The tables that a query reads rows or an index of.
async fn read_by(database: &Database, sql: &str) -> Vec<String> {
    // A connection that has read nothing else: what one counts, it keeps for a while beyond its transaction.
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let mut transaction = connection.begin().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(&mut *transaction).await.expect(sql);
    let read = sqlx::query_scalar(
        "select relname::text from pg_stat_xact_user_tables where seq_scan + coalesce(idx_scan, 0) > 0 order by 1",
    )
    .fetch_all(&mut *transaction)
    .await
    .unwrap();
    transaction.rollback().await.unwrap();
    read
}

#[tokio::test]
async fn a_window_reads_its_own_month_and_whole_days_read_none() {
    let database = migrated().await;
    let begins_ms = T - 100 * DAY_MS;
    let months = format!("select prepare_partitions(at_ms({begins_ms}), 5)");
    sqlx::query(AssertSqlSafe(months)).execute(&database.pool).await.unwrap();
    for life in lives() {
        database.store.ingest(&life.events()).await.unwrap();
    }
    database.roll_up().await;
    let month = |time_ms: i64| {
        let (year, month, _) = schemas::calendar::date_of(time_ms.div_euclid(DAY_MS));
        format!("_y{year:04}m{month:02}")
    };
    let (first, last) = (month(begins_ms), month(begins_ms + 18 * DAY_MS));
    assert_ne!(first, last, "the jobs lie in two months");
    let part = format!("at_ms({}), at_ms({})", begins_ms - HOUR_MS, begins_ms + 9 * HOUR_MS);
    let midnight = begins_ms.div_euclid(DAY_MS) * DAY_MS;
    let whole = format!("at_ms({midnight}), at_ms({})", midnight + 2 * DAY_MS);
    let is_of = |tables: &[String], kind: &str, month: &str| {
        tables.iter().any(|table| *table == format!("{kind}{month}"))
    };
    for asked in
        ["costs", "costs_by_hour", "cost_by_model", "label_costs", "savings_by_day", "latency_by_hour"]
    {
        let tables = read_by(&database, &format!("select * from analytics.{asked}({part})")).await;
        assert!(is_of(&tables, "attempts", &first), "{asked}: {tables:?}");
        assert!(!is_of(&tables, "attempts", &last), "{asked}: {tables:?}");
        assert!(!is_of(&tables, "attempts", "_default"), "{asked}: {tables:?}");
    }
    for asked in ["costs", "cost_by_day", "cost_by_lane", "cost_by_label", "savings_by_baseline"] {
        for asked in [format!("{asked}({whole})"), asked.to_owned()] {
            let tables = read_by(&database, &format!("select * from analytics.{asked}")).await;
            assert!(tables.iter().any(|table| table == "daily"), "{asked}: {tables:?}");
            for table in &tables {
                let is_rows =
                    ["jobs", "attempts", "charges", "events"].iter().any(|kind| table.starts_with(kind));
                assert!(!is_rows, "{asked}: {tables:?}");
            }
        }
    }
}

/// The queries that a document prints, without what is psql's own.
fn printed(document: &str) -> Vec<String> {
    let blocks = document.split("```sql\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0));
    let statements = blocks.flat_map(|block| block.split_inclusive(";")).flat_map(|statement| {
        let lines = statement.lines().filter(|line| !line.starts_with('\\'));
        let text =
            lines.map(|line| line.split("--").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
        Some(text.trim().trim_end_matches(';').to_owned())
    });
    statements.filter(|statement| !statement.is_empty()).collect()
}

#[tokio::test]
async fn what_the_documents_print_works_for_an_analyst() {
    let database = migrated().await;
    for life in lives() {
        database.store.ingest(&life.events()).await.unwrap();
    }
    let pages = [include_str!("../../../README.md"), include_str!("../../../docs/analytics.md")];
    let (mut asked, mut baselines) = (0, 0);
    let mut analyst = database.pool.acquire().await.unwrap();
    for statement in pages.into_iter().flat_map(printed) {
        if let Some(who) = statement.strip_prefix("GRANT argosy_analyst TO ") {
            // Roles belong to the server, which other tests use as well.
            let role = format!("do $$ begin create role {who}; exception when others then null; end $$");
            sqlx::raw_sql(AssertSqlSafe(role)).execute(&database.pool).await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(&database.pool).await.unwrap();
            sqlx::query("set role argosy_analyst").execute(&mut *analyst).await.unwrap();
            continue;
        }
        let rows = sqlx::raw_sql(AssertSqlSafe(statement.clone())).fetch_all(&mut *analyst).await;
        let rows = rows.unwrap_or_else(|error| panic!("{statement}: {error}"));
        asked += 1;
        if statement.ends_with("analytics.savings_by_baseline") {
            baselines += 1;
            assert!(!rows.is_empty(), "{statement}");
        }
    }
    assert!(asked >= 12 && baselines >= 1, "{asked} queries, {baselines} of savings_by_baseline");
}
