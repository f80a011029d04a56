//! Ends, and money that is told of before, with and after them.

use schemas::{Charge, ChargeState, JobState, MicroUsd};

use crate::server::{Database, migrated};
use crate::story::Story;

const CHARGE: &str = "select concat_ws(' ', state, coalesce(settled_by, '-'), reserved_micro_usd, \
    posted_micro_usd, open_micro_usd, voided_micro_usd, possibly_paid) from charges";

async fn nothing_open(database: &Database) {
    assert_eq!(database.number("select count(*) from analytics.open_reservations").await, 0);
    database.books_balance().await;
}

#[tokio::test]
async fn the_first_end_wins_by_time_whichever_comes_first() {
    let story = Story::new(1);
    let first = story.ended(50, JobState::Cancelled, Vec::new());
    let second = story.ended(60, JobState::Completed, vec![story.attempt(55, 1, "local", Charge::VOIDED)]);
    for order in [[&first, &second], [&second, &first]] {
        let database = migrated().await;
        for event in order {
            database.store.ingest(std::slice::from_ref(event)).await.unwrap();
        }
        assert_eq!(database.text("select state from jobs").await, "cancelled");
        assert_eq!(database.text("select failure_code from jobs").await, "cancelled");
        assert_eq!(database.text("select artifacts::text from jobs").await, "[]");
        let page = database.reader.audit_rows(None, 10).await.unwrap();
        assert_eq!(page.jobs[0].ends, 2, "the audit sees both");
    }
}

#[tokio::test]
async fn the_end_voids_what_is_pending_and_a_late_charge_posts_it() {
    let database = migrated().await;
    let story = Story::new(1);
    let tenants = crate::story::who_may_spend();
    let granted = database.store.reserve(&[story.reservation(5, 1, 500)], &tenants).await.unwrap();
    assert!(granted[0].granted, "{granted:?}");
    database.store.ingest(&[story.assigned(10, 1, "cloud", 500)]).await.unwrap();
    assert_eq!(database.text(CHARGE).await, "pending - 500 0 500 0 f");
    database.store.ingest(&[story.ended(20, JobState::Cancelled, Vec::new())]).await.unwrap();
    assert_eq!(database.text(CHARGE).await, "voided ended 500 0 0 500 f");
    nothing_open(&database).await;

    let late = story.charged(30, story.attempt(25, 1, "cloud", Charge::posted(MicroUsd(320))));
    database.store.ingest(&[late]).await.unwrap();
    assert_eq!(database.text(CHARGE).await, "posted charged 500 320 0 180 f");
    nothing_open(&database).await;
}

#[tokio::test]
async fn an_end_that_awaits_money_keeps_it_open() {
    let database = migrated().await;
    let story = Story::new(1);
    let awaited = Charge { state: ChargeState::Pending, ..Charge::posted(MicroUsd(500)) };
    database.store.ingest(&[story.assigned(10, 1, "cloud", 500)]).await.unwrap();
    let end = story.ended(20, JobState::Failed, vec![story.failed(15, 1, "cloud", awaited)]);
    database.store.ingest(&[end]).await.unwrap();
    assert_eq!(database.text(CHARGE).await, "pending - 500 0 500 0 f");
    let unpaid = story.charged(30, story.failed(15, 1, "cloud", Charge::VOIDED));
    database.store.ingest(&[unpaid]).await.unwrap();
    assert_eq!(database.text(CHARGE).await, "voided charged 500 0 0 500 f");
    nothing_open(&database).await;
}

#[tokio::test]
async fn possibly_paid_becomes_what_it_was() {
    let database = migrated().await;
    let story = Story::new(1);
    let maybe = story.failed(15, 1, "gemini", Charge::possibly_paid(MicroUsd(500)));
    database.store.ingest(&[story.ended(20, JobState::Failed, vec![maybe])]).await.unwrap();
    assert_eq!(database.text(CHARGE).await, "posted ended 0 500 0 0 t");
    let known = story.charged(30, story.failed(15, 1, "gemini", Charge::VOIDED));
    database.store.ingest(&[known]).await.unwrap();
    assert_eq!(database.text(CHARGE).await, "voided charged 0 0 0 0 f");
    nothing_open(&database).await;
}

#[tokio::test]
async fn an_attempt_placed_for_free_gives_its_reservation_back() {
    let database = migrated().await;
    let story = Story::new(1);
    let tenants = crate::story::who_may_spend();
    database.store.reserve(&[story.reservation(5, 1, 500)], &tenants).await.unwrap();
    database.store.ingest(&[story.assigned(10, 1, "local", 0)]).await.unwrap();
    assert_eq!(database.text(CHARGE).await, "voided assigned 500 0 0 500 f");
    nothing_open(&database).await;

    let again = database.store.reserve(&[story.reservation(15, 1, 600)], &tenants).await.unwrap();
    assert!(again[0].granted, "taken back and planned again for money: {again:?}");
    assert_eq!(database.text(CHARGE).await, "pending - 600 0 600 0 f");
    database.store.ingest(&[story.running(16, 1, "cloud")]).await.unwrap();
    assert_eq!(database.text(CHARGE).await, "pending - 600 0 600 0 f", "older news does not void it");
}

#[tokio::test]
async fn spending_beyond_the_reservation_is_booked_and_shown() {
    let database = migrated().await;
    let story = Story::new(1);
    database.store.ingest(&[story.assigned(10, 1, "cloud", 500)]).await.unwrap();
    let done = story.attempt(15, 1, "cloud", Charge::posted(MicroUsd(800)));
    database.store.ingest(&[story.ended(20, JobState::Completed, vec![done])]).await.unwrap();
    assert_eq!(database.text(CHARGE).await, "posted ended 500 800 0 0 f");
    assert_eq!(database.number("select overrun_micro_usd from analytics.conservation").await, 300);
    nothing_open(&database).await;
}
