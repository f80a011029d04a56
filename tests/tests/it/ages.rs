//! What guards work does not go before the work does: simulated fleets that are off for longer than claims are kept, and a
//! bucket of claims that is full.

use schemas::calendar::DAY_MS;
use schemas::topology::CLAIMS_KEPT_MS;
use tests::simulation::operations::text;
use tests::simulation::{Figures, List, Mutation, Promise, run};

/// For how many days claims are kept.
const KEPT_DAYS: i64 = CLAIMS_KEPT_MS.cast_signed() / DAY_MS;

/// All processes.
const PROCESSES: [&str; 10] = [
    "router-1", "router-2", "local-1", "local-2", "cloud-1", "cloud-2", "gemini-1", "gemini-2", "ledger-1",
    "ledger-2",
];

/// Paid jobs, and a fleet that is off from the middle of them on.
fn off_for(seed: u64, only: &str, at_ms: i64, off_ms: i64) -> List {
    let mut words = format!("seed {seed}\n");
    // Few of the dear ones: the tightest budget of two days pays for them twice.
    for job in 0..if only == "gemini" { 3 } else { 12 } {
        words += &format!("{} submit {job} lane=standard tenant=generous paid=yes only={only}\n", job * 150);
    }
    for process in PROCESSES {
        words += &format!("{at_ms} kill {process} for={off_ms}\n");
    }
    // The run has to be at rest some hours after its last operation.
    words += &format!("{} clock local-1 off=0 stamps=0\n", at_ms + off_ms + 1_000);
    text::read(&words).expect("a list")
}

#[test]
fn a_fleet_that_was_off_for_longer_than_claims_are_kept_pays_nothing_twice() {
    let mut seen = Figures::default();
    for seed in 0..60 {
        let days = [KEPT_DAYS - 2, KEPT_DAYS, KEPT_DAYS + 1, 3 * KEPT_DAYS][seed as usize % 4];
        let only = ["cloud", "gemini"][seed as usize % 2];
        let at_ms = 900 + i64::try_from(seed).expect("small") * 37;
        let (figures, breach) = run(&off_for(seed, only, at_ms, days * DAY_MS), Mutation::None);
        assert_eq!(breach, None, "seed {seed}, {only}, {days} days");
        seen.add(&figures);
    }
    assert!(seen.paid_starts > 100 && seen.unknown_outcomes > 5, "{seen}");
}

#[test]
fn an_age_of_claims_that_is_not_looked_at_is_noticed() {
    let list = |seed| off_for(seed, "cloud", 1_500, (KEPT_DAYS + 1) * DAY_MS);
    let noticed = (0..200).find_map(|seed| Some((seed, run(&list(seed), Mutation::IgnoreTheAgeOfClaims).1?)));
    let (seed, breach) = noticed.expect("it is noticed");
    println!("seed {seed}: {breach:?}");
    assert_eq!(breach.promise, Promise::PaidOnce, "{breach:?}");
    assert_eq!(run(&list(seed), Mutation::None).1, None, "sound without the mutation");
    // Off for less than claims are kept, it is harmless.
    for seed in 0..40 {
        let list = off_for(seed, "cloud", 1_500, 2 * DAY_MS);
        assert_eq!(run(&list, Mutation::IgnoreTheAgeOfClaims).1, None, "seed {seed}");
    }
}

/// How long the simulation keeps every key and every request to cancel.
const HOUR_MS: i64 = 3_600_000;

/// A job with a key waits for longer than keys are kept at a backend whose workers are off, and meanwhile the key comes
/// again.
fn a_key_that_comes_again(seed: u64) -> List {
    let mut words = format!("seed {seed}\n");
    for worker in ["local-1", "local-2"] {
        words += &format!("0 kill {worker} for={}\n", HOUR_MS + HOUR_MS / 4);
    }
    for (at_ms, job, key) in [(1_000, 0, 7), (HOUR_MS + 90_000, 1, 7), (HOUR_MS + 95_000, 2, 8)] {
        words += &format!("{at_ms} submit {job} lane=batch tenant=generous only=local key={key}\n");
    }
    words += &format!("{} clock cloud-1 off=0 stamps=0\n", HOUR_MS + HOUR_MS / 4 + 1_000);
    text::read(&words).expect("a list")
}

#[test]
fn a_key_is_kept_for_as_long_as_its_first_job_is_open() {
    for seed in 0..4 {
        let list = a_key_that_comes_again(seed);
        let (figures, breach) = run(&list, Mutation::None);
        assert_eq!((breach, figures.completed), (None, 2), "seed {seed}: {figures}");
        let removed = run(&list, Mutation::RemoveWhatGuards).1.expect("it is noticed");
        assert_eq!(removed.promise, Promise::Key, "seed {seed}: {removed:?}");
    }
}

/// A request to cancel is older than that when routers and workers come back: the job is cancelled all the same.
#[test]
fn a_request_to_cancel_is_kept_for_as_long_as_its_job_is_open() {
    let away_ms = HOUR_MS + HOUR_MS / 4;
    let (mut completed, mut without) = (0, 0);
    for seed in 0..8 {
        let mut words = format!("seed {seed}\n1000 submit 0 lane=standard only=local\n2500 cancel 0\n");
        for (place, process) in ["router-1", "router-2", "local-1", "local-2"].into_iter().enumerate() {
            // The routers are back first.
            let at_ms = if place < 2 { 3_500 } else { 1_250 };
            words += &format!(
                "{at_ms} kill {process} for={}\n",
                away_ms - at_ms + if place < 2 { 0 } else { 700 }
            );
        }
        words += &format!("{} clock cloud-1 off=0 stamps=0\n", away_ms + 2_000);
        let list = text::read(&words).expect("a list");
        let (figures, breach) = run(&list, Mutation::None);
        assert_eq!(breach, None, "seed {seed}");
        completed += figures.completed;
        without += run(&list, Mutation::RemoveWhatGuards).0.completed;
    }
    assert_eq!(completed, 0, "what was cancelled does not run");
    assert!(without > 0, "nothing depends on the requests");
}

/// Neither a claim that cannot be created nor an id that cannot be written starts work twice, ends it as poison, or books
/// what it did not cost: workers wait, are killed, and go on by what lies on their disks.
#[test]
fn a_full_bucket_of_claims_loses_nothing_and_pays_nothing_twice() {
    let (mut started, mut unknown, mut poison) = (0, 0, 0);
    for seed in 0..60_u64 {
        let mut words = format!("seed {seed}\n");
        for job in 0..12 {
            words +=
                &format!("{} submit {job} lane=standard tenant=generous paid=yes only=cloud\n", job * 150);
        }
        words +=
            &format!("{} claims-full all for={}\n", 300 + seed * 41 % 1_500, 20_000 + seed * 997 % 60_000);
        for (place, worker) in ["cloud-1", "cloud-2"].into_iter().enumerate() {
            words +=
                &format!("{} kill {worker} for=1500\n", 6_000 + seed * 83 % 9_000 + place as u64 * 4_000);
            words +=
                &format!("{} drain {worker} for=900\n", 18_000 + seed * 61 % 9_000 + place as u64 * 3_000);
        }
        let (figures, breach) = run(&text::read(&words).expect("a list"), Mutation::None);
        assert_eq!(breach, None, "seed {seed}");
        (started, unknown) = (started + figures.paid_starts, unknown + figures.unknown_outcomes);
        poison += figures.failed;
    }
    assert!(started > 300, "{started}");
    // A kill between the call and its answer leaves no id anywhere.
    assert!(unknown * 20 <= started, "{unknown} of {started} are unknown");
    println!("{started} started, {unknown} unknown, {poison} failed");
}
