//! What an endpoint costs beside its jobs: the estimate, the merge of what workers tell, the charge.

use policy::overhead::{
    BillUpdate, Overhead, Scaling, Served, cost_of_time, merge, overhead, standby_ms, start_and_idle_ms,
};
use policy::{cost, defaults};
use schemas::bill::{EndpointBill, first_moment_ms, utc_day};
use schemas::{MicroUsd, PriceList, Unit};

use crate::world::{NOW_MS, name};

const SCALING: Scaling = Scaling { start_ms: 30_000, idle_timeout_ms: 5_000, workers_max: 3 };

#[test]
fn starts_and_idle_time_are_estimated() {
    // Delay, pause since the worker's last job, and what is billed beside the job.
    for (delay_ms, pause_ms, wanted_ms) in [
        // The first job that was seen there: its start, and the idle timeout that follows.
        (8_000, None, 13_000),
        (0, None, 5_000),
        // A warm worker idled in between, and its timeout was counted already.
        (20, Some(0), 0),
        (3_000, Some(1_200), 1_200),
        (3_000, Some(5_000), 5_000),
        // It had stopped, and was started again.
        (8_000, Some(5_001), 13_000),
        // Clocks that differ: a pause is never negative.
        (10, Some(-400), 0),
        // Hours in the queue are no start.
        (7_200_000, None, 605_000),
        (u64::MAX, None, 605_000),
    ] {
        let served = Served {
            delay_ms,
            started_at_ms: NOW_MS,
            idle_since_ms: pause_ms.map(|pause_ms: i64| NOW_MS - pause_ms),
        };
        assert_eq!(start_and_idle_ms(served, SCALING), wanted_ms, "{delay_ms} {pause_ms:?}");
    }
    assert_eq!(standby_ms(SCALING), 3 * 35_000);
    assert_eq!(standby_ms(Scaling { start_ms: 1, ..SCALING }), 3 * 6_000, "begun seconds");
    assert_eq!(standby_ms(Scaling { workers_max: u32::MAX, start_ms: u64::MAX, ..SCALING }), u64::MAX);
}

#[test]
fn worker_time_costs_what_the_dearest_model_costs() {
    let (backend, mut prices) = (name("cloud"), defaults::prices());
    let cost = |prices: &PriceList| cost_of_time(1_001, &backend, prices, NOW_MS).map(|amount| amount.0);
    let models: Vec<i64> = prices
        .prices
        .iter()
        .filter(|price| price.backend == backend && price.unit == Unit::ExecutionMs)
        .map(|price| price.micro_usd_per_million.0 * 2_000 / 1_000_000)
        .collect();
    assert_eq!(cost(&prices).ok(), models.into_iter().max());
    prices.prices.retain(|price| price.backend != backend);
    assert!(matches!(cost(&prices), Err(cost::CostError::NoPrice { .. })), "no price, no guess");
}

#[test]
fn news_is_added_and_a_bill_never_shrinks() {
    let day = EndpointBill::new(name("cloud"), "e".to_owned(), 20_000, false);
    let news = |billed, seen, standby| BillUpdate {
        worker: Some(name("cloud-1")),
        billed,
        seen_micro_usd: MicroUsd(seen),
        standby_micro_usd: MicroUsd(standby),
        number: 0,
    };
    let bill = merge(day, &news(None, 10, 40));
    assert_eq!(
        (bill.billed_micro_usd, bill.seen_micro_usd, bill.standby_micro_usd),
        (None, MicroUsd(10), MicroUsd(40))
    );
    let bill = merge(bill, &news(Some((MicroUsd(500), 7)), 5, 20));
    let late = merge(bill.clone(), &news(Some((MicroUsd(300), 3)), 0, 0));
    assert_eq!(late, bill, "an answer that was on its way for long changes nothing");
    assert_eq!((bill.billed_micro_usd, bill.asked_at_ms), (Some(MicroUsd(500)), Some(7)));
    assert_eq!((bill.seen_micro_usd, bill.standby_micro_usd), (MicroUsd(15), MicroUsd(40)));
    let bill = merge(bill, &BillUpdate { worker: Some(name("cloud-2")), ..BillUpdate::default() });
    assert_eq!(bill.workers.len(), 2);
}

#[test]
fn an_update_that_is_written_again_is_added_once_whoever_wrote_in_between() {
    let day = EndpointBill::new(name("cloud"), "e".to_owned(), 20_000, false);
    let update = |worker: &str, number, seen| BillUpdate {
        worker: Some(name(worker)),
        seen_micro_usd: MicroUsd(seen),
        number,
        ..BillUpdate::default()
    };
    let seen = |updates: &[(&str, i64, i64)]| {
        let updates = updates.iter().map(|(worker, number, seen)| update(worker, *number, *seen));
        updates.fold(day.clone(), |bill, update| merge(bill, &update)).seen_micro_usd.0
    };
    type Updates<'a> = &'a [(&'a str, i64, i64)];
    let cases: [(Updates<'_>, i64); 5] = [
        (&[("a", 1_000, 7), ("a", 1_000, 7)], 7),
        (&[("a", 1_000, 7), ("b", 900, 5), ("a", 1_000, 7)], 12),
        (&[("a", 1_000, 7), ("a", 1_001, 7), ("a", 1_000, 7)], 14),
        // One that saw nothing says nothing of what is counted.
        (&[("a", 2_000, 0), ("a", 1_000, 7)], 7),
        // A process of an earlier version numbers nothing.
        (&[("a", 0, 7), ("a", 0, 7), ("a", -5, 1)], 15),
    ];
    for (updates, sum) in cases {
        assert_eq!(seen(updates), sum, "{updates:?}");
    }
}

#[test]
fn the_rest_of_the_bill_is_charged_and_the_estimate_is_held_until_the_bill_is_complete() {
    let day = utc_day(NOW_MS);
    let after_ms = |hours: i64| Some(first_moment_ms(day) + hours * 3_600_000);
    for (billed, asked_at_ms, attempts, amount, estimated, held) in [
        (None, None, 0, 30, true, 70),
        // More is held than is known: one more start of every worker.
        (Some(500), after_ms(10), 450, 50, false, 70),
        (Some(500), after_ms(10), 400, 100, false, 100),
        // Many short jobs, each rounded up, come to more than the bill.
        (Some(500), after_ms(10), 520, -20, false, 70),
        // The day is over, and its bill may still be on its way; then it is not.
        (Some(500), after_ms(29), 450, 50, false, 70),
        (Some(500), after_ms(30), 450, 50, false, 50),
        (Some(500), after_ms(30), 520, -20, false, 0),
    ] {
        let bill = EndpointBill {
            billed_micro_usd: billed.map(MicroUsd),
            asked_at_ms,
            seen_micro_usd: MicroUsd(30),
            standby_micro_usd: MicroUsd(40),
            ..EndpointBill::new(name("cloud"), "e".to_owned(), day, false)
        };
        let wanted =
            Overhead { amount_micro_usd: MicroUsd(amount), estimated, held_micro_usd: MicroUsd(held) };
        assert_eq!(overhead(&bill, MicroUsd(attempts)), wanted, "{billed:?} {asked_at_ms:?} {attempts}");
    }
}
