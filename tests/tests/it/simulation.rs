//! The simulation: a million jobs, the mutations that it has to notice, and the lists that failed once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tests::simulation::operations::text;
use tests::simulation::{
    Breach, Figures, JOBS_PER_RUN, List, Mutation, Promise, list, run, run_failing, shrink,
};

/// The seed where none is given, so that every machine sees the same runs.
const SEED: u64 = 20_261_123;
/// The jobs where no number is given.
const JOBS: u64 = 1_000_000;

fn from_environment(name: &str, otherwise: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Runs of many seeds on all cores: what they did, and the first breach of each kind.
fn simulate(seed: u64, jobs: u64) -> (Figures, BTreeMap<Promise, (u64, List, Breach)>) {
    let runs = jobs.div_ceil(u64::from(JOBS_PER_RUN));
    let next = AtomicU64::new(0);
    let found = Mutex::new((Figures::default(), BTreeMap::new()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= runs {
                        return;
                    }
                    let list = list(seed.wrapping_add(number));
                    let (figures, breach) = run(&list, Mutation::None);
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    found.0.add(&figures);
                    if let Some(breach) = breach {
                        let entry = found.1.entry(breach.promise).or_insert((0, list, breach));
                        entry.0 += 1;
                    }
                }
            });
        }
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_million_jobs_keep_the_promises() {
    let (seed, jobs) = (from_environment("SEED", SEED), from_environment("SIM_JOBS", JOBS));
    println!("SEED={seed} SIM_JOBS={jobs}");
    let (figures, breaches) = simulate(seed, jobs);
    println!("{figures}");
    for (promise, (count, list, breach)) in &breaches {
        println!("--- {promise:?} broken in {count} runs, first in {}: {breach:?}", list.seed);
        let small = shrink::shrink(list, Mutation::None, *promise);
        println!("{}{:?}", text::write(&small), run(&small, Mutation::None).1);
    }
    assert!(breaches.is_empty(), "promises were broken: the smallest lists are above");
}

/// Seeds within which a mutation has to be noticed.
const NOTICED_WITHIN: u64 = 3_000;

/// Mutations that do no harm by themselves.
const CAUGHT_BY_ANOTHER_NET: [Mutation; 1] = [Mutation::IgnoreTheRevision];

/// Runs that must stay sound under each of them.
const UNHARMED_RUNS: u64 = 300;

/// Finds the first seed whose run breaks a promise under a mutation, and holds that the same run is sound
/// without it. With `UPDATE_GOLDEN=1` the shrunk list is written beside the other regressions.
fn is_noticed(mutation: Mutation, promises: &[Promise]) {
    let word = Mutation::ALL.iter().find(|(known, _)| *known == mutation).expect("a word").1;
    let found = (0..NOTICED_WITHIN).find_map(|number| {
        let list = list(SEED.wrapping_add(number));
        let breach = run(&list, mutation).1?;
        Some((number, list, breach))
    });
    let (number, list, breach) =
        found.unwrap_or_else(|| panic!("{word}: not noticed in {NOTICED_WITHIN} runs"));
    println!("{word}: noticed in run {number}, {breach:?}");
    assert!(promises.contains(&breach.promise), "{word}: {breach:?}");
    assert_eq!(run(&list, Mutation::None).1, None, "{word}: the run is sound without the mutation");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let small = shrink::shrink(&list, mutation, breach.promise);
        let breach = run(&small, mutation).1.expect("a shrunk list still fails");
        let text =
            format!("# breaks {:?} with {word}\n# {}\n{}", breach.promise, breach.words, text::write(&small));
        std::fs::write(regressions().join(format!("{word}.txt")), text).expect("written");
    }
}

#[test]
fn a_skipped_intent_is_noticed() {
    is_noticed(Mutation::SkipTheIntent, &[Promise::PaidOnce]);
}

#[test]
fn an_acknowledgement_before_the_publish_is_noticed() {
    // The job is lost, or it is placed once more because nothing shows that it went on.
    is_noticed(Mutation::AcknowledgeFirst, &[Promise::Rest, Promise::Attempts]);
}

#[test]
fn a_dropped_message_id_is_noticed() {
    is_noticed(Mutation::DropTheMessageId, &[Promise::Books, Promise::Attempts]);
}

/// Two nets hold here: revisions and recorded outcomes, and the expectations with which attempts
/// and ends are published. Without the first the second still does; the claim's model needs the first.
#[test]
fn where_two_nets_hold_one_is_enough() {
    for mutation in CAUGHT_BY_ANOTHER_NET {
        for number in 0..UNHARMED_RUNS {
            let breach = run(&list(SEED.wrapping_add(number)), mutation).1;
            assert_eq!(breach, None, "{mutation:?}, run {number}");
        }
    }
}

/// Its result is thrown away though no claim has it.
#[test]
fn an_outcome_that_is_told_unrecorded_is_noticed() {
    is_noticed(Mutation::TellUnrecorded, &[Promise::Kept]);
}

#[test]
fn a_repeated_paid_call_is_noticed() {
    is_noticed(Mutation::RetryThePaidCall, &[Promise::PaidOnce]);
}

#[test]
fn a_second_end_is_noticed() {
    is_noticed(Mutation::SettleTwice, &[Promise::EndsOnce]);
}

#[test]
fn a_late_reservation_is_noticed() {
    is_noticed(Mutation::ReserveLate, &[Promise::Consent]);
}

#[test]
fn a_job_that_overrules_its_tenant_is_noticed() {
    is_noticed(Mutation::TrustTheJob, &[Promise::Consent]);
}

#[test]
fn an_acknowledgement_of_a_job_before_it_is_placed_is_noticed() {
    is_noticed(Mutation::AcknowledgeTheJobFirst, &[Promise::Rest]);
}

#[test]
fn a_job_deleted_before_it_is_placed_is_noticed() {
    is_noticed(Mutation::DeleteWhatIsReadPast, &[Promise::Rest]);
}

#[test]
fn an_acknowledgement_of_a_failure_before_it_is_followed_up_is_noticed() {
    is_noticed(Mutation::AcknowledgeTheFailureFirst, &[Promise::Rest]);
}

#[test]
fn refused_money_that_is_spent_is_noticed() {
    is_noticed(Mutation::SpendWhatWasRefused, &[Promise::Consent, Promise::Budget]);
}

#[test]
fn an_ignored_key_is_noticed() {
    is_noticed(Mutation::IgnoreTheKey, &[Promise::Key]);
}

#[test]
fn a_purge_of_claimed_work_is_noticed() {
    is_noticed(Mutation::PurgeClaimed, &[Promise::Books]);
}

#[test]
fn a_purge_before_the_end_is_noticed() {
    is_noticed(Mutation::PurgeFirst, &[Promise::Rest]);
}

#[test]
fn a_paid_end_without_the_claim_is_noticed() {
    is_noticed(Mutation::TrustFirstDelivery, &[Promise::Books]);
}

fn regressions() -> std::path::PathBuf {
    tests::fleet::root().join("tests/regressions/simulation")
}

/// Every kept list is sound, and breaks what its first line says with the mutation that it names.
#[test]
fn lists_that_failed_once_are_replayed() {
    let mut replayed = 0;
    for entry in std::fs::read_dir(regressions()).expect("the folder").flatten() {
        let (path, shown) = (entry.path(), entry.path().display().to_string());
        if path.extension().is_none_or(|ending| ending != "txt") {
            continue;
        }
        let words = std::fs::read_to_string(&path).expect("readable");
        let list = text::read(&words).unwrap_or_else(|error| panic!("{shown}: {error}"));
        assert_eq!(text::read(&text::write(&list)).as_ref(), Ok(&list), "{shown}: the text form");
        assert_eq!(run(&list, Mutation::None).1, None, "{shown}");
        if let Some(first) = words.lines().next().and_then(|line| line.strip_prefix("# breaks ")) {
            let (promise, word) = first.split_once(" with ").expect("`# breaks <promise> with <mutation>`");
            let mutation = Mutation::ALL.iter().find(|(_, known)| *known == word);
            let mutation = mutation.unwrap_or_else(|| panic!("{shown}: no mutation is called {word}")).0;
            let broken = run(&list, mutation).1.map(|breach| format!("{:?}", breach.promise));
            assert_eq!(broken.as_deref(), Some(promise), "{shown}: with {word}");
        }
        replayed += 1;
    }
    assert!(replayed >= Mutation::ALL.len() - CAUGHT_BY_ANOTHER_NET.len(), "{replayed} lists");
}

#[test]
fn the_same_list_gives_the_same_run() {
    for seed in SEED..SEED + 20 {
        let list = list(seed);
        assert_eq!(run(&list, Mutation::None), run(&list, Mutation::None), "seed {seed}");
        assert_eq!(text::read(&text::write(&list)), Ok(list), "seed {seed}");
    }
}

/// The job waits behind stopped workers. Its cancel is answered only once the broker says where it waits; the request
/// itself is stored, so that the job ends as cancelled all the same.
#[test]
fn a_cancel_is_an_error_while_the_broker_does_not_say_where_the_job_waits() {
    let list = text::read(
        "seed 1\n0 pause local-1 for=20000\n0 pause local-2 for=20000\n3000 submit 0\n5000 cancel 0\n",
    )
    .expect("a list");
    let (figures, breach) = run(&list, Mutation::None);
    assert_eq!((breach, figures.cancelled), (None, 1));
    assert_eq!((figures.answered_cancels, figures.failed_cancels), (1, 0));
    for port in ["undelivered_from", "sequence_of"] {
        let (figures, breach) = run_failing(&list, port);
        assert_eq!((breach, figures.cancelled), (None, 1), "{port}");
        assert_eq!(figures.answered_cancels, 0, "{port}: {figures:?}");
        assert!(figures.failed_cancels > 0, "{port}: {figures:?}");
    }
}
