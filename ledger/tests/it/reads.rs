//! What people and programs read: totals are the sums of their rows.

use ledger_read::{CostBy, JobFilter, Window};
use schemas::{Charge, ChargeState, JobState, MicroUsd};

use crate::server::{Database, migrated};
use crate::story::{Story, T};

/// Three completed jobs (free, paid, eventful), one cancelled while its money is open.
async fn some_jobs() -> Database {
    let database = migrated().await;
    let (free, paid, eventful, open) = (Story::new(1), Story::new(2), Story::new(3), Story::new(4));
    let mut events = eventful.eventful();
    let local = free.attempt(100, 1, "local", Charge::VOIDED);
    events.extend([free.assigned(10, 1, "local", 0), free.ended(110, JobState::Completed, vec![local])]);
    let cloud = paid.attempt(200, 1, "cloud", Charge::posted(MicroUsd(6_500)));
    events.extend([paid.assigned(10, 1, "cloud", 9_000), paid.ended(220, JobState::Completed, vec![cloud])]);
    let awaited = Charge { state: ChargeState::Pending, ..Charge::posted(MicroUsd(900)) };
    let running = open.failed(50, 1, "cloud", awaited);
    events.extend([open.assigned(10, 1, "cloud", 900), open.ended(60, JobState::Cancelled, vec![running])]);
    database.store.ingest(&events).await.unwrap();
    database
}

const POSTED: i64 = 5_700 + 7_220 + 6_500;

#[tokio::test]
async fn every_total_is_the_sum_of_its_rows() {
    let database = some_jobs().await;
    let project = CostBy::Label("project".to_owned());
    let missing = CostBy::Label("no such label".to_owned());
    for by in [CostBy::Day, CostBy::Hour, CostBy::Backend, CostBy::Tenant, project, missing] {
        let rows = database.reader.costs(std::slice::from_ref(&by), Window::default()).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.posted_micro_usd).sum::<i64>(), POSTED, "{by:?}");
        assert_eq!(rows.iter().map(|row| row.open_micro_usd).sum::<i64>(), 900, "{by:?}");
    }
    for view in [
        "select sum(posted_micro_usd)::bigint from analytics.cost_by_day",
        "select sum(posted_micro_usd)::bigint from analytics.cost_by_backend",
        "select sum(posted_micro_usd)::bigint from analytics.cost_by_tenant",
        "select sum(posted_micro_usd)::bigint from analytics.cost_by_label where label = 'project'",
        "select sum(posted_micro_usd)::bigint from analytics.charges",
        "select sum(posted_micro_usd)::bigint from analytics.attempts",
        "select sum(posted_micro_usd)::bigint from analytics.jobs",
        "select sum(posted_micro_usd)::bigint from analytics.conservation",
        "select sum(committed_micro_usd - 900)::bigint from analytics.fleet_spending",
    ] {
        assert_eq!(database.number(view).await, POSTED, "{view}");
    }
    let costs = database.reader.costs(&[CostBy::Backend], Window::default()).await.unwrap();
    let gemini = costs.iter().find(|row| row.keys == ["gemini"]).unwrap();
    assert_eq!(
        (gemini.posted_micro_usd, gemini.jobs, gemini.possibly_paid_micro_usd),
        (7_220, 0, 0),
        "its job went on"
    );
    let day = 86_400_000;
    assert!(
        database.reader.costs(&[CostBy::Day], Window::since(T + day)).await.unwrap().is_empty(),
        "since tomorrow"
    );
}

#[tokio::test]
async fn savings_are_computed_from_the_rows_they_stand_beside() {
    let database = some_jobs().await;
    let savings = database.reader.savings(Window::default()).await.unwrap();
    let cloud = savings.iter().find(|row| row.against == "cloud").unwrap();
    assert_eq!((cloud.jobs, cloud.jobs_not_comparable), (3, 0), "cancelled jobs save nothing");
    assert_eq!(cloud.actual_micro_usd, POSTED);
    assert_eq!(cloud.baseline_micro_usd, 3 * 6_000);
    let gemini = savings.iter().find(|row| row.against == "gemini").unwrap();
    assert_eq!(gemini.baseline_micro_usd, 3 * 70_000);
    for row in &savings {
        assert_eq!(row.saving_micro_usd, row.baseline_micro_usd - row.actual_micro_usd);
    }
    let rows = "select sum(saving_micro_usd)::bigint from analytics.savings where against = 'cloud'";
    let total = "select saving_micro_usd from analytics.savings_by_baseline where against = 'cloud'";
    assert_eq!(database.number(rows).await, cloud.saving_micro_usd);
    assert_eq!(database.number(total).await, cloud.saving_micro_usd);
}

#[tokio::test]
async fn counts_and_percentiles() {
    let database = some_jobs().await;
    let counts = database.reader.counts(0).await.unwrap();
    let states: Vec<_> = counts.states.iter().map(|row| (row.state.as_str(), row.jobs)).collect();
    assert_eq!(states, [("cancelled", 1), ("completed", 3)]);
    let cloud = counts.backends.iter().find(|row| row.backend == "cloud").unwrap();
    assert_eq!((cloud.attempts, cloud.failed_attempts, cloud.failovers, cloud.retries), (3, 2, 1, 0));
    assert_eq!((cloud.completed_jobs, cloud.posted_micro_usd), (1, 5_700 + 6_500));
    assert_eq!(counts.backends.iter().map(|row| row.completed_jobs).sum::<i64>(), 3);

    let percentiles = database.reader.percentiles(0).await.unwrap();
    assert_eq!((percentiles[0].backend.as_deref(), percentiles[0].jobs), (None, 3), "all together first");
    let total = percentiles[0].total.expect("they ended");
    assert!((total.p50_ms - 220.0).abs() < 0.001, "{total:?}");
    assert_eq!(percentiles[1..].iter().map(|row| row.jobs).sum::<i64>(), 3);
    assert!(database.reader.percentiles(T + 1_000).await.unwrap()[0].total.is_none(), "none since");
}

#[tokio::test]
async fn jobs_are_found_by_what_is_known_of_them() {
    let database = some_jobs().await;
    let find = async |filter: JobFilter| {
        database.reader.jobs(&filter, 10).await.unwrap().iter().map(|job| job.job).collect::<Vec<_>>()
    };
    assert_eq!(find(JobFilter::default()).await.len(), 4);
    let cancelled = JobFilter { state: Some(JobState::Cancelled), ..JobFilter::default() };
    assert_eq!(find(cancelled).await, [Story::new(4).job.0]);
    let local = JobFilter { backend: Some("local".parse().unwrap()), ..JobFilter::default() };
    assert_eq!(find(local).await, [Story::new(3).job.0, Story::new(1).job.0]);
    let label = |value: &str| JobFilter {
        label: Some(("project".to_owned(), value.to_owned())),
        ..JobFilter::default()
    };
    assert_eq!(find(label("harbour")).await.len(), 4);
    assert_eq!(find(label("elsewhere")).await.len(), 0);
    let stranger = JobFilter { tenant: Some("nobody".parse().unwrap()), ..JobFilter::default() };
    assert_eq!(find(stranger).await.len(), 0);
    assert_eq!(database.reader.jobs(&JobFilter::default(), 2).await.unwrap().len(), 2);
    assert!(database.reader.job_detail(Story::new(9).job).await.unwrap().is_none());
}

#[tokio::test]
async fn the_audits_pages_hold_every_job_attempt_and_reservation_once() {
    let database = some_jobs().await;
    let reserved = Story::new(5);
    let tenants = crate::story::who_may_spend();
    database.store.reserve(&[reserved.reservation(0, 1, 10)], &tenants).await.unwrap();
    let (mut jobs, mut attempts, mut after) = (Vec::new(), Vec::new(), None);
    loop {
        let page = database.reader.audit_rows(after, 2).await.unwrap();
        jobs.extend(page.jobs);
        attempts.extend(page.attempts);
        after = page.next_after;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(jobs.len(), 4);
    assert!(jobs.iter().all(|job| job.ends == 1));
    assert_eq!(attempts.len(), 3 + 1 + 1 + 1 + 1, "the reservation that no event told of is among them");
    let posted = attempts.iter().filter(|attempt| attempt.charge.state == ChargeState::Posted);
    assert_eq!(posted.map(|attempt| attempt.charge.amount_micro_usd.0).sum::<i64>(), POSTED);
    let pending = attempts.iter().filter(|attempt| attempt.charge.state == ChargeState::Pending);
    assert_eq!(pending.map(|attempt| attempt.charge.amount_micro_usd.0).sum::<i64>(), 910);
    assert_eq!(attempts.iter().filter(|attempt| attempt.succeeded).count(), 3);
}
