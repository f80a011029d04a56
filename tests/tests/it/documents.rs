//! Documents that would spend money, and that nobody checked before they were stored: readers check them, and do not
//! believe a word that removes a guard.

use anyhow::{Context as _, ensure};
use client::documents;
use client::follow::{Since, events};
use futures::StreamExt as _;
use ledger_read::AuditAttempt;
use policy::defaults;
use schemas::{
    Assignment, ChargeState, Fact, FailureCode, Job, JobId, JobState, MicroUsd, TenantsConfig, codec,
    subjects,
};
use serde_json::{Value, json};
use std::process::Output;
use tests::fleet::{LIMIT, TestFleet, look_until};
use tests::jobs::{paid_prompt, prompt};

/// Stores a document past every check, as any client of the broker can; its revision.
async fn store(fleet: &TestFleet, key: &str, text: String) -> anyhow::Result<u64> {
    let bucket = documents::open(&fleet.stack.broker.jetstream).await?;
    Ok(bucket.put(key, text.into()).await?)
}

fn changed(shipped: &str, change: impl FnOnce(&mut Value)) -> anyhow::Result<String> {
    let mut document: Value = serde_json::from_str(shipped)?;
    change(&mut document);
    Ok(document.to_string())
}

/// The shipped prices, where a unit costs another price from now on.
fn dearer_from_now(backend: &str, model: &str, unit: &str, price: u64) -> anyhow::Result<String> {
    let now_ms = runtime::clock::now_ms();
    changed(defaults::PRICES_JSON, |document| {
        let prices = document["prices"].as_array_mut().expect("a list");
        let is_it = |row: &Value| row["backend"] == backend && row["model"] == model && row["unit"] == unit;
        let row = prices.iter_mut().find(|row| is_it(row)).expect("shipped");
        row["valid_until_ms"] = json!(now_ms);
        let mut new = row.clone();
        new.as_object_mut().expect("a price").remove("valid_until_ms");
        (new["valid_from_ms"], new["micro_usd_per_million"]) = (json!(now_ms), json!(price));
        prices.push(new);
    })
}

async fn argosy(fleet: &TestFleet, arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = fleet.argosy(arguments);
    Ok(command.env("ARGOSY_NATS_MONITOR", fleet.stack.nats.monitor_url()).output().await?)
}

/// What doctor says of the documents: verdict and words of each finding.
async fn doctor(fleet: &TestFleet) -> anyhow::Result<Vec<(String, String)>> {
    let output = argosy(fleet, &["--json", "doctor"]).await?;
    let told: Value = serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?;
    let findings = told["findings"].as_array().into_iter().flatten();
    let of_documents = findings.filter(|finding| finding["check"] == "documents");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(of_documents.map(|finding| (text(&finding["verdict"]), text(&finding["seen"]))).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_cannot_be_used_is_refused_by_every_reader() -> anyhow::Result<()> {
    let mut fleet = TestFleet::start(|options| {
        options.comfyui.truncate(1);
        (options.runpod, options.gemini) = (None, None);
    })
    .await?;
    ensure!(matches!(&doctor(&fleet).await?[..], [(verdict, _)] if verdict == "good"));
    let endless = changed(defaults::POLICY_JSON, |policy| policy["max_attempts"] = json!(0))?;
    let refused = store(&fleet, "policy", endless).await?;
    store(&fleet, "tenants", "{\"default\": 7}".to_owned()).await?;
    // Those that run go on with what they had; those that start again find the newest that is good.
    for name in ["router-1", "ledger", "worker-local-1"] {
        let member = fleet.stack.member(name)?;
        member.kill9()?;
        member.restart()?;
        member.ready(LIMIT).await?;
        let (path, wanted) = (member.log_path().to_owned(), "configuration refused");
        look_until(&format!("{name} says `{wanted}`"), async || {
            let says = std::fs::read_to_string(&path).is_ok_and(|log| log.contains(wanted));
            Ok(says.then_some(()))
        })
        .await?;
    }
    fleet.stack.wait_workers(1, LIMIT).await?;
    let jobs: Vec<Job> = (0..4).map(|n| prompt(&format!("as before {n}"))).collect();
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    fleet.stack.submit(&jobs).await?;
    let tracker = fleet.stack.wait_ended(&ids, LIMIT).await?;
    ensure!(tracker.jobs().values().all(|view| view.state == JobState::Completed), "{tracker:?}");
    let found = doctor(&fleet).await?;
    ensure!(found.len() == 2 && found.iter().all(|(verdict, _)| verdict == "bad"), "{found:?}");
    let words = &found[0].1;
    for word in ["document policy", "max_attempts", &format!("revision {refused} "), "in its stead"] {
        ensure!(words.contains(word), "`{word}` is missing in `{words}`");
    }
    // Mended, all is good again.
    documents::set(&fleet.stack.broker.jetstream, "policy", defaults::POLICY_JSON.as_bytes()).await?;
    documents::set(&fleet.stack.broker.jetstream, "tenants", defaults::TENANTS_JSON.as_bytes()).await?;
    ensure!(matches!(&doctor(&fleet).await?[..], [(verdict, _)] if verdict == "good"));
    // Where no revision is good, a process does not start.
    let bucket = documents::open(&fleet.stack.broker.jetstream).await?;
    bucket.purge("prices").await?;
    let below =
        changed(defaults::PRICES_JSON, |prices| prices["prices"][0]["micro_usd_per_million"] = json!(-1))?;
    store(&fleet, "prices", below).await?;
    for name in ["router", "worker-local"] {
        let mut command = tokio::process::Command::new(fleet.stack.options().bin_dir.join(name));
        let output = command.env("ARGOSY_NATS__URL", fleet.stack.nats_url()).output().await?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(78), "{name}: {output:?}");
        ensure!(said.contains("prices[0]") && said.contains("argosy config set prices"), "{name}: {said}");
    }
    Ok(())
}

/// Whether a command's answer as JSON has these words, by now or within moments.
async fn says(fleet: &TestFleet, arguments: &[&str], words: &str) -> anyhow::Result<()> {
    look_until(&format!("{arguments:?} says `{words}`"), async || {
        let output = argosy(fleet, arguments).await?;
        Ok(String::from_utf8_lossy(&output.stdout).contains(words).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_document_cannot_be_read_nothing_new_is_paid() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        options.comfyui.truncate(1);
        options.gemini = None;
        options.simulator_args.push(("runpod".to_owned(), "--image-median-ms=6000".to_owned()));
    })
    .await?;
    let under_way = paid_prompt("under way", "cloud");
    fleet.stack.submit(std::slice::from_ref(&under_way)).await?;
    let mut facts = Box::pin(events(&fleet.stack.broker.jetstream, &[under_way.id], Since::Ever).await?);
    let runs = async {
        while !matches!(facts.next().await.context("stream EVENTS ended")??.fact, Fact::Running { .. }) {}
        anyhow::Ok(())
    };
    tokio::time::timeout(LIMIT, runs).await??;
    drop(facts);
    store(&fleet, "tenants", "{\"default\": 7}".to_owned()).await?;
    says(&fleet, &["--json", "backends"], "document tenants cannot be read by this worker").await?;
    let (waiting, free) = (paid_prompt("has to wait", "cloud"), prompt("costs nothing"));
    fleet.stack.submit(&[waiting.clone(), free.clone()]).await?;
    let id = waiting.id.to_string();
    says(&fleet, &["--json", "explain", &id], "document tenants cannot be read by this router").await?;
    // What runs goes on, and so does what is free.
    let tracker = fleet.stack.wait_ended(&[under_way.id, free.id], LIMIT).await?;
    ensure!(tracker.jobs().values().all(|view| view.state == JobState::Completed), "{tracker:?}");
    let rows = fleet.stack.reader().await?.audit_rows(None, 1_000).await?;
    ensure!(!rows.attempts.iter().any(|attempt| attempt.job == waiting.id), "{:?}", rows.attempts);
    ensure!(doctor(&fleet).await?.iter().any(|(_, words)| words.contains("nothing new is paid")));
    // Mended, it goes on by itself.
    documents::set(&fleet.stack.broker.jetstream, "tenants", &readable(&fleet).await?).await?;
    let tracker = fleet.stack.wait_ended(&[waiting.id], LIMIT).await?;
    ensure!(tracker.jobs()[&waiting.id].state == JobState::Completed, "{tracker:?}");
    let audit = fleet.stack.audit(&[under_way.id, waiting.id, free.id], LIMIT).await?;
    ensure!(audit.holds(), "{:#?}", audit.findings);
    Ok(())
}

/// The newest revision of document `tenants` that can be read, as its bytes.
async fn readable(fleet: &TestFleet) -> anyhow::Result<Vec<u8>> {
    let bucket = documents::open(&fleet.stack.broker.jetstream).await?;
    let newest = runtime::fleet_config::newest_good::<TenantsConfig>(&bucket).await?;
    Ok(serde_json::to_vec(&newest.context("none can be read")?.1)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_word_of_a_document_makes_a_provider_free() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| options.comfyui.truncate(1)).await?;
    let free = changed(defaults::POLICY_JSON, |policy| {
        policy["backends"]
            .as_array_mut()
            .expect("a list")
            .iter_mut()
            .for_each(|one| one["paid"] = json!(false));
    })?;
    let set = documents::set(&fleet.stack.broker.jetstream, "policy", free.as_bytes()).await;
    ensure!(format!("{:#}", set.expect_err("refused")).contains("backends[1].paid"));
    store(&fleet, "policy", free).await?;
    let found = doctor(&fleet).await?;
    ensure!(
        found.iter().any(|(verdict, words)| verdict == "warning" && words.contains("backends[1].paid")),
        "{found:?}"
    );
    let paid: Vec<Job> =
        ["cloud", "gemini"].iter().map(|backend| paid_prompt("for money", backend)).collect();
    let mut unasked = paid_prompt("for nothing", "cloud");
    unasked.constraints.allow_paid = Some(false);
    // Placed for free by somebody who believed the word: its worker does not start it.
    let mut forged = paid_prompt("placed for nothing", "cloud");
    forged.constraints.deadline_ms = Some(runtime::clock::now_ms() + 600_000);
    let catalog = defaults::catalog();
    let service =
        catalog.services.iter().find(|service| service.backend.as_str() == "cloud").context("shipped")?;
    let assignment = Assignment {
        schema_version: schemas::SCHEMA_VERSION,
        time_ms: runtime::clock::now_ms(),
        submitted_at_ms: runtime::clock::now_ms(),
        attempt: 1,
        counted_attempts: 0,
        backend: service.backend.clone(),
        class: service.class.clone(),
        capability: None,
        model: service.model.clone(),
        timeout_ms: service.timeout_ms,
        reserved_micro_usd: MicroUsd::ZERO,
        decision: None,
        warnings: Vec::new(),
        job: forged.clone(),
        history: Vec::new(),
    };
    let subject = subjects::work(&assignment.backend, &assignment.queue(), forged.id);
    fleet.stack.broker.jetstream.publish(subject, codec::encode(&assignment).into()).await?.await?;
    let mut jobs = paid.clone();
    jobs.push(unasked.clone());
    fleet.stack.submit(&jobs).await?;
    jobs.push(forged.clone());
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    let tracker = fleet.stack.wait_ended(&ids, LIMIT).await?;
    for job in paid.iter().chain([&forged]) {
        let view = &tracker.jobs()[&job.id];
        ensure!(view.state == JobState::Completed, "{view:?}");
    }
    ensure!(tracker.jobs()[&forged.id].attempt == 2, "handed back once: {tracker:?}");
    let failure = tracker.jobs()[&unasked.id].failure.clone().context("it is refused")?;
    ensure!(failure.field.as_deref() == Some("constraints.allow_paid"), "{failure:?}");
    let audit = fleet.stack.audit(&ids, LIMIT).await?;
    ensure!(audit.holds(), "{:#?}", audit.findings);
    let rows = fleet.stack.reader().await?.audit_rows(None, 1_000).await?;
    let charged = rows.attempts.iter().filter(|attempt| attempt.charge.amount_micro_usd > MicroUsd::ZERO);
    ensure!(
        charged.clone().count() == 3
            && charged.clone().all(|attempt| attempt.reserved_micro_usd > MicroUsd::ZERO)
    );
    let first = rows.attempts.iter().find(|attempt| attempt.job == forged.id && attempt.attempt == 1);
    ensure!(first.is_some_and(|first| first.provider_id.is_none()), "{first:?}");
    Ok(())
}

/// Kills a worker, lets it be given a job, raises a price, and starts the worker again.
async fn raised_while_it_waits(
    fleet: &mut TestFleet,
    worker: &str,
    job: &Job,
    prices: impl FnOnce() -> anyhow::Result<String>,
) -> anyhow::Result<()> {
    fleet.stack.member(worker)?.kill9()?;
    fleet.stack.submit(std::slice::from_ref(job)).await?;
    let mut told = Box::pin(events(&fleet.stack.broker.jetstream, &[job.id], Since::Ever).await?);
    let reserved = tokio::time::timeout(LIMIT, async {
        loop {
            match told.next().await.context("stream EVENTS ended")??.fact {
                Fact::Assigned { reserved_micro_usd, .. } => return anyhow::Ok(reserved_micro_usd),
                Fact::Ended { failure, .. } => anyhow::bail!("it ended before it was placed: {failure:?}"),
                _ => {}
            }
        }
    });
    ensure!(reserved.await?? > MicroUsd::ZERO, "nothing is reserved");
    drop(told);
    documents::set(&fleet.stack.broker.jetstream, "prices", prices()?.as_bytes()).await?;
    let member = fleet.stack.member(worker)?;
    member.restart()?;
    member.ready(LIMIT).await?;
    fleet.stack.wait_ended(&[job.id], LIMIT).await?;
    Ok(())
}

/// A job's attempts in the books, once nothing of it is open. The simulator bills its own prices, so its invoice is
/// not compared.
async fn booked(fleet: &TestFleet, job: JobId) -> anyhow::Result<Vec<AuditAttempt>> {
    let reader = fleet.stack.reader().await?;
    look_until("the job's money is settled", async || {
        let rows = reader.audit_rows(None, 1_000).await?;
        let has_ended = rows.jobs.iter().any(|row| row.job == job && row.ends == 1);
        let attempts: Vec<_> = rows.attempts.into_iter().filter(|row| row.job == job).collect();
        let is_settled = attempts.iter().all(|row| row.charge.state != ChargeState::Pending);
        Ok((has_ended && is_settled).then_some(attempts))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_that_rises_while_work_waits_breaks_no_ceiling() -> anyhow::Result<()> {
    // The work takes a minute of the provider's time, for which five times the listed price is billed.
    let mut fleet = TestFleet::start(|options| {
        options.comfyui.clear();
        options.gemini = None;
        for argument in ["--rate-micro-usd-per-s=950", "--image-median-ms=60000"] {
            options.simulator_args.push(("runpod".to_owned(), argument.to_owned()));
        }
    })
    .await?;
    let mut job = paid_prompt("dearer by the minute", "cloud");
    let ceiling = MicroUsd(20_000);
    job.constraints.max_cost_micro_usd = Some(ceiling);
    let dearer = || dearer_from_now("cloud", "ampere-24", "execution_ms", 950_000);
    raised_while_it_waits(&mut fleet, "worker-cloud", &job, dearer).await?;
    let audit = fleet.stack.audit(&[job.id], LIMIT).await?;
    ensure!(audit.holds(), "the provider billed what the ledger has: {:#?}", audit.findings);
    ensure!(audit.ledger_micro_usd > MicroUsd::ZERO, "it ran: {audit:?}");
    let spent = MicroUsd(audit.ledger_micro_usd.0 + audit.possibly_paid_micro_usd.0);
    ensure!(spent <= ceiling, "{spent} for a ceiling of {ceiling}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_nothing_stops_is_reserved_anew_when_its_price_rose() -> anyhow::Result<()> {
    let mut fleet = TestFleet::start(|options| {
        options.comfyui.clear();
        options.runpod = None;
    })
    .await?;
    let job = paid_prompt("twice as dear", "gemini");
    let dearer = || dearer_from_now("gemini", "gemini-3.1-flash-image", "image_token", 120_000_000);
    raised_while_it_waits(&mut fleet, "worker-gemini", &job, dearer).await?;
    let attempts = booked(&fleet, job.id).await?;
    let [first, second] = &attempts[..] else { anyhow::bail!("{attempts:?}") };
    ensure!(first.provider_id.is_none() && first.charge.amount_micro_usd == MicroUsd::ZERO, "{first:?}");
    ensure!(first.reserved_micro_usd < second.reserved_micro_usd && second.succeeded, "{first:?} {second:?}");
    ensure!(second.charge.amount_micro_usd <= second.reserved_micro_usd, "{second:?}");
    // A ceiling that the new price does not leave room for: refused with that, and nothing is spent.
    let mut poor = paid_prompt("three times as dear", "gemini");
    poor.constraints.max_cost_micro_usd = Some(second.reserved_micro_usd);
    let dearest = || dearer_from_now("gemini", "gemini-3.1-flash-image", "image_token", 180_000_000);
    raised_while_it_waits(&mut fleet, "worker-gemini", &poor, dearest).await?;
    let tracker = fleet.stack.wait_ended(&[poor.id], LIMIT).await?;
    let failure = tracker.jobs()[&poor.id].failure.clone().context("it is refused")?;
    ensure!(failure.code == FailureCode::InvalidJob, "{failure:?}");
    ensure!(failure.field.as_deref() == Some("constraints.max_cost_micro_usd"), "{failure:?}");
    let attempts = booked(&fleet, poor.id).await?;
    let spent: i64 = attempts.iter().map(|attempt| attempt.charge.amount_micro_usd.0).sum();
    ensure!(spent == 0 && attempts.iter().all(|attempt| attempt.provider_id.is_none()), "{attempts:?}");
    Ok(())
}
