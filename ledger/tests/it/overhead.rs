//! Charges without a job: posted from bills, held against the fleet's budget, shown beside the attempts.

use async_nats::jetstream::kv;
use ledger_read::Window;
use policy::overhead::BillUpdate;
use runtime::bills;
use schemas::bill::{EndpointBill, utc_day};
use schemas::{Charge, JobState, MicroUsd, TenantsConfig};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::loops::{broker, until};
use crate::server::migrated;
use crate::story::{Story, T, who_may_spend};

/// The day on which the stories end.
fn day() -> i32 {
    utc_day(T)
}

fn bill(endpoint: &str, worker: &str, billed: Option<i64>) -> EndpointBill {
    EndpointBill {
        workers: [worker.parse().expect("a name")].into(),
        billed_micro_usd: billed.map(MicroUsd),
        asked_at_ms: billed.map(|_| T),
        ..EndpointBill::new("cloud".parse().expect("a name"), endpoint.to_owned(), day(), false)
    }
}

fn fleet_budget(daily: i64) -> TenantsConfig {
    let mut tenants = who_may_spend();
    (tenants.default.daily_micro_usd, tenants.default.monthly_micro_usd) = (None, None);
    tenants.fleet_daily_micro_usd = Some(MicroUsd(daily));
    tenants
}

#[tokio::test]
async fn the_rest_of_the_bill_is_a_charge_without_a_job_whatever_comes_first_and_however_often() {
    let database = migrated().await;
    let store = &database.store;
    let of = async |column: &str| {
        let rows = database.reader.overhead(Window::default()).await.unwrap();
        match column {
            "amount_micro_usd" => rows[0].amount_micro_usd,
            "held_micro_usd" => rows[0].held_micro_usd,
            "attempts_micro_usd" => rows[0].attempts_micro_usd,
            _ => rows[0].billed_micro_usd.unwrap_or_default(),
        }
    };
    let state = async || database.text("select state from analytics.overhead").await;

    let estimate = EndpointBill {
        seen_micro_usd: MicroUsd(20),
        standby_micro_usd: MicroUsd(70),
        ..bill("e", "w", None)
    };
    store.post_bill(&estimate).await.unwrap();
    assert_eq!(
        (state().await.as_str(), of("amount_micro_usd").await, of("held_micro_usd").await),
        ("estimated", 20, 90)
    );

    store.post_bill(&bill("e", "w", Some(500))).await.unwrap();
    assert_eq!((state().await.as_str(), of("amount_micro_usd").await), ("posted", 500));
    let story = Story::new(1);
    let done = story.attempt(50, 1, "cloud", Charge::posted(MicroUsd(380)));
    store.ingest(&[story.ended(60, JobState::Completed, vec![done])]).await.unwrap();
    // The same answer again, and one that was on its way for long.
    for again in [Some(500), Some(400), None] {
        store.post_bill(&bill("e", "w", again)).await.unwrap();
        assert_eq!((of("billed_micro_usd").await, of("amount_micro_usd").await), (500, 120), "{again:?}");
    }
    // An attempt that is booked after its day's bill was told.
    let late = Story::new(2);
    let done = late.attempt(50, 1, "cloud", Charge::posted(MicroUsd(20)));
    store.ingest(&[late.ended(60, JobState::Completed, vec![done])]).await.unwrap();
    store.refresh_overhead(day()).await.unwrap();
    assert_eq!((of("attempts_micro_usd").await, of("amount_micro_usd").await), (400, 100));
    assert_eq!((state().await.as_str(), of("held_micro_usd").await), ("posted", 100));
    let total = "select bill_micro_usd from analytics.bill_by_day where backend = 'cloud'";
    assert_eq!(database.number(total).await, 500, "attempts and overhead are the bill");
    assert_eq!(database.reader.overhead(Window::default()).await.unwrap().len(), 1);
    database.books_balance().await;
}

#[tokio::test]
async fn attempts_are_on_the_bill_of_their_workers_endpoint() {
    let database = migrated().await;
    let worker = {
        let story = Story::new(1);
        let done = story.attempt(50, 1, "cloud", Charge::posted(MicroUsd(300)));
        let worker = done.worker.clone().expect("it ran").to_string();
        database.store.ingest(&[story.ended(60, JobState::Completed, vec![done])]).await.unwrap();
        worker
    };
    database.store.post_bill(&bill("mine", &worker, Some(350))).await.unwrap();
    database.store.post_bill(&bill("other", "w-of-another", Some(80))).await.unwrap();
    let amount = async |endpoint: &str| {
        let rows = database.reader.overhead(Window::default()).await.unwrap();
        rows.iter().find(|row| row.endpoint == endpoint).expect("posted").amount_micro_usd
    };
    assert_eq!(amount("mine").await, 50);
    assert_eq!(amount("other").await, 80);
    // What is only possible is no part of what is charged for certain, and of nobody else's bill.
    let story = Story::new(2);
    let unknown = story.attempt(50, 1, "cloud", Charge::possibly_paid(MicroUsd(30)));
    database.store.ingest(&[story.ended(60, JobState::Failed, vec![unknown])]).await.unwrap();
    database.store.refresh_overhead(0).await.unwrap();
    assert_eq!(amount("mine").await, 50);
}

#[tokio::test]
async fn the_fleets_budget_holds_overhead_before_paid_work_starts() {
    let database = migrated().await;
    let story = Story::new(1);
    let ask = async |number: u8, amount: i64| {
        let wanted = [Story::new(number).reservation(0, 1, amount)];
        database.store.reserve(&wanted, &fleet_budget(100)).await.unwrap().remove(0)
    };
    let today = utc_day(story.reservation(0, 1, 1).time_ms);
    let held = EndpointBill { standby_micro_usd: MicroUsd(60), day: today, ..bill("e", "w", None) };
    database.store.post_bill(&held).await.unwrap();
    let refusal = ask(1, 41).await.refusal.expect("60 of 100 are held");
    assert_eq!(
        refusal,
        "daily budget of the fleet: $0.00006 of $0.0001 used, until 00:00 UTC; $0.000041 more does not fit"
    );
    assert!(ask(1, 40).await.granted);
    // Of another day it holds nothing.
    let tomorrow = EndpointBill { standby_micro_usd: MicroUsd(90), day: today + 1, ..bill("e", "w", None) };
    database.store.post_bill(&tomorrow).await.unwrap();
    assert!(ask(1, 40).await.granted, "it replaces its own");
    // The bill is more than the estimate was.
    database.store.post_bill(&EndpointBill { day: today, ..bill("e", "w", Some(61)) }).await.unwrap();
    assert!(!ask(1, 40).await.granted);
    assert_eq!(
        database.number("select overhead_micro_usd from analytics.fleet_spending order by day limit 1").await,
        61
    );
}

/// The worker asks and is killed before it writes; another asks, and both write at once; the ledger is killed between.
#[tokio::test]
async fn a_bill_that_is_told_twice_or_by_many_or_never_by_the_one_who_asked_is_posted_once() {
    let (broker, database) = (broker().await, migrated().await);
    let store: kv::Store = bills::open(&broker.jetstream).await.unwrap();
    let empty = EndpointBill::new("cloud".parse().unwrap(), "e".to_owned(), day(), false);
    let told = |worker: &str, billed: i64| BillUpdate {
        worker: Some(worker.parse().expect("a name")),
        billed: Some((MicroUsd(billed), billed)),
        seen_micro_usd: MicroUsd(1),
        standby_micro_usd: MicroUsd(7),
        number: 0,
    };
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(ledger::overhead::run(broker.jetstream.clone(), database.store.clone(), stop.clone()));
    // The first asked at 100 and was killed: nothing of it is anywhere. Ten others ask later, and write at once.
    let mut writing = JoinSet::new();
    for number in 1..=10 {
        let (store, empty, news) = (store.clone(), empty.clone(), told(&format!("w{number}"), 100 + number));
        writing.spawn(async move { bills::publish(&store, &empty, &news).await.map(drop).unwrap() });
    }
    writing.join_all().await;
    let billed = "select coalesce(max(billed_micro_usd), 0) from overhead";
    until("the bill is posted", async || database.number(billed).await == 110).await;
    tasks.abort_all();
    // Told again while the ledger is away: by the one who is late, and by the one who knows most.
    bills::publish(&store, &empty, &told("w3", 103)).await.unwrap();
    bills::publish(&store, &empty, &told("w3", 120)).await.unwrap();
    bills::publish(&store, &empty, &told("w3", 120)).await.unwrap();
    tasks.spawn(ledger::overhead::run(broker.jetstream.clone(), database.store.clone(), stop.clone()));
    until("the bill is posted", async || database.number(billed).await == 120).await;
    assert_eq!(database.number("select count(*) from overhead").await, 1);
    assert_eq!(database.number("select cardinality(workers)::bigint from overhead").await, 10);
    until("the estimate adds up", async || {
        database.number("select seen_micro_usd from overhead").await == 13
    })
    .await;
    stop.cancel();
}

#[tokio::test]
async fn a_broker_of_an_earlier_release_gets_the_bucket() {
    let broker = broker().await;
    broker.jetstream.delete_key_value(schemas::topology::bucket::BILLS).await.unwrap();
    bills::open(&broker.jetstream).await.expect("it is made");
    bills::open(&broker.jetstream).await.expect("and found");
}
