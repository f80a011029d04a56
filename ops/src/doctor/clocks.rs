//! Whether the clocks of the fleet's machines agree with the broker's.

use policy::clocks::{SKEW_MAX_MS, is_tolerated, words};
use schemas::api::{BackendsReply, RouterPresence};

use super::{Finding, Varz, Verdict};

const CHECK: &str = "clock";

/// Names every clock that is off by more than the fleet tolerates. Ages go by the broker's clock, so such a process works
/// on; a release before this one, deadlines that clients make, and logs go by the machine's.
#[must_use]
pub fn clocks(
    fleet: Option<&BackendsReply>,
    routers: &[RouterPresence],
    nodes: &[Varz],
    broker_ms: i64,
) -> Vec<Finding> {
    let presences = fleet.into_iter().flat_map(|fleet| &fleet.backends).flat_map(|backend| &backend.presence);
    let workers = presences
        .filter(|presence| presence.is_fresh)
        .map(|presence| (format!("worker {}", presence.worker), presence.clock_skew_ms));
    let routers = routers.iter().filter_map(|one| Some((one.router.clone(), one.clock_skew_ms?)));
    let nodes = nodes.iter().filter_map(|node| {
        let now_ms = runtime::clock::utc_ms(&node.now)?;
        Some((format!("broker node {}", node.server_name), now_ms - broker_ms))
    });
    let all: Vec<(String, i64)> = workers.chain(routers).chain(nodes).collect();
    let wrong: Vec<Finding> = all
        .iter()
        .filter(|(_, skew_ms)| !is_tolerated(*skew_ms))
        .map(|(whose, skew_ms)| {
            let seen = format!("the clock of {whose} is {}, and {SKEW_MAX_MS} ms are tolerated", words(*skew_ms));
            let cure = "set that machine's clock (run chrony or another NTP client); the broker's, if all others differ \
                        from it alike";
            Finding::not(Verdict::Bad, CHECK, seen, cure)
        })
        .collect();
    if !wrong.is_empty() {
        return wrong;
    }
    let largest = all.iter().map(|(_, skew_ms)| *skew_ms).max_by_key(|skew_ms| skew_ms.abs());
    match largest {
        None => Vec::new(),
        Some(skew_ms) => {
            vec![Finding::good(
                CHECK,
                format!("{} clocks agree, the furthest is {}", all.len(), words(skew_ms)),
            )]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(skew_ms: i64) -> RouterPresence {
        RouterPresence { router: "router-1".to_owned(), started_at_ms: 0, clock_skew_ms: Some(skew_ms) }
    }

    #[test]
    fn a_wrong_clock_is_named_on_either_side_and_a_small_difference_is_not() {
        assert_eq!(clocks(None, &[router(-4_900)], &[], 0)[0].verdict, Verdict::Good);
        let findings = clocks(None, &[router(-12_000), router(3)], &[], 0);
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert!(finding.verdict == Verdict::Bad && finding.seen.contains("12.0 s behind"), "{finding:?}");
        let node =
            Varz { server_name: "n2".to_owned(), now: "1970-01-01T01:00:00Z".to_owned(), ..Varz::default() };
        let findings = clocks(None, &[], &[node], 1_000);
        assert!(findings[0].seen.contains("node n2 is 3599.0 s ahead"), "{findings:?}");
        assert!(clocks(None, &[], &[], 0).is_empty());
    }
}
