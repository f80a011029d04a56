//! Replay and reorder change nothing: whatever order, whatever batches, however often.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use schemas::{Charge, Event, JobState, MicroUsd};

use crate::server::{Database, migrated};
use crate::story::Story;

async fn wipe(database: &Database) {
    sqlx::query("truncate events, jobs, attempts, charges, budget_use")
        .execute(&database.pool)
        .await
        .unwrap();
}

async fn tell(database: &Database, batches: &[Vec<Event>]) -> String {
    wipe(database).await;
    for batch in batches {
        database.store.ingest(batch).await.unwrap();
    }
    database.books_balance().await;
    database.dump().await
}

fn permutations(events: &[Event]) -> Vec<Vec<Event>> {
    if events.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (index, event) in events.iter().enumerate() {
        let rest: Vec<Event> = [&events[..index], &events[index + 1..]].concat();
        for mut tail in permutations(&rest) {
            tail.push(event.clone());
            all.push(tail);
        }
    }
    all
}

/// One event at a time, in each of the 120 orders of a life in which money is told of four times.
#[tokio::test]
async fn every_order_of_a_life_gives_the_same_rows() {
    let database = migrated().await;
    let story = Story::new(1);
    let all = story.eventful();
    // A second end, which a broker would have refused, must lose in every order too.
    let second_end = story.ended(310, JobState::Cancelled, Vec::new());
    let events = [&all[3], &all[4], &all[7], &all[8], &second_end].map(Clone::clone);
    let expected = tell(&database, &[events.to_vec()]).await;
    for order in permutations(&events) {
        let batches: Vec<Vec<Event>> = order.iter().map(|event| vec![event.clone()]).collect();
        let told = tell(&database, &batches).await;
        assert_eq!(told, expected, "{:?}", order.iter().map(|event| &event.id).collect::<Vec<_>>());
    }
}

/// Several jobs mixed, some events repeated, in random order and random batches.
#[test]
fn random_batches_give_the_same_rows() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = runtime.block_on(migrated());
    let mut events = Vec::new();
    for number in 1..=3 {
        events.extend(Story::new(number).eventful());
    }
    let cancelled = Story::new(4);
    events.push(cancelled.assigned(10, 1, "cloud", 500));
    events.push(cancelled.ended(20, JobState::Cancelled, Vec::new()));
    events.push(cancelled.charged(30, cancelled.attempt(25, 1, "cloud", Charge::posted(MicroUsd(320)))));
    events.push(Story::new(3).ended(310, JobState::Cancelled, Vec::new()));
    let expected = runtime.block_on(tell(&database, &[events.clone()]));
    let repeated: Vec<Event> = events.iter().chain(&events).cloned().collect();
    let orders = (Just(repeated).prop_shuffle(), 1_usize..20);
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    runner
        .run(&orders, |(order, size)| {
            let batches: Vec<Vec<Event>> = order.chunks(size).map(<[Event]>::to_vec).collect();
            let told = runtime.block_on(tell(&database, &batches));
            prop_assert_eq!(told, expected.clone());
            Ok(())
        })
        .unwrap();
    runtime.block_on(async move { drop(database) });
}
