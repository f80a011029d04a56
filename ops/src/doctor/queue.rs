//! Routers, ledger, what waits in the lanes, what is parked, and the processes of the folder's own fleet.

use schemas::api::{BackendsReply, LaneStatus, RouterPresence, StalledConsumer};
use schemas::{Health, WorkerId};
use stack::Holder;

use super::{Finding, Verdict};
use crate::words::duration;

/// Events that the ledger may be behind before somebody should look.
const LEDGER_BEHIND: u64 = 10_000;

/// A job that has waited in its lane for longer than this is looked at, milliseconds.
const WAITED_LONG_MS: u64 = 10 * 60 * 1_000;

/// What came of a question to processes behind the broker.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked<T> {
    /// One answered.
    Answered(T),
    /// None is connected.
    Absent,
    /// One is connected, and does not answer in time.
    Silent,
    /// It answered that it cannot.
    Refused(String),
}

impl<T> Asked<T> {
    /// The answer, if there is one.
    #[must_use]
    pub const fn answer(&self) -> Option<&T> {
        match self {
            Self::Answered(answer) => Some(answer),
            Self::Absent | Self::Silent | Self::Refused(_) => None,
        }
    }
}

/// Whether routers take jobs: those that answer, against those that the broker has connections of.
#[must_use]
pub fn routers(
    asked: &Asked<BackendsReply>,
    answered: &[RouterPresence],
    connected: Option<usize>,
) -> Finding {
    const CHECK: &str = "router";
    let count = answered.len().max(usize::from(asked.answer().is_some()));
    let frozen = "look at the process and the log of the one that does not answer; kill it and start it again if it is \
                  frozen";
    match (asked, connected) {
        (_, Some(connected)) if count > 0 && connected > count => {
            let seen = format!(
                "{count} of {connected} routers answer: the others are frozen or cut off, or of 0.1.0"
            );
            Finding::not(Verdict::Bad, CHECK, seen, frozen)
        }
        (_, _) if count > 0 => Finding::good(CHECK, format!("{count} routers answer")),
        (Asked::Silent, _) => Finding::not(
            Verdict::Bad,
            CHECK,
            "no router answers: those that are there are frozen or cut off",
            frozen,
        ),
        (Asked::Refused(words), _) => {
            Finding::not(Verdict::Bad, CHECK, format!("it refuses to answer: {words}"), "look at its log")
        }
        (_, _) => Finding::not(
            Verdict::Bad,
            CHECK,
            "no router is there: accepted jobs wait in their lanes",
            "start a router",
        ),
    }
}

/// Whether the ledger grants reservations and keeps up; `asked` holds why it cannot grant any, if it said so.
#[must_use]
pub fn ledger(asked: &Asked<Option<String>>, behind: Option<u64>) -> Finding {
    const CHECK: &str = "ledger";
    let waits = "it grants no reservations: paid work waits, free work goes on";
    let cure = "look at its log and its database";
    match asked {
        Asked::Absent => {
            Finding::not(Verdict::Bad, CHECK, format!("no ledger is there; {waits}"), "start the ledger")
        }
        Asked::Silent => {
            let cure = "look at the ledger's process and at its database; kill and start what is frozen";
            Finding::not(
                Verdict::Bad,
                CHECK,
                format!("it does not answer: it or its database hangs; {waits}"),
                cure,
            )
        }
        Asked::Refused(words) | Asked::Answered(Some(words)) => {
            Finding::not(Verdict::Bad, CHECK, format!("{words}; {waits}"), cure)
        }
        Asked::Answered(None) => match behind {
            Some(behind) if behind > LEDGER_BEHIND => Finding::not(
                Verdict::Warning,
                CHECK,
                format!("{behind} events are not booked yet"),
                "it catches up by itself; if not, look at the database's load",
            ),
            _ => Finding::good(CHECK, "it grants reservations and keeps up"),
        },
    }
}

/// What waits in the lanes, and whether anybody is there to do it.
#[must_use]
pub fn queue(lanes: &[LaneStatus], asked: &Asked<BackendsReply>) -> Finding {
    const CHECK: &str = "queue";
    let jobs: u64 = lanes.iter().map(|lane| lane.jobs).sum();
    if jobs == 0 {
        return Finding::good(CHECK, "no job waits in a lane");
    }
    let oldest_ms = lanes.iter().filter_map(|lane| lane.oldest_age_ms).max().unwrap_or_default();
    let by_lane: Vec<String> = lanes
        .iter()
        .filter(|lane| lane.jobs > 0)
        .map(|lane| {
            let oldest = lane.oldest_age_ms.map(duration).unwrap_or_default();
            format!("{} {} (the oldest for {oldest})", lane.lane.as_str(), lane.jobs)
        })
        .collect();
    let seen = format!("{jobs} jobs wait: {}", by_lane.join(", "));
    let Some(fleet) = asked.answer() else {
        return Finding::not(Verdict::Bad, CHECK, format!("{seen}; no router places them"), "start a router");
    };
    let workers = fleet.backends.iter().flat_map(|backend| {
        let is_fresh = |worker: &WorkerId| {
            let judged = backend.presence.iter().find(|presence| presence.worker == *worker);
            judged.is_none_or(|presence| presence.is_fresh)
        };
        backend.workers.iter().filter(move |offer| is_fresh(&offer.worker))
    });
    if workers.filter(|offer| offer.health == Health::Healthy).count() == 0 {
        let cure = "start a worker, or mend what the rows of the backends name";
        return Finding::not(Verdict::Bad, CHECK, format!("{seen}; no worker takes jobs"), cure);
    }
    if oldest_ms > WAITED_LONG_MS {
        let cure = "add workers, or raise what they wait for: `argosy explain <job>` says what one waits for";
        return Finding::not(Verdict::Warning, CHECK, seen, cure);
    }
    Finding::good(CHECK, seen)
}

/// Consumers that do not deliver again what nobody has in hand, one finding for each.
#[must_use]
pub fn deliveries(stalled: &[StalledConsumer], now_ms: i64) -> Vec<Finding> {
    let finding = |stalled: &StalledConsumer| {
        let StalledConsumer { stream, consumer, messages, since_ms } = stalled;
        let since = duration(now_ms.saturating_sub(*since_ms).max(0).unsigned_abs());
        let seen = format!(
            "consumer {consumer} of {stream}: {messages} messages were delivered, and nobody has had them for {since}"
        );
        let cure = format!(
            "routers have the broker choose another leader for it every minute; where it stays, delete the consumer \
             (`nats consumer rm {stream} {consumer}`): it is made anew and delivers everything"
        );
        Finding::not(Verdict::Bad, "deliveries", seen, cure)
    };
    stalled.iter().map(finding).collect()
}

/// What is parked: `newest` says when and why the newest was.
#[must_use]
pub fn parked(messages: u64, newest: Option<&str>) -> Finding {
    const CHECK: &str = "parked";
    if messages == 0 {
        return Finding::good(CHECK, "nothing is parked");
    }
    let newest = newest.map(|newest| format!("; the newest: {newest}")).unwrap_or_default();
    let cure =
        "`argosy parked causes` groups them: redrive what is worth it, and discard the rest with a reason";
    Finding::not(
        Verdict::Warning,
        CHECK,
        format!("{messages} messages failed for good or could not be read{newest}"),
        cure,
    )
}

/// A process of the folder's own fleet that does not answer on its page, or says that it is not ready.
#[must_use]
pub fn process(name: &str, pid: u32, holder: Holder, page: &Asked<()>) -> Option<Finding> {
    const CHECK: &str = "process";
    let log = format!("see the log of {name}");
    // A page that answers is that of the process that was started in its place.
    if holder != Holder::Same && *page != Asked::Answered(()) {
        let seen = match holder {
            Holder::Stranger => format!("{name} is gone, and its pid {pid} is another process's by now"),
            _ => format!("{name} (pid {pid}) is gone"),
        };
        return Some(Finding::not(Verdict::Bad, CHECK, seen, format!("start it again; {log}")));
    }
    match page {
        Asked::Answered(()) => None,
        Asked::Absent => Some(Finding::not(
            Verdict::Bad,
            CHECK,
            format!("{name} (pid {pid}) is gone: nothing listens on its page"),
            format!("start it again; {log}"),
        )),
        Asked::Silent => Some(Finding::not(
            Verdict::Bad,
            CHECK,
            format!("{name} (pid {pid}) is there and does not answer: it is frozen or hangs"),
            format!("`kill -CONT {pid}`, or kill it and start it again; {log}"),
        )),
        Asked::Refused(words) => Some(Finding::not(
            Verdict::Warning,
            CHECK,
            format!("{name} (pid {pid}) is not ready: {words}"),
            log,
        )),
    }
}

#[cfg(test)]
mod tests {
    use schemas::api::BackendStatus;
    use schemas::{Lane, samples};

    use super::*;

    #[test]
    fn the_pid_of_another_process_is_never_to_be_killed() {
        let refused = || Asked::Refused("no broker".to_owned());
        let table = [
            (Holder::Same, Asked::Answered(()), None),
            (Holder::Same, Asked::Silent, Some("is there and does not answer")),
            (Holder::Same, refused(), Some("is not ready")),
            (Holder::Gone, Asked::Absent, Some("r (pid 7) is gone")),
            (Holder::Stranger, Asked::Absent, Some("its pid 7 is another process's by now")),
            (Holder::Stranger, Asked::Silent, Some("its pid 7 is another process's by now")),
            (Holder::Gone, Asked::Answered(()), None),
        ];
        for (holder, page, seen) in table {
            let found = process("r", 7, holder, &page);
            let words = found.as_ref().map(|finding| finding.seen.as_str());
            assert!(words.is_some() == seen.is_some(), "{holder:?} {page:?}: {words:?}");
            assert!(
                words.unwrap_or_default().contains(seen.unwrap_or_default()),
                "{holder:?} {page:?}: {words:?}"
            );
            let cure = found.and_then(|finding| finding.cure).unwrap_or_default();
            assert!(holder == Holder::Same || !cure.contains("kill"), "{holder:?} {page:?}: {cure}");
        }
    }

    fn reply(workers: bool) -> Asked<BackendsReply> {
        let offer = samples::offer();
        let backend = BackendStatus {
            backend: offer.backend.clone(),
            paid: false,
            workers: if workers { vec![offer] } else { Vec::new() },
            backlog: Vec::new(),
            breaker_open_until_ms: None,
            breaker_reason: None,
            breakers: Vec::new(),
            presence: Vec::new(),
            stuck: Vec::new(),
        };
        Asked::Answered(BackendsReply {
            time_ms: samples::TIME_MS,
            backends: vec![backend],
            ledger_available: true,
            lanes: Vec::new(),
            stalled: Vec::new(),
            clock_skew_ms: None,
        })
    }

    fn standard(jobs: u64, oldest_age_ms: u64) -> [LaneStatus; 1] {
        [LaneStatus { lane: Lane::Standard, jobs, oldest_age_ms: Some(oldest_age_ms) }]
    }

    #[test]
    fn jobs_that_nobody_does_are_an_error_with_the_cure() {
        assert_eq!(queue(&standard(0, 0), &Asked::Absent).verdict, Verdict::Good);
        let no_worker = queue(&standard(30, 120_000), &reply(false));
        assert!(
            no_worker.verdict == Verdict::Bad && no_worker.seen.contains("30 jobs wait"),
            "{no_worker:?}"
        );
        assert!(no_worker.cure.is_some_and(|cure| cure.contains("start a worker")));
        assert_eq!(queue(&standard(30, 120_000), &Asked::Silent).verdict, Verdict::Bad);
        assert_eq!(queue(&standard(30, 120_000), &reply(true)).verdict, Verdict::Good);
        assert_eq!(queue(&standard(1, 3_600_000), &reply(true)).verdict, Verdict::Warning);
    }

    #[test]
    fn routers_are_counted_against_connections() {
        let one = RouterPresence { router: "router-1".to_owned(), started_at_ms: 0, clock_skew_ms: None };
        let all = [one.clone(), RouterPresence { router: "router-2".to_owned(), ..one.clone() }];
        assert_eq!(routers(&reply(true), &all, Some(2)).verdict, Verdict::Good);
        let frozen = routers(&reply(true), std::slice::from_ref(&one), Some(2));
        assert!(frozen.verdict == Verdict::Bad && frozen.seen.contains("1 of 2"), "{frozen:?}");
        assert_eq!(
            routers(&Asked::Silent, &[one], None).verdict,
            Verdict::Good,
            "the question met the frozen one"
        );
        for (asked, words) in [(Asked::Silent, "frozen"), (Asked::Absent, "no router is there")] {
            let finding = routers(&asked, &[], None);
            assert!(finding.verdict == Verdict::Bad && finding.seen.contains(words), "{finding:?}");
        }
    }

    #[test]
    fn the_ledger_is_judged_by_its_own_answer() {
        assert_eq!(ledger(&Asked::Answered(None), Some(3)).verdict, Verdict::Good);
        assert_eq!(ledger(&Asked::Answered(None), Some(LEDGER_BEHIND + 1)).verdict, Verdict::Warning);
        for asked in [Asked::Absent, Asked::Silent, Asked::Answered(Some("the database is away".to_owned()))]
        {
            assert_eq!(ledger(&asked, Some(0)).verdict, Verdict::Bad, "{asked:?}");
        }
    }

    #[test]
    fn what_is_not_delivered_again_is_named_with_its_consumer() {
        assert_eq!(deliveries(&[], 0), []);
        let stalled = StalledConsumer {
            stream: "WORK".to_owned(),
            consumer: "cloud-image-small".to_owned(),
            messages: 1,
            since_ms: 10_000,
        };
        let findings = deliveries(&[stalled], 130_000);
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert!(finding.verdict == Verdict::Bad && finding.seen.contains("for 2 min"), "{finding:?}");
        let cure = finding.cure.as_deref().unwrap_or_default();
        assert!(cure.contains("nats consumer rm WORK cloud-image-small"), "{cure}");
    }

    #[test]
    fn what_is_parked_is_reported() {
        assert_eq!(parked(0, None).verdict, Verdict::Good);
        let finding = parked(2, Some("3 min 0 s ago, poison"));
        assert!(finding.verdict == Verdict::Warning && finding.seen.contains("poison"), "{finding:?}");
    }
}
