//! In which order the processes of a fleet are replaced: as `CHANGELOG.md` tells whoever upgrades one.

use anyhow::Context as _;
use stack::Role;

/// What the people who run Argosy read.
const CHANGELOG: &str = include_str!("../../../CHANGELOG.md");
/// The beginning of the line that gives the order. The topmost one counts: it is the newest.
const BEGINNING: &str = "To go to this version:";

/// Processes that are replaced one after the other before the next part's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The ledger.
    Ledger,
    /// All routers.
    Routers,
    /// All workers.
    Workers,
}

impl Part {
    /// All parts, in no order that means something.
    const ALL: [Self; 3] = [Self::Ledger, Self::Routers, Self::Workers];

    /// Its word in the changelog.
    const fn word(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Routers => "routers",
            Self::Workers => "workers",
        }
    }

    /// The part that a process belongs to; none for a simulator, which is not replaced.
    #[must_use]
    pub const fn of(role: Role) -> Option<Self> {
        match role {
            Role::Simulator => None,
            Role::Ledger => Some(Self::Ledger),
            Role::Router => Some(Self::Routers),
            Role::WorkerLocal | Role::WorkerCloud | Role::WorkerGemini => Some(Self::Workers),
        }
    }
}

/// The order in which one goes from the recorded release to this state.
///
/// # Errors
/// The changelog does not give it.
pub fn documented() -> anyhow::Result<Vec<Part>> {
    order(CHANGELOG)
}

/// The order that a changelog gives: that in which its topmost line of an upgrade first names the parts.
fn order(changelog: &str) -> anyhow::Result<Vec<Part>> {
    let after = changelog.split_once(BEGINNING).map(|(_, after)| after);
    let line = after.and_then(|after| after.lines().next());
    let line = line.with_context(|| format!("CHANGELOG.md has no line `{BEGINNING}`"))?;
    let mut found = Vec::new();
    for part in Part::ALL {
        let word = part.word();
        let at = line.find(word);
        let at = at.with_context(|| {
            format!("CHANGELOG.md: the topmost line `{BEGINNING}` does not name the {word}; add their turn")
        })?;
        found.push((at, part));
    }
    found.sort_unstable_by_key(|(at, _)| *at);
    Ok(found.into_iter().map(|(_, part)| part).collect())
}

/// The processes of a fleet in that order, by name; those of a part as they stand in the fleet.
#[must_use]
pub fn names(order: &[Part], fleet: &[(&str, Role)]) -> Vec<String> {
    let of = |part: &Part| {
        let of_part = fleet.iter().filter(|(_, role)| Part::of(*role) == Some(*part));
        of_part.map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>()
    };
    order.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_the_one_of_the_topmost_line() {
        let changelog = "# Changelog\n\n- **Added:** ledger, workers, routers.\n- To go to this version: replace the \
            routers first, then the ledger, then the workers, before the routers' next start.\n\n## 0.1.0\n\n\
            - To go to this version: replace the ledger first, then the workers, then all routers together.\n";
        assert_eq!(order(changelog).expect("given"), [Part::Routers, Part::Ledger, Part::Workers]);
        let (_, older) = changelog.split_once("0.1.0").expect("there");
        assert_eq!(order(older).expect("given"), [Part::Ledger, Part::Workers, Part::Routers]);
        let silent = order("- To go to this version: stop the routers and the ledger.\nThen the workers.\n");
        assert!(silent.expect_err("no workers").to_string().contains("does not name the workers"));
        assert!(order("# Changelog\n").expect_err("no line").to_string().contains("has no line"));
    }

    #[test]
    fn a_fleet_is_replaced_in_that_order() {
        let documented = documented().expect("the changelog of this state gives it");
        assert!(Part::ALL.iter().all(|part| documented.contains(part)), "{documented:?}");
        let fleet = [
            ("simulator-gemini", Role::Simulator),
            ("worker-gemini", Role::WorkerGemini),
            ("router-1", Role::Router),
            ("worker-local-1", Role::WorkerLocal),
            ("router-2", Role::Router),
            ("worker-cloud", Role::WorkerCloud),
            ("ledger", Role::Ledger),
        ];
        let all = names(&[Part::Ledger, Part::Routers, Part::Workers], &fleet);
        let expected = ["ledger", "router-1", "router-2", "worker-gemini", "worker-local-1", "worker-cloud"];
        assert_eq!(all, expected);
    }
}
