//! What is shipped is not written down a second time in the simulations: figures of the topology and of the routers'
//! rhythm are taken from where they stand.

use std::collections::BTreeSet;

use tests::fleet::root;

use super::{read, sources};

/// The files whose figures the simulations go by.
const SHIPPED: [&str; 4] = [
    "protocol/src/ports.rs",
    "protocol/src/router/rhythm.rs",
    "schemas/src/calendar.rs",
    "schemas/src/topology.rs",
];

/// The folders of the simulations.
const SIMULATIONS: [&str; 3] = ["simulation/src/", "tests/src/model", "tests/src/simulation"];

/// The constants of a text that are declared so, with what they are, without the unit in the name.
fn constants<'a>(text: &'a str, marker: &'static str) -> impl Iterator<Item = (&'a str, &'a str)> {
    text.lines().filter_map(move |line| {
        let (head, value) = line.split_once(" = ")?;
        let named = head.split_once(marker)?.1;
        let (name, _) = named.split_once(':')?;
        Some((name.strip_suffix("_MS").unwrap_or(name), value))
    })
}

#[test]
fn the_simulations_take_the_shipped_figures() {
    let shipped: Vec<String> = SHIPPED.into_iter().map(read).collect();
    let figures: BTreeSet<&str> = shipped
        .iter()
        .flat_map(|text| constants(text, "pub const "))
        .filter(|(_, value)| {
            value.contains(|letter: char| letter.is_ascii_digit()) && !value.starts_with('"')
        })
        .map(|(name, _)| name)
        .collect();
    for known in ["CLAIMS_KEPT", "BACKLOG_EVERY", "DAY", "PUBLISH_AGAIN_MAX"] {
        assert!(figures.contains(known), "{known} is missing in {figures:?}");
    }
    for path in sources() {
        let shown = path.strip_prefix(root()).expect("below the root").display().to_string();
        if !SIMULATIONS.iter().any(|of| shown.starts_with(of)) {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("readable");
        for (name, value) in constants(&text, "const ") {
            let is_written_again =
                figures.contains(name) && value.starts_with(|letter: char| letter.is_ascii_digit());
            assert!(
                !is_written_again,
                "{shown}: {name} = {value} stands in the shipped code: take it from there"
            );
        }
    }
}
