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

/// Two workers of our own whose clocks are off, one job that may run nowhere else, and what else happens.
fn with_clocks(seed: u64, clocks: &str, more: &str) -> Figures {
    let workers = ["local-1", "local-2"].map(|worker| format!("0 clock {worker} {clocks}\n")).concat();
    let list = text::read(&format!("seed {seed}\n{workers}{more}3000 submit 0 only=local\n"));
    let (figures, breach) = run(&list.expect("a list"), Mutation::None);
    assert!(breach.is_none(), "{clocks}: {breach:?}");
    figures
}

#[test]
fn a_wrong_clock_makes_no_job_wait() {
    // Offers that say an hour ago, or in an hour; and clocks at the bound on either side. Failed attempts that say ten
    // minutes from now: the wait before the next counts from when they came.
    let fails = "0 provider local fail for=3500\n";
    let wrong = ["stamps=-3600000", "stamps=3600000", "stamps=600000", "off=5000", "off=-5000 stamps=-12000"];
    let mut retried = 0;
    for seed in 1..=30 {
        let right = with_clocks(seed, "off=0", fails);
        retried += u32::from(right.attempts > 1);
        for clocks in wrong {
            let off = with_clocks(seed, clocks, fails);
            assert_eq!(off.completed, right.completed, "seed {seed}, {clocks}: {off}");
            let (took_ms, bound_ms) = (off.virtual_ms, right.virtual_ms + 30_000);
            assert!(
                took_ms < bound_ms,
                "seed {seed}, {clocks}: {took_ms} ms, {} with right clocks",
                right.virtual_ms
            );
        }
    }
    assert!(retried > 5, "only {retried} were tried again");
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

/// Finds the first list whose run breaks a promise under a mutation, and holds that the same run is sound
/// without it: the kept one, so that what is rare is not searched for again, then those from seeds. With `UPDATE_GOLDEN=1` the shrunk list is written beside the other regressions.
fn is_noticed(mutation: Mutation, promises: &[Promise]) {
    let word = Mutation::ALL.iter().find(|(known, _)| *known == mutation).expect("a word").1;
    let kept = std::fs::read_to_string(regressions().join(format!("{word}.txt"))).ok();
    let kept = kept.and_then(|words| text::read(&words).ok());
    let mut lists = kept.into_iter().chain((0..NOTICED_WITHIN).map(|number| list(SEED.wrapping_add(number))));
    let found = lists.find_map(|list| run(&list, mutation).1.map(|breach| (list, breach)));
    let (list, breach) = found.unwrap_or_else(|| panic!("{word}: not noticed in {NOTICED_WITHIN} runs"));
    println!("{word}: noticed in the run of {}, {breach:?}", list.seed);
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
fn a_skipped_marker_is_noticed() {
    is_noticed(Mutation::SkipTheMarker, &[Promise::EndsOnce, Promise::PaidOnce, Promise::Attempts]);
}

/// Room is made again and again, ledgers die over it, and every job is published once more afterwards: none runs again.
#[test]
fn what_has_ended_stays_ended_after_room_was_made() {
    let (mut markers, mut removed, mut kept) = (0, 0, 0);
    for seed in 0..30 {
        let mut text = format!("seed {seed}\n");
        for job in 0..12 {
            let paid = if job % 3 == 0 { "tenant=generous paid=yes only=cloud" } else { "" };
            text += &format!("{} submit {job} lane=standard {paid}\n", job * 200);
            if job % 4 == 0 {
                text += &format!("{} cancel {job}\n", job * 200 + 700);
            }
            text += &format!("{} again {job}\n", 400_100 + job * 40 + seed);
            text += &format!("{} again {job}\n", 900_000 + job * 40);
        }
        text += "400000 make-room events\n400040 kill ledger-1 for=3000\n400900 make-room events\n";
        text += "405000 make-room events\n405003 make-room events\n800000 make-room events\n";
        text += "850000 lossy ledger-1 for=20000\n851000 make-room events\n852000 make-room events\n";
        let (figures, breach) = run(&text::read(&text).expect("a list"), Mutation::None);
        assert_eq!(breach, None, "seed {seed}");
        (markers, removed, kept) =
            (markers + figures.markers, removed + figures.facts_removed, kept + figures.facts_kept);
    }
    assert!(markers >= 12 * 30 / 2 && removed > kept, "{markers} markers, {removed} removed, {kept} kept");
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

/// Answers to workers are lost for moments, and nothing else goes wrong: each finds its own claim. Of forty paid attempts
/// at most one more ends as one whose outcome nobody knows than where no answer is lost: its worker gave up.
#[test]
fn a_claim_whose_answer_was_lost_is_known_as_our_own() {
    let (mut lost, mut started, mut unknown, mut unavoidable) = (0, 0, 0, 0);
    for seed in 0..40 {
        let (mut quiet, mut lossy) = (format!("seed {seed}\n"), format!("seed {seed}\n"));
        for job in 0..20 {
            let submit =
                format!("{} submit {job} lane=standard tenant=generous paid=yes only=cloud\n", job * 400);
            quiet += &submit;
            lossy += &submit;
            for worker in ["cloud-1", "cloud-2"] {
                lossy += &format!("{} lossy {worker} for=350\n", job * 400 + 20 + (seed * 37) % 350);
            }
        }
        let run = |text: &str| run(&text::read(text).expect("a list"), Mutation::None);
        let ((control, _), (figures, breach)) = (run(&quiet), run(&lossy));
        assert_eq!(breach, None, "seed {seed}");
        (lost, started) = (lost + figures.lost_answers, started + figures.paid_starts);
        (unknown, unavoidable) = (unknown + figures.unknown_outcomes, unavoidable + control.unknown_outcomes);
    }
    assert!(
        (unknown - unavoidable) * 40 <= started,
        "{unknown} of {started} unknown, {unavoidable} where no answer is lost"
    );
    assert!(lost > 400 && started > 400, "{lost} answers were lost, {started} paid attempts started");
}

/// An operator removes assignments: each of their jobs ends, and says why.
#[test]
fn jobs_whose_work_was_removed_end() {
    let mut removed = 0;
    for seed in 0..40 {
        let mut text = format!("seed {seed}\n");
        // Few enough for the tightest budget. Free jobs are placed without an event: removed, they leave no trace.
        for job in 0..12 {
            let at = job * 100;
            text += &format!("{at} submit {job} lane=batch tenant=generous paid=yes only=cloud\n");
            text += &format!("{} purge {job}\n", at + 60 + (seed * 53) % 900);
        }
        let (figures, breach) = run(&text::read(&text).expect("a list"), Mutation::None);
        assert_eq!(breach, None, "seed {seed}");
        removed += figures.purged;
    }
    assert!(removed > 50, "{removed} assignments were removed");
}

/// A broker that was restarted has forgotten the id of a job that is over. Its client, which has no answer, publishes it
/// once more: nothing is made again.
#[test]
fn a_job_that_is_published_again_after_its_end_is_not_made_again() {
    for (seed, again_ms) in (0..20).flat_map(|seed| [14_000, 30_000, 58_000].map(|again_ms| (seed, again_ms)))
    {
        let once = format!("seed {seed}\n3000 submit 0 only=local\n12000 broker all for=500\n");
        let attempts = [once.clone(), format!("{once}{again_ms} again 0\n")].map(|text| {
            let (figures, breach) = run(&text::read(&text).expect("a list"), Mutation::None);
            assert_eq!((breach, figures.jobs), (None, 1), "seed {seed}");
            figures.attempts
        });
        assert_eq!(attempts[0], attempts[1], "seed {seed}, again after {again_ms} ms");
    }
}

/// A router is stopped while a paid job waits in its hand, and the job is made elsewhere: the ledger refuses the money of
/// what has ended, and the router lets go of it instead of asking for ever.
#[test]
fn a_job_that_ended_while_its_router_was_stopped_is_let_go_of() {
    for (seed, only) in (0..12).flat_map(|seed| ["cloud", "gemini"].map(|only| (seed, only))) {
        let text = format!(
            "seed {seed}\n0 ledger-away all for=20000\n3000 submit 0 tenant=generous paid=yes only={only}\n\
             5000 pause router-1 for=60000\n"
        );
        let (figures, breach) = run(&text::read(&text).expect("a list"), Mutation::None);
        assert_eq!(breach, None, "seed {seed}, {only}");
        assert!(figures.refused_reservations < 20, "seed {seed}, {only}: {figures}");
    }
}

/// A worker is stopped over an assignment that another one then ends unbegun, for longer than the broker remembers ids: the
/// end that it publishes again costs nothing either.
#[test]
fn what_ended_unbegun_costs_nothing_when_it_is_published_again() {
    let mut starts = 0;
    for seed in 0..30 {
        let mut text = format!("seed {seed}\n");
        for job in 0..4 {
            let deadline_ms = 12_000 + job * 300;
            text += &format!(
                "{} submit {job} tenant=generous paid=yes only=gemini deadline={deadline_ms}\n",
                3_000 + job * 40
            );
        }
        text += "3100 pause gemini-1 for=193000\n3100 pause gemini-2 for=15000\n";
        let (figures, breach) = run(&text::read(&text).expect("a list"), Mutation::None);
        assert_eq!(breach, None, "seed {seed}");
        starts += figures.paid_starts;
    }
    assert!(starts < 4 * 30, "{starts} of 120 were started: none ended unbegun");
}

/// What is published where no lane reads ends as refused.
#[test]
fn jobs_that_lie_where_no_lane_reads_end() {
    for seed in 0..20 {
        let mut text = format!("seed {seed}\n");
        for job in 0..10 {
            text += &format!("{} submit {job} lane={}\n", job * 50, ["none", "standard"][job % 2]);
            text += &format!("{} again {job}\n", job * 50 + 130_000);
        }
        text += "200 kill router-1 for=3000\n230 lossy router-2 for=4000\n";
        let (figures, breach) = run(&text::read(&text).expect("a list"), Mutation::None);
        assert_eq!(breach, None, "seed {seed}");
        assert_eq!((figures.failed, figures.completed), (5, 5), "seed {seed}");
    }
}

/// Consumers are deleted again and again while jobs run.
#[test]
fn jobs_end_though_their_consumers_are_made_anew() {
    for seed in 0..40 {
        let mut text = format!("seed {seed}\n");
        for job in 0..20 {
            text += &format!("{} submit {job} lane=standard tenant=generous\n", job * 150);
            text += &format!("{} remake {}\n", job * 150 + 70, (job + seed) % 11);
        }
        text += "900 kill router-1 for=2000\n1500 kill local-1 for=2000\n1800 pause cloud-1 for=20000\n";
        assert_eq!(run(&text::read(&text).expect("a list"), Mutation::None).1, None, "seed {seed}");
    }
}

fn regressions() -> std::path::PathBuf {
    tests::fleet::root().join("tests/regressions/simulation")
}

/// Every kept list is sound, and breaks what its first line says with the mutation that it names.
#[test]
fn lists_that_failed_once_are_replayed() {
    let (mut replayed, mut stale) = (0, Vec::new());
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
            if broken.as_deref() != Some(promise) {
                stale.push(format!("{shown}: {word} breaks {broken:?}, not {promise}"));
            }
        }
        replayed += 1;
    }
    assert!(stale.is_empty(), "write them anew with UPDATE_GOLDEN=1:\n{}", stale.join("\n"));
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
