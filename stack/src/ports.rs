//! Which port each part of a fleet that stays listens on: what was asked for, else what this folder had before, else its
//! place in a fixed plan of consecutive ports. Whoever else has a port keeps it; the next free one is taken.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The first port of the plan; it is the broker's, where every client of NATS looks for one.
pub const FIRST_PORT: u16 = 4222;

/// Those of which a fleet has one: how far behind the first port each listens.
const SINGLE: [(&str, u16); 10] = [
    ("broker", 0),
    ("monitor", 1),
    ("database", 2),
    ("ledger", 3),
    ("worker-cloud", 4),
    ("worker-cloud-reports", 5),
    ("worker-gemini", 6),
    ("worker-gemini-reports", 7),
    ("simulator-runpod", 8),
    ("simulator-gemini", 9),
];
/// Those of which it has several: where the first listens, and for how many there is room.
const SEVERAL: [(&str, u16, u16); 3] =
    [("router", 10, 10), ("worker-local", 20, 20), ("simulator-comfyui", 40, 20)];
/// Where the plan ends: what has no place of its own takes the next free port from here.
const END: u16 = 60;

/// Ports by the names of what listens there. What has no name here listens on any free port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports(BTreeMap<String, u16>);

impl Ports {
    /// The port of one.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<u16> {
        self.0.get(name).copied()
    }

    /// These, and of the others what is not named here.
    #[must_use]
    pub fn over(self, others: &Self) -> Self {
        let mut all = others.clone();
        all.0.extend(self.0);
        all
    }
}

impl FromIterator<(String, u16)> for Ports {
    fn from_iter<I: IntoIterator<Item = (String, u16)>>(ports: I) -> Self {
        Self(ports.into_iter().collect())
    }
}

/// What is wished for.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// The plan anew from this port, whatever the folder had before.
    pub first: Option<u16>,
    /// Ports that somebody asked for by name.
    pub asked: Ports,
    /// What the folder had before.
    pub remembered: Ports,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// A port for each.
    pub ports: Ports,
    /// Those that did not get the port that was meant for them.
    pub moved: Vec<Moved>,
}

/// One that listens elsewhere than it was meant to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Its name.
    pub name: String,
    /// The port that was taken.
    pub from: u16,
    /// Its port.
    pub to: u16,
}

/// A wish that cannot be granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Nothing of that name listens.
    #[error("nothing of this fleet is called `{name}`: ports have {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// Two ask for the same.
    #[error("port {port} is asked for twice: by {one} and by {other}")]
    Twice {
        /// The port.
        port: u16,
        /// The first.
        one: String,
        /// The second.
        other: String,
    },
    /// A port that was asked for is not to be had.
    #[error("port {port}, asked for {name}, is in use or not allowed: stop what uses it, or ask for another")]
    Taken {
        /// Whose it was to be.
        name: String,
        /// The port.
        port: u16,
    },
    /// All are taken.
    #[error("no port from {from} on is free for {name}: give a lower one with --first-port")]
    None {
        /// Who has none.
        name: String,
        /// Where the search began.
        from: u16,
    },
}

/// A port for each of these. One that was asked for is had or refused; of the others each gets the one that it had, else
/// its place in the plan, else the next one that is free and meant for nobody.
///
/// # Errors
/// A name that nothing has, or a port that is not to be had.
pub fn choose(names: &[String], wishes: &Wishes, is_free: impl Fn(u16) -> bool) -> Result<Choice, PortError> {
    if let Some(name) = wishes.asked.0.keys().find(|name| !names.contains(name)) {
        return Err(PortError::Unknown { name: name.clone(), known: names.join(", ") });
    }
    let remembered = if wishes.first.is_some() { &BTreeMap::new() } else { &wishes.remembered.0 };
    let first = wishes.first.unwrap_or(FIRST_PORT);
    let meant = |name: &str| remembered.get(name).copied().unwrap_or_else(|| planned(name, first));
    // Kept for those that have them, also where they do not run this time.
    let kept: BTreeSet<u16> =
        names.iter().map(|name| meant(name)).chain(remembered.values().copied()).collect();
    let mut chosen: BTreeMap<u16, &String> = BTreeMap::new();
    for (name, &port) in &wishes.asked.0 {
        if let Some(one) = chosen.insert(port, name) {
            return Err(PortError::Twice { port, one: one.clone(), other: name.clone() });
        }
        if !is_free(port) {
            return Err(PortError::Taken { name: name.clone(), port });
        }
    }
    let mut moved = Vec::new();
    // What the folder had before comes before what is new in it.
    let (had, new): (Vec<_>, Vec<_>) = names
        .iter()
        .filter(|name| wishes.asked.of(name).is_none())
        .partition(|name| remembered.contains_key(*name));
    for name in had.into_iter().chain(new) {
        let from = meant(name);
        let is_ours = |port: &u16| !chosen.contains_key(port) && is_free(*port);
        let port = match Some(from).filter(is_ours) {
            Some(port) => port,
            None => {
                let to = (from..=u16::MAX).filter(|port| !kept.contains(port)).find(is_ours);
                let to = to.ok_or_else(|| PortError::None { name: name.clone(), from })?;
                moved.push(Moved { name: name.clone(), from, to });
                to
            }
        };
        chosen.insert(port, name);
    }
    Ok(Choice { ports: chosen.into_iter().map(|(port, name)| (name.clone(), port)).collect(), moved })
}

/// Its place in the plan.
fn planned(name: &str, first: u16) -> u16 {
    let single = SINGLE.iter().find(|(one, _)| *one == name).map(|(_, behind)| *behind);
    let several = || {
        let (kind, nth) = name.rsplit_once('-')?;
        let (_, start, room) = SEVERAL.iter().find(|(one, _, _)| *one == kind)?;
        let index = nth.parse::<u16>().ok()?.checked_sub(1)?;
        (index < *room).then_some(start + index)
    };
    first.saturating_add(single.or_else(several).unwrap_or(END))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, from, to.
    type Moves = (String, u16, u16);
    /// What is shown, the wishes, what others have; ports and moves that are expected.
    type Row<'a> = (&'a str, &'a Wishes, &'a [u16], [u16; 4], Vec<Moves>);

    fn ports(of: &[(&str, u16)]) -> Ports {
        of.iter().map(|(name, port)| ((*name).to_owned(), *port)).collect()
    }

    fn chosen(names: &[&str], wishes: &Wishes, taken: &[u16]) -> Result<(Vec<u16>, Vec<Moves>), PortError> {
        let all: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let choice = choose(&all, wishes, |port| !taken.contains(&port))?;
        let of = names.iter().map(|name| choice.ports.of(name).expect("each has one"));
        let moved = choice.moved.iter().map(|moved| (moved.name.clone(), moved.from, moved.to));
        Ok((of.collect(), moved.collect()))
    }

    #[test]
    fn each_has_its_place_in_the_plan() {
        let table = [
            ("broker", 4222),
            ("monitor", 4223),
            ("database", 4224),
            ("ledger", 4225),
            ("worker-cloud", 4226),
            ("worker-gemini-reports", 4229),
            ("simulator-gemini", 4231),
            ("router-1", 4232),
            ("router-10", 4241),
            ("worker-local-1", 4242),
            ("worker-local-20", 4261),
            ("simulator-comfyui-1", 4262),
            ("simulator-comfyui-20", 4281),
            // No room for more: the end of the plan.
            ("router-11", 4282),
            ("worker-local-21", 4282),
        ];
        for (name, port) in table {
            assert_eq!(planned(name, FIRST_PORT), port, "{name}");
        }
        let places: BTreeSet<u16> = SINGLE.iter().map(|(_, behind)| *behind).collect();
        assert_eq!(places.len(), SINGLE.len());
        let mut end = SINGLE.len() as u16;
        for (kind, start, room) in SEVERAL {
            assert_eq!(start, end, "{kind}: one row follows the other");
            end = start + room;
        }
        assert_eq!(end, END);
    }

    #[test]
    fn the_port_is_the_one_asked_for_or_had_or_planned_or_the_next_free_one() {
        let plain = Wishes::default();
        let had =
            Wishes { remembered: ports(&[("broker", 5000), ("worker-cloud", 4233)]), ..Wishes::default() };
        let asked = Wishes { asked: ports(&[("broker", 4224)]), ..had.clone() };
        let anew = Wishes { first: Some(7000), ..had.clone() };
        let names = ["broker", "monitor", "database", "router-1"];
        let moved = |name: &str, from, to| (name.to_owned(), from, to);
        let table: [Row<'_>; 8] = [
            ("the plan", &plain, &[], [4222, 4223, 4224, 4232], vec![]),
            (
                "taken: the next that is free and meant for nobody",
                &plain,
                &[4222, 4225],
                [4226, 4223, 4224, 4232],
                vec![moved("broker", 4222, 4226)],
            ),
            (
                "two are taken",
                &plain,
                &[4223, 4224],
                [4222, 4225, 4226, 4232],
                vec![moved("monitor", 4223, 4225), moved("database", 4224, 4226)],
            ),
            ("as before", &had, &[4222], [5000, 4223, 4224, 4232], vec![]),
            (
                "what does not run this time keeps its port",
                &had,
                &[4232],
                [5000, 4223, 4224, 4234],
                vec![moved("router-1", 4232, 4234)],
            ),
            (
                "what was had is taken",
                &had,
                &[5000],
                [5001, 4223, 4224, 4232],
                vec![moved("broker", 5000, 5001)],
            ),
            (
                "asked for, and so taken for another",
                &asked,
                &[],
                [4224, 4223, 4225, 4232],
                vec![moved("database", 4224, 4225)],
            ),
            ("anew", &anew, &[], [7000, 7001, 7002, 7010], vec![]),
        ];
        for (what, wishes, taken, expected, moves) in table {
            let (found, moved) = chosen(&names, wishes, taken).expect(what);
            assert_eq!((found, moved), (expected.to_vec(), moves), "{what}");
        }
    }

    #[test]
    fn what_was_asked_for_is_had_or_refused() {
        let names = ["broker", "monitor"];
        let asked = |of: &[(&str, u16)]| Wishes { asked: ports(of), ..Wishes::default() };
        let words =
            |wishes: &Wishes, taken: &[u16]| chosen(&names, wishes, taken).expect_err("refused").to_string();
        let taken = words(&asked(&[("broker", 80)]), &[80]);
        assert!(taken.starts_with("port 80, asked for broker, is in use"), "{taken}");
        let unknown = words(&asked(&[("brokr", 80)]), &[]);
        assert_eq!(unknown, "nothing of this fleet is called `brokr`: ports have broker, monitor");
        let twice = words(&asked(&[("broker", 80), ("monitor", 80)]), &[]);
        assert_eq!(twice, "port 80 is asked for twice: by broker and by monitor");
        let all: Vec<u16> = (60_000..=u16::MAX).collect();
        let none = words(&Wishes { first: Some(60_000), ..Wishes::default() }, &all);
        assert!(none.starts_with("no port from 60000 on is free for broker"), "{none}");
    }

    #[test]
    fn nothing_is_chosen_twice() {
        let names: Vec<String> = (1..=30).map(|nth| format!("worker-local-{nth}")).collect();
        let choice = choose(&names, &Wishes::default(), |port| port % 3 != 0).expect("room");
        let of: BTreeSet<u16> = names.iter().filter_map(|name| choice.ports.of(name)).collect();
        assert_eq!(of.len(), names.len());
        assert!(of.iter().all(|port| port % 3 != 0), "{of:?}");
        let again = Wishes { remembered: choice.ports.clone(), ..Wishes::default() };
        let again = choose(&names, &again, |_| true).expect("room");
        assert_eq!((again.ports, again.moved), (choice.ports, vec![]), "a restart has the same");
    }
}
