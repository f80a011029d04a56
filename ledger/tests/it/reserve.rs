//! Reservations against a real database: concurrent routers, budgets, ends.

use schemas::{Charge, JobState, MicroUsd, TenantConfig, TenantsConfig};

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
        "daily budget of all unlisted tenants together: $0.000098 of $0.0001 used, until 00:00 UTC; $0.000007 more does not fit"
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
    let words = "monthly budget of the fleet: $0.00006 of $0.0001 used, until 00:00 UTC on the first of next month; $0.00006 more does not fit";
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

fn of(tenant: &str, number: u8) -> Story {
    Story { tenant: tenant.parse().expect("a name"), ..Story::new(number) }
}

/// Thirty invented names ask at once for 7 each, of one budget of 100: fourteen get it, as if they were one.
#[tokio::test]
async fn invented_names_cannot_overshoot_the_default_together() {
    let database = migrated().await;
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..30 {
        let store = database.store.clone();
        let reservation = of(&format!("invented-{number}"), number).reservation(0, 1, 7);
        asking.spawn(async move { store.reserve(&[reservation], &tenants(100)).await.unwrap().remove(0) });
    }
    let grants = asking.join_all().await;
    assert_eq!(grants.iter().filter(|grant| grant.granted).count(), 14);
    let refusal = grants.iter().find_map(|grant| grant.refusal.clone()).expect("some are refused");
    let words = "daily budget of all unlisted tenants together: $0.000098 of $0.0001 used, until 00:00 UTC; $0.000007 more does not fit";
    assert_eq!(refusal, words);
    database.books_balance().await;

    database.store.note_budgets(&tenants(100)).await.unwrap();
    let rows =
        "select count(*) from analytics.spending where shares_budget and shared_committed_micro_usd = 98
        and shared_month_committed_micro_usd = 98 and daily_budget_micro_usd = 100";
    assert_eq!(database.number(rows).await, 14, "each name stands beside what all have spent");
}

/// What counts against the shared budget follows the document: an entry takes a tenant's own spending with it, and
/// its removal brings it back.
#[tokio::test]
async fn a_tenant_that_gets_an_entry_or_loses_it_takes_its_spending_along() {
    let database = migrated().await;
    let before = tenants(100);
    let mut after = before.clone();
    let own = TenantConfig { daily_micro_usd: Some(MicroUsd(70)), ..before.default.clone() };
    after.tenants.insert("studio-a".parse().expect("a name"), own);
    let ask = async |story: &Story, attempt, amount, tenants: &TenantsConfig| {
        let reservation = story.reservation(0, attempt, amount);
        database.store.reserve(&[reservation], tenants).await.unwrap().remove(0).refusal
    };
    let (studio, other, late) = (of("studio-a", 1), of("studio-b", 2), of("studio-c", 3));
    assert_eq!(ask(&studio, 1, 60, &before).await, None);
    assert_eq!(ask(&other, 1, 40, &before).await, None);
    assert!(ask(&late, 1, 1, &before).await.is_some(), "60 and 40 are all there is");

    assert_eq!(ask(&late, 1, 60, &after).await, None, "the 60 are studio-a's own now");
    let words =
        "daily budget of studio-a: $0.00006 of $0.00007 used, until 00:00 UTC; $0.000011 more does not fit";
    assert_eq!(ask(&studio, 2, 11, &after).await.as_deref(), Some(words), "and count against its own budget");
    assert_eq!(ask(&studio, 2, 10, &after).await, None);
    database.store.note_budgets(&after).await.unwrap();
    let shares = "select count(*) from analytics.spending where tenant = 'studio-a' and not shares_budget
        and shared_committed_micro_usd is null and daily_budget_micro_usd = 70";
    assert_eq!(database.number(shares).await, 1);

    let words = "daily budget of all unlisted tenants together: $0.00017 of $0.0001 used, until 00:00 UTC; $0.000001 more does not fit";
    assert_eq!(ask(&of("studio-d", 4), 1, 1, &before).await.as_deref(), Some(words));
    // What is over is over for repeats as well, and what was set aside stays.
    assert!(ask(&other, 1, 41, &before).await.is_some());
    database.books_balance().await;
}

/// One batch of many names, with a month's limit that spans days.
#[tokio::test]
async fn the_shared_month_holds_within_a_batch_and_across_days() {
    let database = migrated().await;
    let mut config = tenants(1_000);
    config.default.daily_micro_usd = None;
    config.default.monthly_micro_usd = Some(MicroUsd(50));
    let day_ms = 86_400_000;
    let batch: Vec<_> =
        (1..=6).map(|n| of(&format!("x{n}"), n).reservation(i64::from(n % 2) * day_ms, 1, 10)).collect();
    let granted = database.store.reserve(&batch, &config).await.unwrap();
    let granted: Vec<bool> = granted.iter().map(|grant| grant.granted).collect();
    assert_eq!(granted, [true, true, true, true, true, false]);
    let next = database.store.reserve(&[of("x7", 7).reservation(2 * day_ms, 1, 1)], &config).await.unwrap();
    let words = "monthly budget of all unlisted tenants together: $0.00005 of $0.00005 used, until 00:00 UTC on the first of next month; $0.000001 more does not fit";
    assert_eq!(next[0].refusal.as_deref(), Some(words));
}

/// The operator's `never` holds at the ledger too, for a router that has not heard of it yet.
#[tokio::test]
async fn a_no_that_a_router_has_not_heard_of_holds_at_the_ledger() {
    let database = migrated().await;
    let granted = database
        .store
        .reserve(&[Story::new(1).reservation(0, 1, 5)], &policy::defaults::tenants())
        .await
        .unwrap();
    let words = "tenant studio-a is not listed, and the default word is never";
    assert_eq!(granted[0].refusal.as_deref(), Some(words));
    assert_eq!(database.number("select count(*) from charges").await, 0);
}
