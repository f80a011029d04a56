//! `tests/tables/cost.txt`: usage into money; and what a price list may not be.

use policy::{cost, defaults};
use schemas::{MicroUsd, PriceList, Unit, Usage};

use crate::table::rows;
use crate::world::{NOW_MS, name, token};

#[test]
fn usage_into_money() {
    let prices = defaults::prices();
    for row in rows(include_str!("../tables/cost.txt")) {
        let (left, wanted) = row.split_once("=>").expect("an arrow");
        let mut words = left.split_whitespace();
        let (backend, model) = (words.next().expect("a backend"), words.next().expect("a model"));
        let usage: Vec<Usage> = words
            .map(|part| part.split_once('=').expect("unit=quantity"))
            .map(|(unit, quantity)| Usage {
                unit: token(unit),
                quantity: quantity.parse().expect("a quantity"),
            })
            .collect();
        let found = match cost::price_of(&usage, &name(backend), model, &prices, NOW_MS) {
            Ok(MicroUsd(amount)) => amount.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, wanted.trim(), "{row}");
    }
}

#[test]
fn prices_hold_from_their_first_moment_until_their_last() {
    let mut list = defaults::prices();
    list.prices.retain(|price| price.model == "ampere-24");
    list.prices[0].valid_from_ms = 100;
    list.prices[0].valid_until_ms = Some(200);
    let mut dearer = list.prices[0].clone();
    dearer.valid_from_ms = 200;
    dearer.valid_until_ms = None;
    dearer.micro_usd_per_million = MicroUsd(1_000_000);
    list.prices.push(dearer);
    cost::validate(&list).expect("one ends where the other begins");
    let usage = [Usage { unit: Unit::ExecutionMs, quantity: 1_000 }];
    let at = |ms| cost::price_of(&usage, &name("cloud"), "ampere-24", &list, ms).ok();
    assert_eq!(
        [at(99), at(100), at(199), at(200)],
        [None, Some(MicroUsd(190)), Some(MicroUsd(190)), Some(MicroUsd(1_000))]
    );
}

#[test]
fn energy_has_its_own_price() {
    let cost =
        |backend| cost::energy_cost_micro_usd(3_600_000_000, &name(backend), &defaults::prices(), NOW_MS);
    assert_eq!(cost("local"), Ok(MicroUsd(298_800)), "a kWh at about $0.30");
    let least = cost::energy_cost_micro_usd(1, &name("local"), &defaults::prices(), NOW_MS);
    assert_eq!(least, Ok(MicroUsd(1)), "the smallest part of a micro-dollar is a whole one");
    assert!(cost("cloud").is_err(), "no electricity price, no guess");
}

#[test]
fn a_list_that_could_charge_wrongly_is_refused() {
    let refuse = |change: fn(&mut PriceList)| {
        let mut list = defaults::prices();
        change(&mut list);
        cost::validate(&list).expect_err("refused").to_string()
    };
    assert_eq!(
        refuse(|list| list.prices[0].micro_usd_per_million = MicroUsd(-5)),
        "prices[0]: micro_usd_per_million is -5: it must be 0 or more"
    );
    assert_eq!(
        refuse(|list| list.prices[0].valid_until_ms = Some(list.prices[0].valid_from_ms)),
        "prices[0]: valid_until_ms must be after valid_from_ms"
    );
    assert_eq!(
        refuse(|list| list.prices[2].unit = Unit::Unknown),
        "prices[2]: unit is not known to this version"
    );
    assert_eq!(
        refuse(|list| list.prices[1] = list.prices[0].clone()),
        "prices[1]: holds at the same time as prices[0]: end that one first"
    );
}
