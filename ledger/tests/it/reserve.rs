//! Reservations against a real database: concurrent routers, budgets, ends.

use schemas::{Charge, JobState, MicroUsd, PaidConsent, TenantsConfig};

use crate::server::migrated;
use crate::story::{Story, who_may_spend};

fn tenants(daily: i64) -> TenantsConfig {
    let mut tenants = who_may_spend();
    tenants.default.daily_micro_usd = Some(MicroUsd(daily));
    tenants.default.monthly_micro_usd = None;
    tenants.fleet_daily_micro_usd = None;
    tenants.fleet_monthly_micro_usd = None;
    tenants
}

/// Forty routers ask at once for 7 each, of a budget of 100: exactly fourteen get it.
#[tokio::test]
async fn concurrent_reservations_cannot_overshoot() {
    let database = migrated().await;
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..40 {
        let store = database.store.clone();
        let reservation = Story::new(number).reservation(0, 1, 7);
        asking.spawn(async move { store.reserve(&[reservation], &tenants(100)).await.unwrap().remove(0) });
    }
    let grants = asking.join_all().await;
    assert_eq!(grants.iter().filter(|grant| grant.granted).count(), 14);
    let refusal = grants.iter().find_map(|grant| grant.refusal.clone()).expect("some are refused");
    assert_eq!(
        refusal,
        "daily budget of all unlisted tenants together: 98 of 100 micro-USD are used, 7 more do not fit"
    );
    assert_eq!(database.number("select sum(open_micro_usd)::bigint from charges").await, 98);
    database.books_balance().await;
}

/// Events settle reservations while others are granted: the budget holds all along.
#[tokio::test]
async fn reserving_and_settling_at_once_keeps_the_books() {
    let database = migrated().await;
    let mut working = tokio::task::JoinSet::new();
    for number in 0..30 {
        let store = database.store.clone();
        working.spawn(async move {
            let story = Story::new(number);
            let granted = store.reserve(&[story.reservation(0, 1, 10)], &tenants(150)).await.unwrap();
            if granted[0].granted {
                let done = story.attempt(50, 1, "cloud", Charge::posted(MicroUsd(10)));
                let end = story.ended(60, JobState::Completed, vec![done]);
                store.ingest(&[story.assigned(1, 1, "cloud", 10), end]).await.unwrap();
            }
            granted[0].granted
        });
    }
    let granted = working.join_all().await.into_iter().filter(|granted| *granted).count();
    assert_eq!(granted, 15, "posted money counts as reserved money does");
    assert_eq!(database.number("select sum(posted_micro_usd)::bigint from charges").await, 150);
    database.books_balance().await;
}

#[tokio::test]
async fn asking_again_replaces_and_what_is_given_back_can_be_had_again() {
    let database = migrated().await;
    let story = Story::new(1);
    for amount in [60, 100, 40] {
        let granted =
            database.store.reserve(&[story.reservation(0, 1, amount)], &tenants(100)).await.unwrap();
        assert!(granted[0].granted, "{granted:?}");
        assert_eq!(database.number("select sum(open_micro_usd)::bigint from charges").await, amount);
    }
    let batch =
        [story.reservation(0, 2, 30), story.reservation(0, 2, 60), Story::new(2).reservation(0, 1, 1)];
    let granted = database.store.reserve(&batch, &tenants(100)).await.unwrap();
    assert_eq!(granted.iter().map(|grant| grant.granted).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(database.number("select sum(open_micro_usd)::bigint from charges").await, 100);

    let cheap = story.attempt(20, 1, "cloud", Charge::posted(MicroUsd(15)));
    let failed = story.failed(30, 2, "cloud", Charge::VOIDED);
    database.store.ingest(&[story.ended(40, JobState::Completed, vec![cheap, failed])]).await.unwrap();
    let other = Story::new(3);
    let granted = database.store.reserve(&[other.reservation(50, 1, 85)], &tenants(100)).await.unwrap();
    assert!(granted[0].granted, "85 of 100 are free again: {granted:?}");
    database.books_balance().await;
}

#[tokio::test]
async fn an_ended_job_gets_no_money() {
    let database = migrated().await;
    let story = Story::new(1);
    database.store.ingest(&[story.ended(20, JobState::Cancelled, Vec::new())]).await.unwrap();
    let granted = database.store.reserve(&[story.reservation(30, 1, 5)], &tenants(100)).await.unwrap();
    let words = format!("job {} has ended: it is cancelled", story.job);
    assert_eq!(granted[0].refusal.as_deref(), Some(words.as_str()));
}

#[tokio::test]
async fn the_fleets_budget_spans_tenants() {
    let database = migrated().await;
    let mut config = tenants(1_000);
    config.fleet_monthly_micro_usd = Some(MicroUsd(100));
    let (one, mut two) = (Story::new(1), Story::new(2));
    two.tenant = "studio-b".parse().unwrap();
    let granted = database.store.reserve(&[one.reservation(0, 1, 60)], &config).await.unwrap();
    assert!(granted[0].granted);
    let granted = database.store.reserve(&[two.reservation(0, 1, 60)], &config).await.unwrap();
    let words = "monthly budget of the fleet: 60 of 100 micro-USD are used, 60 more do not fit";
    assert_eq!(granted[0].refusal.as_deref(), Some(words));

    database.store.note_budgets(&config).await.unwrap();
    database.store.note_budgets(&config).await.expect("may be repeated");
    let spent = "select month_committed_micro_usd from analytics.fleet_spending";
    assert_eq!(database.number(spent).await, 60);
    let budget = "select monthly_budget_micro_usd from analytics.fleet_spending";
    assert_eq!(database.number(budget).await, 100);
    let own = "select daily_budget_micro_usd from analytics.spending where tenant = 'studio-a'";
    assert_eq!(database.number(own).await, 1_000);
}
