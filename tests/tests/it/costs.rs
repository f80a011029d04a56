//! `argosy costs` over made-up jobs: what it prints is what they come to, in every form.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use anyhow::{Context as _, ensure};
use ledger::Store;
use schemas::{
    AttemptFacts, Backend, Charge, Event, Fact, Failure, FailureCode, JobFacts, JobId, JobState, Lane,
    MicroUsd, samples,
};
use serde_json::Value;
use servers::{Found, Postgres, PostgresOptions};

/// The beginning of 2026-11-23, UTC.
const MIDNIGHT_MS: i64 = samples::TIME_MS.div_euclid(86_400_000) * 86_400_000;
const HOUR_MS: i64 = 3_600_000;

/// A job: hours after [`MIDNIGHT_MS`] at which it ended, its lane, its label, and for each attempt backend, model and cost.
struct Told {
    hour: i64,
    lane: Lane,
    project: &'static str,
    state: JobState,
    attempts: &'static [(&'static str, &'static str, i64)],
}

const JOBS: [Told; 6] = {
    use JobState::{Cancelled, Completed, Expired, Failed};
    let free: &[(&str, &str, i64)] = &[("local", "sdxl", 0)];
    [
        Told { hour: 1, lane: Lane::Interactive, project: "plain", state: Completed, attempts: free },
        Told { hour: 13, lane: Lane::Batch, project: "a \"b\", c", state: Completed, attempts: free },
        Told {
            hour: 13,
            lane: Lane::Standard,
            project: "plain",
            state: Completed,
            attempts: &[("local", "sdxl", 0), ("cloud", "flux", 5_700)],
        },
        Told {
            hour: 25,
            lane: Lane::Interactive,
            project: "two\nlines",
            state: Failed,
            attempts: &[("cloud", "flux", 1_300), ("gemini", "imagen", 67_000)],
        },
        Told { hour: 26, lane: Lane::Batch, project: "plain", state: Cancelled, attempts: &[] },
        Told { hour: 40, lane: Lane::Batch, project: "plain", state: Expired, attempts: &[] },
    ]
};

fn ended(number: u8, told: &Told) -> Event {
    let ended_ms = MIDNIGHT_MS + told.hour * HOUR_MS;
    let job = JobId::from_parts(ended_ms - 1_000, [number; 10]);
    let mut facts = JobFacts::of(&samples::job(), None, ended_ms - 1_000);
    facts.lane = told.lane;
    facts.labels = BTreeMap::from([("project".to_owned(), told.project.to_owned())]);
    let is_made = told.state == JobState::Completed;
    let attempts = told.attempts.iter().enumerate().map(|(at, (backend, model, cost))| {
        let is_last = at + 1 == told.attempts.len();
        AttemptFacts {
            attempt: u32::try_from(at + 1).expect("few"),
            backend: backend.parse::<Backend>().expect("a name"),
            model: (*model).to_owned(),
            assigned_at_ms: ended_ms - 900,
            started_at_ms: Some(ended_ms - 800),
            finished_at_ms: ended_ms - 10,
            charge: if *cost == 0 { Charge::VOIDED } else { Charge::posted(MicroUsd(*cost)) },
            failure: (!is_made || !is_last).then(|| Failure::new(FailureCode::Transient, "it broke")),
            ..samples::attempt_facts()
        }
    });
    let attempts: Vec<AttemptFacts> = attempts.collect();
    let last = attempts.last().map_or(0, |facts| facts.attempt);
    let failure = (!is_made).then(|| Failure::new(FailureCode::Cancelled, "it did not go on"));
    let fact =
        Fact::Ended { facts, state: told.state, artifacts: Vec::new(), manifest: None, failure, attempts };
    Event::new(ended_ms, samples::job().tenant, job, last, fact)
}

/// A database with the jobs.
struct Books {
    url: String,
    dir: tempfile::TempDir,
    _postgres: Postgres,
}

impl Books {
    async fn start() -> anyhow::Result<Self> {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the repository")?;
        let found = Found::load(repository).context("run ops/scripts/obtain")?;
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        // Postgres reads it under another account.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))?;
        let postgres = Postgres::start(&found, PostgresOptions::for_test(dir.path().join("pg"))).await?;
        postgres.create_database("books").await?;
        let url = postgres.url("books");
        let store = Store::connect(&url, 2).await?;
        store.migrate().await?;
        let events: Vec<Event> = (1_u8..).zip(&JOBS).map(|(number, told)| ended(number, told)).collect();
        let ingested = store.ingest(&events).await?;
        ensure!(ingested.refused.is_empty(), "{:?}", ingested.refused);
        Ok(Self { url, dir, _postgres: postgres })
    }

    async fn argosy(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let options = stack::StackOptions::simulated(self.dir.path(), self.dir.path())?;
        let mut command = tokio::process::Command::new(options.bin_dir.join("argosy"));
        command.args(arguments).env("ARGOSY_LEDGER__DATABASE_URL", &self.url).current_dir(self.dir.path());
        Ok(command.output().await?)
    }

    async fn said(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.argosy(arguments).await?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// RFC 4180, read by the letter: records of fields.
fn parsed(text: &str) -> anyhow::Result<Vec<Vec<String>>> {
    let (mut records, mut record, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut chars, mut is_quoted) = (text.chars().peekable(), false);
    while let Some(c) = chars.next() {
        match (c, is_quoted) {
            ('"', true) if chars.peek() == Some(&'"') => field.extend(chars.next()),
            ('"', true) => is_quoted = false,
            ('"', false) if field.is_empty() => is_quoted = true,
            (',', false) => record.push(std::mem::take(&mut field)),
            ('\r', false) => {
                ensure!(chars.next() == Some('\n'), "a line ends with CRLF");
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            ('\n' | '"', false) => anyhow::bail!("{c:?} outside of quotes"),
            _ => field.push(c),
        }
    }
    ensure!(!is_quoted && field.is_empty() && record.is_empty(), "the last line has an end");
    Ok(records)
}

/// Columns of a CSV by name, for each row.
fn columns(records: &[Vec<String>], names: &[&str]) -> anyhow::Result<Vec<Vec<String>>> {
    let head = records.first().context("a header")?;
    ensure!(records.iter().all(|record| record.len() == head.len()), "all lines are as long: {records:?}");
    let places: Option<Vec<usize>> =
        names.iter().map(|name| head.iter().position(|column| column == name)).collect();
    let places = places.with_context(|| format!("{names:?} are in {head:?}"))?;
    Ok(records[1..].iter().map(|record| places.iter().map(|at| record[*at].clone()).collect()).collect())
}

const FIGURES: [&str; 5] = ["jobs", "free_jobs", "attempts", "charges", "posted_usd"];

#[tokio::test(flavor = "multi_thread")]
async fn costs_of_a_window_are_what_its_jobs_come_to() -> anyhow::Result<()> {
    let books = Books::start().await?;
    let by = |dimensions: &'static str| ["costs", "--csv", "--by", dimensions];
    let rows = async |arguments: &[&str], keys: &[&str]| {
        let names: Vec<&str> = keys.iter().copied().chain(FIGURES).collect();
        let rows = columns(&parsed(&books.said(arguments).await?)?, &names)?;
        anyhow::Ok(rows.into_iter().map(|row| row.join("|")).collect::<Vec<_>>())
    };
    // Everything, by backend: free jobs are jobs, and those that never had an attempt are at no backend.
    let found = rows(&by("backend"), &["backend"]).await?;
    ensure!(
        found
            == [
                "|2|2|0|0|0.000000",
                "cloud|1|0|2|2|0.007000",
                "gemini|1|0|1|1|0.067000",
                "local|2|2|3|0|0.000000"
            ],
        "{found:?}"
    );
    let found = rows(&by("day,lane"), &["day_utc", "lane"]).await?;
    ensure!(
        found
            == [
                "2026-11-23|batch|1|1|1|0|0.000000",
                "2026-11-23|interactive|1|1|1|0|0.000000",
                "2026-11-23|standard|1|0|2|1|0.005700",
                "2026-11-24|batch|2|2|0|0|0.000000",
                "2026-11-24|interactive|1|0|2|2|0.068300",
            ],
        "{found:?}"
    );
    let found = rows(&by("label:project"), &["label:project"]).await?;
    ensure!(
        found == ["a \"b\", c|1|1|1|0|0.000000", "plain|4|3|3|1|0.005700", "two\nlines|1|0|2|2|0.068300"],
        "{found:?}"
    );
    // From noon in Berlin on: 11:00 UTC, and a part of the next day.
    let window = ["--from", "2026-11-23T12:00:00+01:00", "--to", "2026-11-24T01:30:00Z"];
    let found = rows(&[&by("hour,model")[..], &window].concat(), &["hour_utc", "model"]).await?;
    ensure!(
        found
            == [
                "2026-11-23T12:00Z|flux|0|0|1|1|0.005700",
                "2026-11-23T12:00Z|sdxl|0|0|2|0|0.000000",
                "2026-11-23T13:00Z|flux|1|0|0|0|0.000000",
                "2026-11-23T13:00Z|sdxl|1|1|0|0|0.000000",
                "2026-11-24T00:00Z|flux|0|0|1|1|0.001300",
                "2026-11-24T00:00Z|imagen|0|0|1|1|0.067000",
                "2026-11-24T01:00Z|imagen|1|0|0|0|0.000000",
            ],
        "{found:?}"
    );
    // Nothing: the header stays.
    let empty = books.said(&["costs", "--csv", "--from", "2026-11-26"]).await?;
    ensure!(
        parsed(&empty)?.len() == 1 && empty.starts_with("backend,jobs,completed_jobs,free_jobs"),
        "{empty}"
    );

    let json: Value = serde_json::from_str(
        &books
            .said(&["costs", "--json", "--by", "tenant", "--from", "2026-11-23", "--to", "2026-11-24"])
            .await?,
    )?;
    ensure!(json["window"]["from_utc"] == "2026-11-23T00:00:00Z", "{json}");
    let row = &json["costs"][0];
    ensure!((&row["tenant"], &row["jobs"]) == (&"studio-a".into(), &3.into()), "{json}");
    ensure!((&row["posted_micro_usd"], &row["posted_usd"]) == (&5_700.into(), &"0.005700".into()), "{json}");

    let text = books.said(&["costs", "--from", "2026-11-23", "--to", "2026-11-24"]).await?;
    ensure!(
        text.starts_with("from 2026-11-23 00:00:00 UTC until before 2026-11-24 00:00:00 UTC\n"),
        "{text}"
    );
    let total = text.lines().find(|line| line.starts_with("total")).context("a total")?;
    ensure!(
        total.split_whitespace().collect::<Vec<_>>()[1..6] == ["3", "2", "4", "1", "$0.005700"],
        "{text}"
    );

    for (arguments, named) in [
        (&["costs", "--from", "yesterday"][..], &["--from", "2026-11-01T13:00:00Z"][..]),
        (&["costs", "--to", "2026-11-23T13:00:00"], &["--to", "add Z for UTC"]),
        (&["costs", "--from", "2026-11-24", "--to", "2026-11-23"], &["--from", "--to", "give a later one"]),
        (&["costs", "--since", "7d", "--from", "2026-11-24"], &["--since", "--from"]),
        (&["costs", "--csv", "--json"], &["--csv", "--json", "give one of them"]),
        (&["costs", "--by", "weekday"], &["--by", "use day, hour"]),
        (&["costs", "--by", "day,day"], &["--by", "name it once"]),
        (&["costs", "--by", "label:project,day"], &["--by", "stands alone"]),
        (&["jobs", "--from", "2026-02-30"], &["--from", "2026-02-30", "write a date"]),
    ] {
        let output = books.argosy(arguments).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(2), "{arguments:?}: {:?}: {said}", output.status);
        ensure!(named.iter().all(|name| said.contains(name)), "{arguments:?}: {said}");
    }
    Ok(())
}
