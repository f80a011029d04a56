//! The ledger's database alone: events committed a second from ready-made events, and the analysts' views over books
//! that the server makes up itself.

use super::BenchOptions;
use super::cpu::{Watched, between};
use super::report::Row;
use crate::audience::Audience;
use crate::made_up::{MadeUp, roll_up_all, view_queries};
use anyhow::{Context as _, ensure};
use ledger::Store;
use runtime::clock::now_ms;
use schemas::{Charge, Event, Fact, JobFacts, JobId, JobState, MicroUsd, Tenant, samples};
use servers::{Found, Postgres, PostgresOptions};
use std::path::PathBuf;
use std::time::Instant;

/// Events of one batch, as many as the ledger takes from the stream at once.
const BATCH: usize = 1_000;
/// Of so many jobs, one was made for money.
const ONE_PAID_IN: usize = 5;
/// Connections of the benchmark to the database.
const CONNECTIONS: u32 = 4;
/// The day that is looked at lies so long ago.
const LOOKED_AT_MS: i64 = 20 * 86_400_000;
/// Reads of each view at least: the first finds nothing in memory.
const READS: usize = 3;

/// Measures.
pub(super) async fn rows(options: &BenchOptions, audience: &mut impl Audience) -> anyhow::Result<Vec<Row>> {
    let (mut rate, mut cpu) = (Vec::new(), Vec::new());
    for run in 0..options.scale.runs {
        let told = tell(options).await?;
        audience.line(&format!(
            "  run {}: {:.0} events/s, {:.1} us of the database each",
            run + 1,
            told.per_second,
            told.postgres_us
        ));
        rate.push(told.per_second);
        cpu.push(told.postgres_us);
    }
    let mut rows: Vec<Row> = Row::of("ledger.events_per_second", "events/s", &rate).into_iter().collect();
    rows.extend(Row::of("ledger.cpu.postgres", "us/event", &cpu));
    rows.append(&mut views(options, audience).await?);
    Ok(rows)
}

struct Books {
    postgres: Postgres,
    url: String,
    store: Store,
}

/// A database of its own with our tables.
async fn open(options: &BenchOptions, name: &str, safe: bool) -> anyhow::Result<Books> {
    let dir: PathBuf = options.dir.join(name);
    let postgres = PostgresOptions { ephemeral: true, fsync: safe, ..PostgresOptions::new(&dir) };
    let postgres = Postgres::start(&Found::load(&options.root)?, postgres).await?;
    postgres.create_database("bench").await?;
    let url = postgres.url("bench");
    let migrating = Store::connect(&url, CONNECTIONS).await?;
    migrating.migrate().await?;
    // What the migrations set for the database holds for connections made after them.
    migrating.close().await;
    let store = Store::connect(&url, CONNECTIONS).await?;
    Ok(Books { postgres, url, store })
}

impl Books {
    async fn close(self) -> anyhow::Result<()> {
        self.store.close().await;
        tokio::task::spawn_blocking(move || drop(self.postgres)).await?;
        Ok(())
    }
}

struct Told {
    per_second: f64,
    postgres_us: f64,
}

/// Stores two events for each job, batch by batch, with safe writes.
async fn tell(options: &BenchOptions) -> anyhow::Result<Told> {
    let books = open(options, "events", true).await?;
    let batches = lives(options.scale.jobs)?;
    let mut watched = Watched::default();
    watched.add("postgres", books.postgres.pid());
    let (before, started) = (watched.used()?, Instant::now());
    let mut stored = 0;
    for batch in &batches {
        stored += books.store.ingest(batch).await?.stored;
    }
    let wall = started.elapsed();
    let used = between(&before, &watched.used()?);
    ensure!(stored == options.scale.jobs * 2, "{stored} events of {} jobs are stored", options.scale.jobs);
    let postgres_us = used.get("postgres").copied().context("no database")? as f64;
    books.close().await?;
    Ok(Told { per_second: stored as f64 / wall.as_secs_f64(), postgres_us: postgres_us / stored as f64 })
}

/// The events of so many jobs: each is placed in one batch and ends in a later one, as in a fleet at work.
fn lives(jobs: usize) -> anyhow::Result<Vec<Vec<Event>>> {
    let half = BATCH / 2;
    let placed_and_ended: Vec<(Event, Event)> = (0..jobs).map(life).collect::<anyhow::Result<_>>()?;
    let (placed, ended): (Vec<Event>, Vec<Event>) = placed_and_ended.into_iter().unzip();
    let mut batches: Vec<Vec<Event>> = placed.chunks(half).map(<[Event]>::to_vec).collect();
    for (nth, ends) in ended.chunks(half).enumerate() {
        match batches.get_mut(nth + 1) {
            Some(batch) => batch.extend_from_slice(ends),
            None => batches.push(ends.to_vec()),
        }
    }
    Ok(batches)
}

fn life(nth: usize) -> anyhow::Result<(Event, Event)> {
    let (job, tenant, now) = (JobId::new(), Tenant::new("bench")?, now_ms());
    let is_paid = nth.is_multiple_of(ONE_PAID_IN);
    let mut decision = samples::decision();
    let backend = if is_paid { "cloud" } else { "local" }.parse()?;
    decision.choice = Some(backend);
    let backend = decision.choice.clone().context("just set")?;
    let facts = JobFacts::of(&samples::job(), decision.class.clone().into(), now);
    let mut attempt = samples::attempt_facts();
    attempt.attempt = 1;
    attempt.backend = backend.clone();
    (attempt.assigned_at_ms, attempt.started_at_ms, attempt.finished_at_ms) = (now, Some(now + 5), now + 15);
    attempt.failure = None;
    attempt.charge = if is_paid { Charge::posted(MicroUsd(5_700)) } else { Charge::VOIDED };
    let placed = Fact::Assigned {
        facts: facts.clone(),
        backend,
        class: decision.class.clone(),
        capability: None,
        model: "sdxl".to_owned(),
        reserved_micro_usd: MicroUsd(if is_paid { 22_800 } else { 0 }),
        decision,
    };
    let artifacts = vec![samples::artifact()];
    let state = JobState::Completed;
    let ended =
        Fact::Ended { facts, state, artifacts, manifest: None, failure: None, attempts: vec![attempt] };
    Ok((Event::new(now, tenant.clone(), job, 1, placed), Event::new(now + 20, tenant, job, 1, ended)))
}

/// Fills a database, has it summed as the ledger does, and reads every view.
async fn views(options: &BenchOptions, audience: &mut impl Audience) -> anyhow::Result<Vec<Row>> {
    let books = open(options, "views", false).await?;
    let (store, until_ms) = (&books.store, now_ms());
    let started = Instant::now();
    let made_up = MadeUp::connect(&books.url).await?;
    let seeds = made_up.fill(store, options.scale.attempts, until_ms).await?;
    roll_up_all(store).await?;
    audience.line(&format!(
        "  {} attempts made up and summed in {} s",
        options.scale.attempts,
        started.elapsed().as_secs()
    ));
    let sums_us = seeds.summed_in.as_secs_f64() * 1e6 / seeds.attempts as f64;
    let mut rows: Vec<Row> = Row::of("ledger.sums", "us/attempt", &[sums_us]).into_iter().collect();
    let day = made_up.day(until_ms - LOOKED_AT_MS).await?;
    for (view, sql) in view_queries(&day) {
        let (mut runs, mut count) = (Vec::new(), 0);
        for _ in 0..options.scale.runs.max(READS) {
            let started = Instant::now();
            count = made_up.read_rows(&sql).await.with_context(|| format!("view {view}"))?;
            runs.push(started.elapsed().as_secs_f64() * 1e3);
        }
        audience.line(&format!("  {view}: {count} rows"));
        rows.extend(Row::of(&format!("ledger.view.{view}"), "ms", &runs));
    }
    made_up.close().await;
    books.close().await?;
    Ok(rows)
}
