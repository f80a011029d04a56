//! The audit: a sound world passes, and each broken promise is found and named.

use std::collections::{BTreeMap, BTreeSet};

use policy::invariants::{
    AuditAttempt, AuditInput, AuditJob, AuditOverhead, AuditReport, BilledDay, InvoiceLine, audit,
};
use proptest::prelude::*;
use schemas::{Charge, JobId, JobState, MicroUsd, Unit, Usage};

use crate::world::{NOW_MS, name};

fn job_id(number: u8) -> JobId {
    JobId::from_parts(NOW_MS, [number; 10])
}

/// A settled world: each job ran on cloud, paid, billed and done.
fn sound(costs: &[i64]) -> AuditInput {
    let mut input = AuditInput { settled: true, accepted: Some(BTreeSet::new()), ..AuditInput::default() };
    let mut lines = Vec::new();
    for (number, cost) in (0u8..).zip(costs) {
        let (job, provider_id) = (job_id(number), format!("work-{number}"));
        input.accepted.as_mut().expect("set above").insert(job);
        input.jobs.push(AuditJob { job, ends: 1, state: Some(JobState::Completed), artifacts: 1 });
        input.attempts.push(AuditAttempt {
            job,
            attempt: 1,
            backend: name("cloud"),
            provider_id: Some(provider_id.clone()),
            succeeded: true,
            usage: vec![Usage { unit: Unit::ExecutionMs, quantity: 20_000 }],
            reserved_micro_usd: MicroUsd(*cost + 50),
            delivered: true,
            charge: Charge::posted(MicroUsd(*cost)),
        });
        lines.push(InvoiceLine { provider_id, amount_micro_usd: MicroUsd(*cost) });
    }
    input.invoices = BTreeMap::from([(name("cloud"), lines)]);
    input
}

fn lines(input: &mut AuditInput) -> &mut Vec<InvoiceLine> {
    input.invoices.get_mut(&name("cloud")).expect("a sound world has it")
}

/// Breaks a sound world of three jobs, and expects one finding.
fn broken(change: impl FnOnce(&mut AuditInput), finding: &str) -> AuditReport {
    let mut input = sound(&[100, 200, 300]);
    change(&mut input);
    let report = audit(&input);
    assert!(!report.holds());
    assert!(report.findings.iter().any(|found| found.contains(finding)), "{finding}: {:?}", report.findings);
    report
}

#[test]
fn what_waits_for_a_newer_router_is_neither_ended_nor_lost() {
    let mut input = sound(&[100, 200, 300]);
    // One that no event tells of, and one whose dead letter waits.
    let gone = input.jobs.remove(0).job;
    input.attempts.remove(0);
    lines(&mut input).remove(0);
    input.jobs[0].ends = 0;
    input.parked = BTreeSet::from([gone, input.jobs[0].job]);
    let report = audit(&input);
    assert!(report.holds(), "{:?}", report.findings);
    assert_eq!((report.accepted, report.ended, report.parked, report.lost, report.open), (3, 1, 2, 0, 0));
    // One that was sent on its way and ended is ended; what is not in the inbox is lost.
    input.parked = BTreeSet::from([input.jobs[1].job]);
    let report = audit(&input);
    assert_eq!((report.ended, report.parked, report.lost), (1, 0, 2));
}

#[test]
fn what_lies_in_its_lane_is_accepted_and_not_lost() {
    let mut input = sound(&[100, 200, 300]);
    input.settled = false;
    // One that nothing else knows, one that is placed and not acknowledged yet, and some that were only counted.
    let known = input.jobs[0].job;
    input.jobs[0].ends = 0;
    input.waiting = BTreeSet::from([job_id(9), known]);
    input.waiting_unread = 841;
    let report = audit(&input);
    assert!(report.holds(), "{:?}", report.findings);
    assert_eq!((report.accepted, report.waiting), (3 + 1 + 841, 1 + 841));
    assert_eq!((report.open, report.ended, report.lost), (1, 2, 0));
}

#[test]
fn what_nothing_would_ever_end_is_found_while_others_run() {
    let unread = |input: &mut AuditInput| {
        input.unreachable = BTreeMap::from([("argosy.jobs.urgent.default".to_owned(), 3)]);
    };
    broken(unread, "3 messages lie in stream JOBS under argosy.jobs.urgent.default");
    let removed = |input: &mut AuditInput| {
        (input.settled, input.jobs[0].ends) = (false, 0);
        input.abandoned = BTreeSet::from([input.jobs[0].job]);
    };
    let report = broken(removed, "no stream holds anything of it");
    assert_eq!((report.abandoned, report.open, report.lost), (1, 1, 0));
}

#[test]
fn each_broken_promise_is_found() {
    assert_eq!(broken(|input| input.jobs.truncate(2), "unknown to the ledger").lost, 1);
    assert_eq!(broken(|input| input.jobs[0].ends = 0, "never ended").lost, 1);
    assert_eq!(broken(|input| input.jobs[0].ends = 2, "ended 2 times").ended_twice, 1);
    assert_eq!(broken(|input| input.jobs[0].artifacts = 0, "without an artifact").completed_empty, 1);
    let billed_twice = |input: &mut AuditInput| {
        let line = lines(input)[0].clone();
        lines(input).push(line);
    };
    assert_eq!(broken(billed_twice, "2 invoice lines").paid_twice, 1);
    let one_work_two_attempts =
        |input: &mut AuditInput| input.attempts[1].provider_id = Some("work-0".to_owned());
    assert_eq!(broken(one_work_two_attempts, "charged to 2 attempts").paid_twice, 1);
    let succeeded_twice = |input: &mut AuditInput| input.attempts[1].job = job_id(0);
    assert_eq!(broken(succeeded_twice, "paid for 2 successes").paid_twice, 1);
    assert_eq!(broken(succeeded_twice, "was paid again: attempt 1, after 1 was delivered").paid_again, 1);
    let unknown_work = |input: &mut AuditInput| {
        lines(input).push(InvoiceLine { provider_id: "elsewhere".to_owned(), amount_micro_usd: MicroUsd(5) });
    };
    assert_eq!(broken(unknown_work, "belong to no attempt").unexplained_invoice_lines, 1);
    broken(
        |input| lines(input)[0].amount_micro_usd = MicroUsd(99),
        "is charged $0.000100 and billed $0.000099",
    );
    broken(|input| input.attempts[0].charge = Charge::VOIDED, "is charged $0.000000 and billed $0.000100");
    broken(
        |input| input.attempts[0].charge.state = schemas::ChargeState::Pending,
        "still has $0.000100 reserved",
    );
    broken(|input| input.attempts[0].charge.amount_micro_usd = MicroUsd(-1), "negative charge");
}

#[test]
fn what_is_used_and_not_charged_is_found_on_every_backend() {
    let free = |input: &mut AuditInput, backend: &str, unit: Unit| {
        let attempt = &mut input.attempts[1];
        attempt.backend = name(backend);
        attempt.charge = Charge::VOIDED;
        attempt.reserved_micro_usd = MicroUsd::ZERO;
        attempt.usage = vec![Usage { unit, quantity: 7 }];
        input.invoices.clear();
    };
    for (backend, unit) in
        [("cloud", Unit::ExecutionMs), ("gemini", Unit::ImageToken), ("elsewhere", Unit::TextToken)]
    {
        let report = broken(|input| free(input, backend, unit), "and is charged nothing");
        assert_eq!(report.paid_silently, 1, "{backend}");
    }
    let zero = |input: &mut AuditInput| input.attempts[1].charge = Charge::posted(MicroUsd::ZERO);
    assert_eq!(broken(zero, "used 20000 ExecutionMs and is charged nothing").paid_silently, 1);
    // Our own machines count energy, and a stop before the start counts 0: neither is billed.
    let mut input = sound(&[100, 200]);
    free(&mut input, "local", Unit::EnergyMj);
    assert!(audit(&input).holds(), "{:?}", audit(&input).findings);
    let mut input = sound(&[100, 200]);
    free(&mut input, "cloud", Unit::ExecutionMs);
    (input.attempts[1].usage[0].quantity, input.attempts[1].provider_id) = (0, None);
    assert!(audit(&input).holds(), "{:?}", audit(&input).findings);
}

#[test]
fn work_at_a_provider_for_which_nothing_was_reserved_is_found() {
    let unreserved = |input: &mut AuditInput, backend: &str| {
        let attempt = &mut input.attempts[2];
        (attempt.backend, attempt.usage) = (name(backend), Vec::new());
        (attempt.charge, attempt.reserved_micro_usd) = (Charge::VOIDED, MicroUsd::ZERO);
        input.invoices.clear();
    };
    for backend in ["cloud", "gemini"] {
        let report = broken(|input| unreserved(input, backend), "nothing was reserved for it");
        assert_eq!(report.paid_silently, 1, "{backend}");
    }
    let report = broken(
        |input| {
            input.attempts[1].backend = name("our-own-name");
            unreserved(input, "our-own-name");
        },
        "nothing was reserved for it",
    );
    assert_eq!(report.paid_silently, 1, "other work there had money reserved, so it bills");
    let mut input = sound(&[100, 200, 300]);
    unreserved(&mut input, "local");
    assert!(audit(&input).holds(), "{:?}", audit(&input).findings);
}

#[test]
fn a_reservation_that_was_given_back_makes_a_free_backend_no_paid_one() {
    let mut input = sound(&[100, 200, 300]);
    // Two ran for free; for one of them money had been set aside elsewhere before.
    for (index, reserved) in [(1, 20_000), (2, 0)] {
        let attempt = &mut input.attempts[index];
        (attempt.backend, attempt.usage, attempt.charge) = (name("local"), Vec::new(), Charge::VOIDED);
        attempt.reserved_micro_usd = MicroUsd(reserved);
    }
    for lines in input.invoices.values_mut() {
        lines.truncate(1);
    }
    assert!(audit(&input).holds(), "{:?}", audit(&input).findings);
}

#[test]
fn a_charge_above_its_reservation_is_found_where_the_provider_limits() {
    let over = |input: &mut AuditInput| input.attempts[1].reserved_micro_usd = MicroUsd(199);
    let report = broken(over, "is charged $0.000200 and $0.000199 was reserved");
    assert_eq!(report.over_reserved, 1);
    let mut tokens = sound(&[100, 200]);
    over(&mut tokens);
    tokens.attempts[1].usage.push(Usage { unit: Unit::ImageToken, quantity: 1 });
    assert!(audit(&tokens).holds(), "no provider limits tokens by our money: {:?}", audit(&tokens).findings);
}

#[test]
fn a_running_fleet_has_open_jobs() {
    let mut input = sound(&[100]);
    input.settled = false;
    input.jobs[0].ends = 0;
    let report = audit(&input);
    assert!(report.holds(), "{:?}", report.findings);
    assert_eq!((report.open, report.lost, report.ended), (1, 0, 0));
}

#[test]
fn open_work_is_judged_only_by_what_is_certain() {
    let open = |change: fn(&mut AuditInput)| {
        let mut input = sound(&[100, 200]);
        input.settled = false;
        change(&mut input);
        audit(&input)
    };
    // A worker was killed between the provider's answer and its end: the line is there, its attempt is not.
    let stranger = InvoiceLine { provider_id: "work-9".to_owned(), amount_micro_usd: MicroUsd(300) };
    let killed = || {
        let mut input = sound(&[100, 200]);
        lines(&mut input).push(stranger.clone());
        input
    };
    let report = audit(&AuditInput { settled: false, ..killed() });
    assert!(report.holds() && report.unexplained_invoice_lines == 1, "{:?}", report.findings);
    assert!(!audit(&killed()).holds(), "at rest it is broken");
    // A charge whose line has not come yet, and a reservation that may still be opened again.
    assert!(open(|input| drop(lines(input).pop())).holds());
    assert!(open(|input| input.attempts[0].charge.state = schemas::ChargeState::Voided).holds());
    // What no time can mend is found at once.
    assert!(!open(|input| lines(input)[0].amount_micro_usd = MicroUsd(101)).holds(), "a line differs");
    assert!(!open(|input| lines(input).push(lines(&mut sound(&[100]))[0].clone())).holds(), "two lines");
    assert!(!open(|input| input.jobs[0].ends = 2).holds(), "ended twice");
}

#[test]
fn a_lost_answer_is_covered_by_what_was_booked_as_possible() {
    let mut input = sound(&[100, 200]);
    input.attempts[0].charge = Charge::possibly_paid(MicroUsd(500));
    input.attempts[0].provider_id = None;
    let billed = audit(&input);
    assert!(billed.holds(), "{:?}", billed.findings);
    assert_eq!((billed.unexplained_invoice_lines, billed.possibly_paid_micro_usd), (1, MicroUsd(500)));
    assert_eq!((billed.ledger_micro_usd, billed.invoice_micro_usd), (MicroUsd(200), MicroUsd(300)));
    lines(&mut input).remove(0);
    assert!(audit(&input).holds(), "it was not billed after all");
    lines(&mut input).push(InvoiceLine { provider_id: "work-0".to_owned(), amount_micro_usd: MicroUsd(501) });
    assert!(!audit(&input).holds(), "more than was booked");
}

#[test]
fn findings_are_bounded() {
    let mut input = sound(&[1; 200]);
    input.jobs.clear();
    let report = audit(&input);
    assert_eq!((report.lost, report.findings.len()), (200, 101));
    assert_eq!(report.findings.last().map(String::as_str), Some("and 100 more"));
}

proptest! {
    #[test]
    fn a_sound_world_passes_and_its_sums_agree(costs in prop::collection::vec(1i64..1_000_000, 0..40)) {
        let mut input = sound(&costs);
        let report = audit(&input);
        prop_assert!(report.holds(), "{:?}", report.findings);
        prop_assert_eq!(report.ledger_micro_usd, MicroUsd(costs.iter().sum()));
        prop_assert_eq!(report.invoice_micro_usd, report.ledger_micro_usd);
        prop_assert_eq!((report.accepted, report.ended), (costs.len() as u64, costs.len() as u64));
        input.attempts.reverse();
        input.jobs.reverse();
        lines(&mut input).reverse();
        prop_assert_eq!(audit(&input), report, "the order of facts changes nothing");
    }

    #[test]
    fn a_micro_dollar_of_difference_is_found(
        costs in prop::collection::vec(1i64..1_000_000, 1..20), at in any::<prop::sample::Index>(), more in any::<bool>(),
    ) {
        let mut input = sound(&costs);
        let at = at.index(costs.len());
        lines(&mut input)[at].amount_micro_usd.0 += if more { 1 } else { -1 };
        prop_assert!(!audit(&input).holds());
    }
}

/// The audit of a world of two attempts of one job, both paid; the first one ended as said.
fn repeated(first: impl FnOnce(&mut AuditAttempt)) -> AuditReport {
    let mut input = sound(&[100, 100]);
    input.attempts[1].job = job_id(0);
    input.attempts[1].attempt = 2;
    input.attempts[0].succeeded = false;
    first(&mut input.attempts[0]);
    audit(&input)
}

#[test]
fn paying_again_for_what_was_delivered_is_found() {
    let again = |report: &AuditReport| report.findings.iter().any(|words| words.contains("was paid again"));
    // Delivered, and of no use or not stored.
    let report = repeated(|first| first.delivered = true);
    assert!(report.paid_again == 1 && again(&report) && report.paid_twice == 0, "{report:?}");
    // Work that failed at the provider may be billed and is not delivered: another attempt is as it should be.
    let report = repeated(|first| first.delivered = false);
    assert!(report.paid_again == 0 && !again(&report), "{report:?}");
    // Delivered for free, on our own GPU.
    let report = repeated(|first| first.charge = Charge::VOIDED);
    assert_eq!(report.paid_again, 0, "{report:?}");
    // Only possibly paid, and delivered all the same.
    let report = repeated(|first| first.charge = Charge::possibly_paid(MicroUsd(100)));
    assert_eq!(report.paid_again, 1, "{report:?}");
}

/// A sound world of 600 for attempts, whose endpoint was billed 650.
fn with_a_bill() -> AuditInput {
    let mut input = sound(&[100, 200, 300]);
    input.bills_final = true;
    input.overhead.push(AuditOverhead {
        backend: name("cloud"),
        endpoint: "e".to_owned(),
        day: "2026-11-23".to_owned(),
        amount_micro_usd: MicroUsd(50),
        estimated: false,
    });
    let day =
        BilledDay { endpoint: "e".to_owned(), day: "2026-11-23".to_owned(), amount_micro_usd: MicroUsd(650) };
    input.bills.insert(name("cloud"), vec![day]);
    input
}

#[test]
fn attempts_and_overhead_come_to_the_bill() {
    let report = audit(&with_a_bill());
    assert!(report.holds(), "{:?}", report.findings);
    let cloud = &report.per_backend[&name("cloud")];
    assert_eq!((cloud.overhead_micro_usd, cloud.bill_micro_usd), (MicroUsd(50), Some(MicroUsd(650))));
    assert_eq!(report.overhead_micro_usd, MicroUsd(50));
    let found = |change: fn(&mut AuditInput)| {
        let mut input = with_a_bill();
        change(&mut input);
        audit(&input).findings
    };
    fn billed(input: &mut AuditInput, amount: i64) {
        input.bills.get_mut(&name("cloud")).expect("above")[0].amount_micro_usd = MicroUsd(amount);
    }
    let off = "cloud: attempts $0.000600 and overhead $0.000050 come to $0.000650, and the provider billed";
    for (findings, words) in [
        (found(|input| billed(input, 651)), format!("{off} $0.000651")),
        (found(|input| billed(input, 649)), format!("{off} $0.000649")),
        (found(|input| input.overhead[0].estimated = true), "are only estimated".to_owned()),
        (
            found(|input| input.overhead[0].day = "2026-11-22".to_owned()),
            "is unknown to the ledger".to_owned(),
        ),
        (found(|input| input.overhead.clear()), "is unknown to the ledger".to_owned()),
    ] {
        assert!(findings.iter().any(|finding| finding.contains(&words)), "{words}: {findings:?}");
    }
    // What is charged to an attempt is missing from the rest of the bill: two findings, not none.
    let findings = found(|input| input.attempts[0].charge.amount_micro_usd.0 += 1);
    assert_eq!(findings.len(), 2, "{findings:?}");
    // Rounding up may charge attempts more than the bill; the rest is then below zero, and all is well.
    let below = |input: &mut AuditInput| {
        input.overhead[0].amount_micro_usd = MicroUsd(-20);
        input.bills.get_mut(&name("cloud")).expect("above")[0].amount_micro_usd = MicroUsd(580);
    };
    assert_eq!(found(below), [""; 0]);
}

#[test]
fn a_bill_that_grows_is_not_judged() {
    for change in
        [|input: &mut AuditInput| input.settled = false, |input: &mut AuditInput| input.bills_final = false]
    {
        let mut input = with_a_bill();
        input.overhead.clear();
        change(&mut input);
        assert_eq!(audit(&input).findings, [""; 0]);
    }
}
