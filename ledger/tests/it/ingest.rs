//! What a batch of events leaves behind.

use schemas::{AttemptFacts, Charge, Event, Fact, Failure, FailureCode, JobId, JobState, MicroUsd, samples};

use crate::server::migrated;
use crate::story::{Story, T};

#[tokio::test]
async fn an_eventful_life_becomes_rows() {
    let database = migrated().await;
    let story = Story::new(1);
    let ingested = database.store.ingest(&story.eventful()).await.unwrap();
    assert_eq!((ingested.stored, ingested.repeated), (9, 0));

    let detail = database.reader.job_detail(story.job).await.unwrap().expect("it is known");
    assert_eq!(detail.summary.state, "completed");
    assert_eq!(detail.summary.backend.as_deref(), Some("local"));
    assert_eq!(detail.summary.posted_micro_usd, 5_700 + 7_220, "the late charge is what counts");
    assert_eq!(detail.summary.open_micro_usd, 0);
    assert_eq!(detail.summary.queue_ms, Some(90));
    assert_eq!(detail.summary.run_ms, Some(10));
    assert_eq!(detail.summary.total_ms, Some(305));
    let attempts: Vec<_> = detail
        .attempts
        .iter()
        .map(|a| (a.attempt, a.backend.as_str(), a.failure_code.as_deref(), a.disposition.as_deref()))
        .collect();
    assert_eq!(
        attempts,
        [
            (1, "cloud", Some("transient"), Some("failover")),
            (2, "gemini", Some("transient"), Some("reconcile")),
            (3, "local", None, None),
        ]
    );
    assert_eq!(detail.attempts[0].expected_micro_usd, Some(6_000));
    assert_eq!(detail.attempts[2].charge_state, None, "free work has no charge");
    assert_eq!(detail.events.len(), 9, "with every decision");
    database.books_balance().await;
}

/// Whatever tells why an attempt was placed, the rows are the same.
#[tokio::test]
async fn an_attempt_that_goes_without_its_event_has_its_decision_from_its_end() {
    let database = migrated().await;
    let [told, untold] = [1, 2].map(Story::new);
    let facts = AttemptFacts {
        assigned_at_ms: T + 10,
        provider_id: None,
        ..told.attempt(40, 1, "local", Charge::VOIDED)
    };
    let failure = Some(Failure::new(FailureCode::Transient, "it broke"));
    let failed = AttemptFacts { failure, ..facts.clone() };
    let second = AttemptFacts { attempt: 2, assigned_at_ms: T + 60, ..facts };
    let with_event = [
        told.assigned(10, 1, "local", 0),
        told.retrying(45, failed.clone(), "retry"),
        told.assigned(60, 2, "local", 0),
        told.ended(90, JobState::Completed, vec![failed.clone(), second.clone()]),
    ];
    // The end tells once more what the failure told.
    let failed = Story::untold(failed);
    let without = [
        untold.retrying(45, failed.clone(), "retry"),
        untold.assigned(60, 2, "local", 0),
        untold.ended(90, JobState::Completed, vec![failed, second]),
    ];
    database.store.ingest(&with_event).await.unwrap();
    database.store.ingest(&without).await.unwrap();
    let mut rows = Vec::new();
    for story in [&told, &untold] {
        let detail = database.reader.job_detail(story.job).await.unwrap().expect("it is known");
        let candidates: Vec<String> = sqlx::query_scalar(
            "select (to_jsonb(c) - 'job')::text from analytics.candidates c where job = $1 order by attempt, 1",
        )
        .bind(story.job.0)
        .fetch_all(&database.pool)
        .await
        .unwrap();
        let elsewhere: serde_json::Value = sqlx::query_scalar("select elsewhere from jobs where id = $1")
            .bind(story.job.0)
            .fetch_one(&database.pool)
            .await
            .unwrap();
        assert_eq!(candidates.len(), 6, "three for each attempt: {candidates:?}");
        assert_eq!(detail.attempts[0].reason.as_deref(), Some(samples::decision().reason.as_str()));
        rows.push((detail.attempts, candidates, elsewhere));
    }
    assert_eq!(rows[0], rows[1]);
}

#[tokio::test]
async fn repeating_a_batch_changes_nothing() {
    let database = migrated().await;
    let events = Story::new(1).eventful();
    database.store.ingest(&events).await.unwrap();
    let first = database.dump().await;
    for repeated in [&events[..], &events[3..5]] {
        let ingested = database.store.ingest(repeated).await.unwrap();
        assert_eq!((ingested.stored, ingested.repeated), (0, repeated.len()));
    }
    let twice: Vec<Event> = events.iter().chain(&events).cloned().collect();
    assert_eq!(database.store.ingest(&twice).await.unwrap().stored, 0);
    assert_eq!(database.dump().await, first);
}

#[tokio::test]
async fn the_same_event_twice_in_one_batch_is_one_row() {
    let database = migrated().await;
    let story = Story::new(1);
    let event = story.ended(50, JobState::Completed, vec![story.attempt(40, 1, "local", Charge::VOIDED)]);
    let ingested = database.store.ingest(&[event.clone(), event]).await.unwrap();
    assert_eq!((ingested.stored, ingested.repeated), (1, 1));
    assert_eq!(database.number("select count(*) from events").await, 1);
}

#[tokio::test]
async fn what_cannot_be_booked_is_named_and_the_rest_is_stored() {
    let database = migrated().await;
    let story = Story::new(1);
    let mut strange = story.running(20, 1, "local");
    strange.fact = Fact::Unknown;
    let negative = story.charged(30, story.attempt(25, 1, "cloud", Charge::posted(MicroUsd(-1))));
    let batch = [story.assigned(10, 1, "local", 0), strange, negative];
    let ingested = database.store.ingest(&batch).await.unwrap();
    assert_eq!(ingested.stored, 1);
    let refused: Vec<_> = ingested.refused.iter().map(|(index, failure)| (*index, failure.code)).collect();
    assert_eq!(refused, [(1, FailureCode::Unknown), (2, FailureCode::InvalidJob)]);
    assert_eq!(database.text("select state from jobs").await, "assigned");
}

#[tokio::test]
async fn odd_texts_and_times_do_not_stop_the_ledger() {
    let database = migrated().await;
    let story = Story::new(1);
    let mut event = story.assigned(10, 1, "local", 0);
    event.time_ms = i64::MIN;
    if let Fact::Assigned { facts, .. } = &mut event.fact {
        facts.labels.insert("nul\0name".to_owned(), "nul\0value".to_owned());
        facts.submitted_at_ms = i64::MAX;
    }
    let refused =
        Event::new(T, story.tenant.clone(), Story::new(2).job, 0, samples::events()[5].fact.clone());
    let ingested = database.store.ingest(&[event, refused]).await.unwrap();
    assert_eq!((ingested.stored, ingested.refused.len()), (2, 0));
    assert_eq!(database.number("select count(*) from jobs").await, 1, "a refused publish is no job");
    assert_eq!(database.text("select labels ->> 'nulname' from jobs").await, "nulvalue");
}

#[tokio::test]
async fn ids_of_any_kind_and_age_find_a_partition() {
    let database = migrated().await;
    let ids = ["ffffffff-0000-4000-8000-000000000001", "00000000-0000-7000-8000-000000000002"];
    for id in ids {
        let mut story = Story::new(1);
        story.job = id.parse().unwrap();
        database.store.ingest(&story.eventful()).await.unwrap();
    }
    assert_eq!(database.number("select count(*) from only jobs_default").await, 2);
    assert_eq!(database.number("select count(*) from attempts").await, 6);
    database.store.prepare_partitions().await.expect("rows in the default partition are not in its way");
}

#[tokio::test]
async fn rows_of_a_month_that_was_not_prepared_move_out_of_the_default_partition() {
    let database = migrated().await;
    // Half a year ahead, where no partition is yet: a client with a wrong clock.
    let ahead_ms = T + 183 * 86_400_000;
    for number in 0..3 {
        let mut story = Story::new(number);
        story.job = schemas::JobId::from_parts(ahead_ms, [number; 10]);
        database.store.ingest(&story.eventful()).await.unwrap();
    }
    let counts = "select (select count(*) from only jobs_default) + (select count(*) from only attempts_default) \
                  + (select count(*) from only events_default)";
    let in_default = database.number(counts).await;
    assert!(in_default > 3, "{in_default} rows");
    let before = database.dump().await;
    let prepared =
        "select prepare_partitions((select min(submitted_at) + interval '183 days' from jobs), 1)::bigint";
    assert_eq!(database.number(prepared).await, 3, "one partition for each table");
    assert_eq!(database.number(counts).await, 0);
    assert_eq!(database.dump().await, before, "the same rows");
    assert_eq!(database.number(prepared).await, 0, "they are there");
    // What comes later finds the month's own partition.
    let mut story = Story::new(9);
    story.job = schemas::JobId::from_parts(ahead_ms + 1, [9; 10]);
    database.store.ingest(&story.eventful()).await.unwrap();
    assert_eq!(database.number(counts).await, 0);
}

#[tokio::test]
async fn concurrent_ledgers_do_not_lose_each_others_news() {
    let database = migrated().await;
    let story = Story::new(1);
    let mut tasks = tokio::task::JoinSet::new();
    for event in story.eventful() {
        let store = database.store.clone();
        tasks.spawn(async move { store.ingest(&[event]).await.map(|ingested| ingested.stored) });
    }
    for stored in tasks.join_all().await {
        assert_eq!(stored.unwrap(), 1);
    }
    let together = database.dump().await;
    let other = migrated().await;
    other.store.ingest(&story.eventful()).await.unwrap();
    assert_eq!(together, other.dump().await);
}

/// Many new rows are copied in, few are inserted: the same rows, to the last bit of a deadline at the end of time.
#[tokio::test]
async fn many_at_once_leave_the_rows_that_few_leave() {
    let lives = (0..1_100).map(|number| {
        let events = Story { job: JobId::new(), ..Story::new(1) }.eventful();
        if number % 10 == 0 { events } else { vec![events[0].clone(), events[7].clone()] }
    });
    let events: Vec<Event> = lives.flatten().collect();
    let (many, few) = (migrated().await, migrated().await);
    assert_eq!(many.store.ingest(&events).await.unwrap().stored, events.len());
    for batch in events.chunks(150) {
        few.store.ingest(batch).await.unwrap();
    }
    assert_eq!(many.number("select count(*) from jobs where ended_at is not null").await, 1_100);
    let (many, few) = (many.dump().await, few.dump().await);
    assert!(many == few, "{} and {} bytes of rows differ", many.len(), few.len());
}

#[tokio::test]
async fn too_many_at_once_are_refused() {
    let database = migrated().await;
    let event = Story::new(1).assigned(1, 1, "local", 0);
    let error = database.store.ingest(&vec![event; ledger::INGEST_MAX + 1]).await.unwrap_err();
    assert_eq!(error.to_string(), "5001 items are more than the 5000 that one batch may have");
    assert!(error.is_about_data() && !error.is_passing());
}
