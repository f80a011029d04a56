//! What analysts read: every count, sum and percentile is what the jobs come to when they are added up without SQL,
//! before anything is summed, when everything is, and with news since.

use std::collections::BTreeMap;

use ledger_read::{CostBy, CostRow, Window};
use schemas::{Charge, JobState, MicroUsd};
use sqlx::AssertSqlSafe;

use crate::lives::{DAY_MS, End, Figures, HOUR_MS, Life, expected, lives};
use crate::rollup::earlier;
use crate::server::{Database, migrated};
use crate::story::T;

/// A database with the lives, and months of their own for them.
async fn told() -> (Database, Vec<Life>) {
    let database = migrated().await;
    let months = format!("select prepare_partitions(at_ms({}), 5)", T - 100 * DAY_MS);
    sqlx::query(AssertSqlSafe(months)).execute(&database.pool).await.unwrap();
    let lives = lives();
    for life in &lives {
        database.store.ingest(&life.events()).await.unwrap();
    }
    (database, lives)
}

fn figures(row: &CostRow) -> Figures {
    [
        row.jobs,
        row.completed_jobs,
        row.free_jobs,
        row.attempts,
        row.charges,
        row.posted_micro_usd,
        row.possibly_paid_micro_usd,
        row.open_micro_usd,
    ]
}

fn questions() -> Vec<Vec<CostBy>> {
    let label = |key: &str| vec![CostBy::Label(key.to_owned())];
    vec![
        vec![CostBy::Day],
        vec![CostBy::Hour],
        vec![CostBy::Backend],
        vec![CostBy::Tenant],
        vec![CostBy::Model],
        vec![CostBy::Lane],
        vec![CostBy::Lane, CostBy::Model, CostBy::Day],
        vec![CostBy::Tenant, CostBy::Hour],
        label("project"),
        label("all"),
        label("nobody has it"),
        Vec::new(),
    ]
}

/// All, whole days, parts of days, parts of one day, across months, one end, and nothing.
fn windows() -> Vec<Window> {
    let midnight = (T - 95 * DAY_MS).div_euclid(DAY_MS) * DAY_MS;
    let of = |from_ms: i64, to_ms: i64| Window { from_ms: Some(from_ms), to_ms: Some(to_ms) };
    vec![
        Window::default(),
        of(midnight, midnight + DAY_MS),
        of(midnight - 3 * DAY_MS, midnight + 9 * DAY_MS),
        of(midnight + 5 * HOUR_MS, midnight + 17 * HOUR_MS),
        of(midnight - 3 * DAY_MS + 1, midnight + 10 * DAY_MS - 1),
        of(midnight + 9 * HOUR_MS, midnight + 7 * DAY_MS),
        of(midnight, midnight + 7 * DAY_MS + 13 * HOUR_MS),
        Window::since(midnight + 4 * DAY_MS + 10 * HOUR_MS),
        Window { to_ms: Some(midnight + 4 * DAY_MS + 10 * HOUR_MS), ..Window::default() },
        // One job's end, to the millisecond: the second of the first job's end is not in it.
        of(T - 100 * DAY_MS + 905, T - 100 * DAY_MS + 906),
        of(T, T + DAY_MS),
    ]
}

impl Database {
    async fn counts_are_those_of(&self, lives: &[Life], when: &str) {
        self.counts_in(&windows(), lives, when).await;
    }

    async fn counts_in(&self, windows: &[Window], lives: &[Life], when: &str) {
        for by in questions() {
            for window in windows.iter().copied() {
                let rows = self.reader.costs(&by, window).await.unwrap();
                let found: BTreeMap<Vec<String>, Figures> =
                    rows.iter().map(|row| (row.keys.clone(), figures(row))).collect();
                let asked = format!("{by:?} {window:?} {when}");
                assert_eq!(found.len(), rows.len(), "each key once: {asked}");
                assert_eq!(found, expected(lives, &by, window), "{asked}");
                let total = expected(lives, &[], window).into_values().next().unwrap_or_default();
                assert_eq!(figures(&CostRow::total(&rows)), total, "the rows add up: {asked}");
            }
        }
    }

    async fn rows<T>(&self, sql: &str) -> Vec<T>
    where
        T: Send + Unpin + for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>,
    {
        sqlx::query_as(AssertSqlSafe(sql.to_owned())).fetch_all(&self.pool).await.expect(sql)
    }
}

#[tokio::test]
async fn every_count_is_that_of_the_jobs_in_every_window() {
    let (database, mut lives) = told().await;
    database.counts_are_those_of(&lives, "before anything is summed").await;
    database.roll_up().await;
    assert_eq!(database.number("select count(*) from rollup.marks").await, 0);
    database.counts_are_those_of(&lives, "when everything is summed").await;

    // A charge that nobody knew of, long after the end: the job is free no longer.
    let late = &mut lives[0];
    let story = late.story();
    late.tries[0].posted = 77_000;
    let mut attempt = story.attempt(900, 1, "local", Charge::posted(MicroUsd(77_000)));
    attempt.model = "sdxl".to_owned();
    let news = late.recast(&earlier(&story.charged(90_000, attempt), -late.begins_ms));
    database.store.ingest(&[news]).await.unwrap();
    database.counts_are_those_of(&lives, "with late news").await;
    database.roll_up().await;
    database.counts_are_those_of(&lives, "when the news are summed").await;
}

/// Sums that a ledger of the release before made are made again, by the new one; meanwhile rows are read.
#[tokio::test]
async fn spans_from_before_there_were_daily_sums_are_summed() {
    let (database, lives) = told().await;
    database.roll_up().await;
    let spans = database.number("select count(*) from rollup.spans").await;
    sqlx::raw_sql(
        "delete from rollup.daily; delete from rollup.daily_by_span;
        insert into rollup.missing select first_period from rollup.spans",
    )
    .execute(&database.pool)
    .await
    .unwrap();
    database.counts_in(&windows()[2..4], &lives, "while sums are missing").await;
    let done = database.roll_up().await;
    assert_eq!(i64::try_from(done.spans).unwrap(), spans);
    assert_eq!(database.number("select count(*) from rollup.missing").await, 0);
    database.counts_in(&windows()[2..4], &lives, "when they are made").await;
    assert_eq!(database.roll_up().await.spans, 0);
}

#[tokio::test]
async fn every_view_of_costs_counts_the_same_jobs_and_dollars() {
    let (database, lives) = told().await;
    let [jobs, _, free, attempts, charges, posted, ..] = expected(&lives, &[], Window::default())[&vec![]];
    assert!(free > 10 && jobs > free && attempts > charges);
    assert_eq!(database.number("select count(*) from analytics.jobs").await, jobs);
    for summed in [false, true] {
        for view in
            ["costs", "cost_by_day", "cost_by_backend", "cost_by_tenant", "cost_by_model", "cost_by_lane"]
        {
            for asked in [view.to_owned(), format!("{view}('-infinity', 'infinity')")] {
                let sql = format!(
                    "select sum(jobs)::bigint, sum(free_jobs)::bigint, sum(attempts)::bigint, sum(charges)::bigint,
                        sum(posted_micro_usd)::bigint, (sum(posted_usd) * 1000000)::bigint from analytics.{asked}"
                );
                let rows: Vec<(i64, i64, i64, i64, i64, i64)> = database.rows(&sql).await;
                assert_eq!(
                    rows,
                    [(jobs, free, attempts, charges, posted, posted)],
                    "{asked}, summed {summed}"
                );
            }
        }
        let labelled: Vec<(String, i64)> = database
            .rows("select value, jobs from analytics.cost_by_label where label = 'project' order by value")
            .await;
        let project = expected(&lives, &[CostBy::Label("project".into())], Window::default());
        let project: Vec<(String, i64)> = project
            .into_iter()
            .filter(|(key, _)| key != &[""])
            .map(|(key, sum)| (key.concat(), sum[0]))
            .collect();
        assert_eq!(labelled, project, "summed {summed}");
        database.roll_up().await;
    }
}

/// What each decision of the stories expects.
const BASELINES: [(&str, i64); 3] = [("cloud", 6_000), ("gemini", 70_000), ("local", 0)];

#[tokio::test]
async fn savings_are_those_of_the_jobs_that_ended_in_the_window() {
    let (database, lives) = told().await;
    for when in ["before they are summed", "when they are summed"] {
        let mut compared = 0;
        for window in windows() {
            let made = |life: &&Life| match life.end {
                End::At(after_ms, JobState::Completed) => window.contains(T + life.begins_ms + after_ms),
                _ => false,
            };
            let comparable: Vec<&Life> =
                lives.iter().filter(made).filter(|life| life.has_decision()).collect();
            let rest = lives.iter().filter(made).count() - comparable.len();
            let spent: i64 = comparable.iter().map(|life| life.spent()).sum();
            let (jobs, rest) = (i64::try_from(comparable.len()).unwrap(), i64::try_from(rest).unwrap());
            let found: Vec<_> = database
                .reader
                .savings(window)
                .await
                .unwrap()
                .into_iter()
                .map(|row| {
                    (
                        row.against,
                        row.jobs,
                        row.jobs_not_comparable,
                        row.actual_micro_usd,
                        row.saving_micro_usd,
                    )
                })
                .collect();
            let row =
                |(against, each): (&str, i64)| (against.to_owned(), jobs, rest, spent, jobs * each - spent);
            let expected: Vec<_> = BASELINES.into_iter().filter(|_| jobs > 0).map(row).collect();
            assert_eq!(found, expected, "{window:?} {when}");
            compared += found.len();
        }
        assert!(compared > 10, "{compared}");
        let all = "select sum(saving_micro_usd)::bigint from analytics.savings where against = 'gemini'";
        let days =
            "select sum(saving_micro_usd)::bigint from analytics.savings_by_day where against = 'gemini'";
        assert_eq!(database.number(all).await, database.number(days).await);
        database.roll_up().await;
    }
}

#[tokio::test]
async fn what_ended_before_its_first_attempt_is_seen() {
    let (database, lives) = told().await;
    let mut expected: BTreeMap<(String, String, Option<String>, String, String), i64> = BTreeMap::new();
    for life in lives.iter().filter(|life| life.tries.is_empty()) {
        let (after_ms, how, code) = match life.end {
            End::Refused => (3, "refused", "invalid_job"),
            End::At(after_ms, JobState::Expired) => (after_ms, "expired", "expired"),
            End::At(after_ms, _) => (after_ms, "cancelled", "cancelled"),
            End::Open(_) => continue,
        };
        let (year, month, day) =
            schemas::calendar::date_of((T + life.begins_ms + after_ms).div_euclid(DAY_MS));
        // A refused publish tells of no lane.
        let lane = (how != "refused").then(|| life.lane.to_owned());
        let key =
            (format!("{year:04}-{month:02}-{day:02}"), life.tenant.to_owned(), lane, how.into(), code.into());
        *expected.entry(key).or_default() += 1;
    }
    assert!(expected.len() >= 8, "{expected:?}");
    for when in ["before it is summed", "when it is summed"] {
        let rows: Vec<(String, String, Option<String>, String, String, i64)> = database
            .rows(
                "select day_utc::text, tenant, lane, ended_as, failure_code, jobs
                from analytics.failures_before_attempt",
            )
            .await;
        let found: BTreeMap<_, _> = rows
            .into_iter()
            .map(|(day, tenant, lane, how, code, n)| ((day, tenant, lane, how, code), n))
            .collect();
        assert_eq!(found, expected, "{when}");
        let ((day, ..), _) = expected.first_key_value().unwrap();
        let of_day: i64 = expected.iter().filter(|((one, ..), _)| one == day).map(|(_, jobs)| jobs).sum();
        let sql = format!(
            "select sum(jobs)::bigint from analytics.failures_before_attempt('{day}', date '{day}' + 1)"
        );
        assert_eq!(database.rows::<(i64,)>(&sql).await, [(of_day,)], "{when}");
        database.roll_up().await;
    }
    // None of them is among the failures of attempts.
    let all = "select sum(attempts)::bigint from analytics.failures";
    let failed = lives.iter().map(|life| match life.end {
        End::At(_, JobState::Completed) => life.tries.len().saturating_sub(1),
        _ => life.tries.len(),
    });
    assert_eq!(database.number(all).await, i64::try_from(failed.sum::<usize>()).unwrap());
}

/// The percentile of sorted values, between two where it lies between two.
fn percentile(sorted: &[i64], share: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "few values")]
    let place = share * (sorted.len() - 1) as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number")]
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    #[expect(clippy::cast_precision_loss, reason = "few values")]
    let (below, above) = (below as f64, above as f64);
    below + (above - below) * place.fract()
}

#[tokio::test]
async fn latency_by_hour_is_that_of_the_jobs_submitted_in_it() {
    let (database, mut lives) = told().await;
    // More in the hour of the first, so that percentiles lie between values.
    for (extra, ended_ms) in [(100, 1_500), (101, 2_500), (102, 40_000)] {
        let mut life = Life { number: extra, ..lives[0].clone() };
        life.begins_ms += i64::from(extra);
        life.tries[0].ended_ms = ended_ms;
        life.end = End::At(ended_ms + 7, JobState::Completed);
        database.store.ingest(&life.events()).await.unwrap();
        lives.push(life);
    }
    let begins_ms = T + lives[0].begins_ms;
    let hour_ms = begins_ms.div_euclid(HOUR_MS) * HOUR_MS;
    let of_hour = lives.iter().filter(|life| (T + life.begins_ms).div_euclid(HOUR_MS) * HOUR_MS == hour_ms);
    let (mut queue, mut total) = (Vec::new(), Vec::new());
    for life in of_hour {
        let End::At(ended_ms, JobState::Completed) = life.end else { panic!("{life:?}") };
        queue.push(life.tries[0].ended_ms - 10);
        total.push(ended_ms);
    }
    queue.sort_unstable();
    total.sort_unstable();
    assert_eq!(queue.len(), 4);
    let window = format!("at_ms({hour_ms}), at_ms({})", hour_ms + HOUR_MS);
    let columns = "to_char(hour_utc, 'YYYY-MM-DD HH24:MI'), lane, model, backend, jobs";
    let who: Vec<(String, String, String, String, i64)> =
        database.rows(&format!("select {columns} from analytics.latency_by_hour({window})")).await;
    let sql = format!("select to_char(at_ms({hour_ms}) at time zone 'UTC', 'YYYY-MM-DD HH24:MI')");
    let hour: Vec<(String,)> = database.rows(&sql).await;
    let local = |text: &str| text.to_owned();
    assert_eq!(who, [(hour[0].0.clone(), local(lives[0].lane), local("sdxl"), local("local"), 4)]);
    let columns = "queue_p50_ms, queue_p95_ms, run_p50_ms, run_p95_ms, total_p50_ms, total_p95_ms";
    let times: Vec<(f64, f64, f64, f64, f64, f64)> =
        database.rows(&format!("select {columns} from analytics.latency_by_hour({window})")).await;
    let run = [10; 4];
    let of = |sorted: &[i64]| (percentile(sorted, 0.5), percentile(sorted, 0.95));
    let ((q50, q95), (r50, r95), (t50, t95)) = (of(&queue), of(&run), of(&total));
    let [found] = &times[..] else { panic!("{times:?}") };
    for (found, expected) in
        [(found.0, q50), (found.1, q95), (found.2, r50), (found.3, r95), (found.4, t50), (found.5, t95)]
    {
        assert!((found - expected).abs() < 0.001, "{times:?}: {found} is not {expected}");
    }
    let completed = lives.iter().filter(|life| matches!(life.end, End::At(_, JobState::Completed))).count();
    let all = "select sum(jobs)::bigint from analytics.latency_by_hour";
    assert_eq!(database.number(all).await, i64::try_from(completed).unwrap());
}
