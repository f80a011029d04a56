//! Each backend: somebody well serves it, nothing there is stuck, and no breaker or quota keeps it out.

use policy::waiting::utc;
use schemas::api::{BackendStatus, Presence};
use schemas::{Health, Offer};

use super::{Finding, Verdict};
use crate::words::duration;

const CHECK: &str = "backend";

/// Judges the backends by what a router sees or would see, and by the router's own rule of presence.
#[must_use]
pub fn backends(backends: &[BackendStatus], now_ms: i64) -> Vec<Finding> {
    backends.iter().flat_map(|backend| judge(backend, now_ms)).collect()
}

fn judge(backend: &BackendStatus, now_ms: i64) -> Vec<Finding> {
    let (name, mut findings) = (&backend.backend, Vec::new());
    let waiting: u64 = backend.backlog.iter().map(|class| class.jobs).sum();
    let present = || backend.workers.iter().filter(|offer| is_fresh(backend, offer));
    let well = present().filter(|offer| is_well(offer, now_ms)).count();
    // What does not work is bad where nobody else does its work.
    let verdict = if well == 0 { Verdict::Bad } else { Verdict::Warning };
    let mut add = |verdict, seen: String, cure: &str| findings.push(Finding::not(verdict, CHECK, seen, cure));
    for presence in backend.presence.iter().filter(|presence| !presence.is_fresh) {
        add(verdict, silent(backend, presence), SILENT_CURE);
    }
    for offer in present().filter(|offer| !is_well(offer, now_ms)) {
        let (seen, cure) = unwell(offer, now_ms);
        add(verdict, format!("{name}: {seen}"), &cure);
    }
    for (model, until_ms, reason) in open_breakers(backend, now_ms) {
        let of = model.map_or_else(String::new, |model| format!(" for model {model}"));
        let seen = format!("{name}: it gets no jobs{of} until {}: {reason}", utc(until_ms, now_ms));
        add(
            Verdict::Bad,
            seen,
            &format!("{}; or `argosy breakers reset {name} --why …`", breaker_cure(reason)),
        );
    }
    for stuck in &backend.stuck {
        let seen = format!(
            "{name}: {} has run attempt {}.{} ({}) for {}, and it takes {} as a rule",
            stuck.worker,
            stuck.job,
            stuck.attempt,
            stuck.class,
            duration(stuck.running_ms),
            duration(stuck.usual_ms)
        );
        let cure = format!(
            "look at the provider's queue and log, and restart it if it hangs; `argosy cancel {}` ends the job",
            stuck.job
        );
        add(Verdict::Bad, seen, &cure);
    }
    if backend.workers.is_empty() {
        let (verdict, jobs) = match waiting {
            0 => (Verdict::Warning, String::new()),
            _ => (Verdict::Bad, format!("{waiting} jobs wait and ")),
        };
        let cure = "start a worker, or take the backend out of document `policy` if it is not in use; what may go \
                    elsewhere is taken back by the routers";
        add(verdict, format!("{name}: {jobs}no worker is there"), cure);
    }
    if findings.is_empty() {
        findings
            .push(Finding::good(CHECK, format!("{name}: {well} workers, {waiting} jobs waiting or running")));
    }
    findings
}

/// As the router judged it; one of release 0.1.0 does not say.
fn is_fresh(backend: &BackendStatus, offer: &Offer) -> bool {
    let judged = backend.presence.iter().find(|presence| presence.worker == offer.worker);
    judged.is_none_or(|presence| presence.is_fresh)
}

fn is_well(offer: &Offer, now_ms: i64) -> bool {
    offer.health == Health::Healthy && offer.unavailable_until_ms.is_none_or(|until_ms| until_ms <= now_ms)
}

const SILENT_CURE: &str = "look at the worker's process: start it again if it is gone, kill and start it if it is \
                           frozen, and look at its network if it runs";

fn silent(backend: &BackendStatus, presence: &Presence) -> String {
    format!(
        "{}: worker {} has been silent for {} and gets no jobs: it was killed, is frozen, or is cut off",
        backend.backend,
        presence.worker,
        duration(presence.age_ms)
    )
}

fn unwell(offer: &Offer, now_ms: i64) -> (String, String) {
    let worker = &offer.worker;
    let reason = offer.health_reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let (state, cure) = match offer.health {
        Health::Healthy => {
            let until_ms = offer.unavailable_until_ms.unwrap_or(now_ms);
            let until = utc(until_ms, now_ms);
            let cure = format!("wait until {until}, or raise the quota at the provider");
            return (
                format!("worker {worker} gets no jobs until {until}, its quota is used up{reason}"),
                cure,
            );
        }
        Health::Down => {
            ("down", "bring the provider back: see the reason, its process, its log and its network")
        }
        Health::Stopped => {
            ("stopped", "mend the key or the billing at the provider, then restart the worker")
        }
        Health::Draining => ("draining", "wait until it has ended what it runs, or start another worker"),
        Health::Unknown => ("in a state of a newer version", "use the `argosy` of the fleet's version"),
    };
    (format!("worker {worker} is {state}{reason}"), cure.to_owned())
}

/// The breakers that are open: model, until when, and why. A router of an earlier release names one only.
fn open_breakers(backend: &BackendStatus, now_ms: i64) -> Vec<(Option<&str>, i64, &str)> {
    let mut open = Vec::new();
    for breaker in &backend.breakers {
        if let Some(until_ms) = breaker.open_until_ms.filter(|until_ms| *until_ms > now_ms) {
            let reason = breaker.reason.as_deref().unwrap_or("it failed too often");
            open.push((breaker.model.as_deref(), until_ms, reason));
        }
    }
    if let Some(until_ms) =
        backend.breaker_open_until_ms.filter(|until_ms| open.is_empty() && *until_ms > now_ms)
    {
        open.push((None, until_ms, backend.breaker_reason.as_deref().unwrap_or("it failed too often")));
    }
    open
}

/// What mends what opened a breaker; its reason begins with the failure's code.
fn breaker_cure(reason: &str) -> &'static str {
    match reason.split(':').next().unwrap_or_default() {
        "quota_exhausted" => "wait until then, or raise the quota at the provider",
        "provider_stopped" => "mend the key or the billing at the provider",
        "backend_down" => "bring the provider back; the first job that succeeds closes the breaker",
        _ => "look at why its jobs fail (`argosy jobs --state failed`); it is tried again by itself",
    }
}

#[cfg(test)]
mod tests {
    use schemas::api::{BreakerStatus, ClassBacklog, StuckAttempt};
    use schemas::breaker::BreakerKind;
    use schemas::samples;

    use super::*;

    const NOW_MS: i64 = samples::TIME_MS;

    fn local(change: impl FnOnce(&mut BackendStatus)) -> Vec<Finding> {
        let offer = samples::offer();
        let presence =
            Presence { worker: offer.worker.clone(), age_ms: 900, is_fresh: true, clock_skew_ms: 0 };
        let mut status = BackendStatus {
            backend: offer.backend.clone(),
            paid: false,
            workers: vec![offer],
            backlog: Vec::new(),
            breaker_open_until_ms: None,
            breaker_reason: None,
            breakers: Vec::new(),
            presence: vec![presence],
            stuck: Vec::new(),
        };
        change(&mut status);
        judge(&status, NOW_MS)
    }

    fn one(change: impl FnOnce(&mut BackendStatus)) -> (Verdict, String) {
        let findings = local(change);
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!(finding.cure.is_none(), finding.verdict == Verdict::Good, "{finding:?}");
        (finding.verdict, format!("{} / {}", finding.seen, finding.cure.clone().unwrap_or_default()))
    }

    #[test]
    fn a_backend_is_good_only_when_somebody_serves_it() {
        assert_eq!(one(|_| {}).0, Verdict::Good);
        let (verdict, words) = one(|status| {
            status.presence[0].is_fresh = false;
            status.presence[0].age_ms = 44_900;
        });
        assert!(verdict == Verdict::Bad && words.contains("local-1 has been silent for 44.9 s"), "{words}");
        let absent = |jobs| {
            one(|status| {
                (status.workers, status.presence) = (Vec::new(), Vec::new());
                status.backlog =
                    vec![ClassBacklog { class: samples::offer().classes[0].class.clone(), jobs }];
            })
        };
        assert_eq!(absent(0).0, Verdict::Warning);
        let (verdict, words) = absent(30);
        assert!(verdict == Verdict::Bad && words.contains("30 jobs wait and no worker is there"), "{words}");
    }

    #[test]
    fn a_second_worker_makes_a_silent_one_a_warning() {
        let findings = local(|status| {
            let second = Offer { worker: "local-2".parse().expect("a name"), ..samples::offer() };
            status.presence.push(Presence { worker: second.worker.clone(), ..status.presence[0].clone() });
            status.workers.push(second);
            status.presence[0].is_fresh = false;
        });
        assert_eq!(findings.iter().map(|one| one.verdict).collect::<Vec<_>>(), [Verdict::Warning]);
    }

    #[test]
    fn open_breakers_quotas_and_stuck_work_are_named_with_their_cure() {
        let (verdict, words) = one(|status| {
            status.breaker_open_until_ms = Some(NOW_MS + 60_000);
            status.breaker_reason = Some("quota_exhausted: 100 of 100 a day".to_owned());
        });
        assert!(verdict == Verdict::Bad && words.contains("raise the quota"), "{words}");
        let (verdict, words) = one(|status| {
            let breaker = BreakerStatus {
                kind: BreakerKind::Stopped,
                model: Some("film".to_owned()),
                consecutive_failures: 1,
                open_until_ms: Some(NOW_MS + 60_000),
                reason: Some("provider_stopped: the key is not valid".to_owned()),
            };
            status.breakers =
                vec![BreakerStatus { open_until_ms: Some(NOW_MS - 1), ..breaker.clone() }, breaker];
        });
        assert!(verdict == Verdict::Bad && words.contains("no jobs for model film until"), "{words}");
        assert!(words.contains("mend the key") && words.contains("argosy breakers reset local"), "{words}");
        let (verdict, _) = one(|status| status.breaker_open_until_ms = Some(NOW_MS - 1));
        assert_eq!(verdict, Verdict::Good, "it is closed again");
        let (verdict, words) =
            one(|status| status.workers[0].unavailable_until_ms = Some(NOW_MS + 3_600_000));
        assert!(verdict == Verdict::Bad && words.contains("its quota is used up"), "{words}");
        let (verdict, words) = one(|status| {
            status.workers[0].health = Health::Stopped;
            status.workers[0].health_reason = Some("the key is not valid".to_owned());
        });
        assert!(verdict == Verdict::Bad && words.contains("mend the key"), "{words}");
        let (verdict, words) = one(|status| {
            status.stuck = vec![StuckAttempt {
                worker: samples::offer().worker,
                job: samples::job_id(),
                attempt: 1,
                class: samples::offer().classes[0].class.clone(),
                running_ms: 94_000,
                usual_ms: 800,
            }];
        });
        assert!(
            verdict == Verdict::Bad && words.contains("1 min 34 s") && words.contains("800 ms"),
            "{words}"
        );
    }
}
