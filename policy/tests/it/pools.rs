//! The pools of a schedule, read from the fleet as a router sees it.

use policy::defaults;
use policy::fleet::Fleet;
use policy::schedule::{Pool, pools};
use schemas::breaker::{BreakerKind, BreakerRecord};
use schemas::{Health, Offer, Queue, RunningAttempt, samples};

use crate::world::{NOW_MS, name, offer};

const LARGE: &str = "image-large";
/// What the catalog expects of it at `local`, start-up included.
const LARGE_MS: i64 = 12_000;

fn found(offers: Vec<Offer>, backlog: u64, ahead_ms: u64) -> Vec<Pool> {
    let mut fleet = Fleet::default();
    offers.into_iter().for_each(|offer| fleet.upsert_offer(offer, NOW_MS));
    fleet.set_backlog(&name("local"), Queue::of_class(name(LARGE)), backlog);
    pools(&fleet, &defaults::policy(), &defaults::catalog(), ahead_ms, NOW_MS).pools
}

fn running(running_ms: u64) -> RunningAttempt {
    RunningAttempt { job: samples::job_id(), attempt: 1, class: name(LARGE), running_ms }
}

#[test]
fn what_runs_and_what_waits_takes_slots() {
    let free = |offer: Offer, backlog| found(vec![offer], backlog, 1)[0].clone();
    let idle = free(offer("local-1", "local", 2), 0);
    assert_eq!((idle.free_at_ms, idle.is_paid, idle.ahead), (vec![NOW_MS; 2], false, 2));
    let busy = || Offer { running: vec![running(2_000)], ..offer("local-1", "local", 2) };
    assert_eq!(free(busy(), 1).free_at_ms, [NOW_MS, NOW_MS + LARGE_MS - 2_000]);
    // One more is bound and takes the free slot; it is not ahead of anything.
    let two = free(busy(), 2);
    assert_eq!((two.free_at_ms, two.ahead), (vec![NOW_MS + LARGE_MS - 2_000, NOW_MS + LARGE_MS], 2));
    // The next is.
    let three = free(busy(), 3);
    assert_eq!((three.free_at_ms, three.ahead), (vec![NOW_MS + LARGE_MS, NOW_MS + 2 * LARGE_MS - 2_000], 1));
    // What overruns is not taken to end at once.
    let over = Offer { running: vec![running(60_000)], ..offer("local-1", "local", 1) };
    assert_eq!(free(over, 1).free_at_ms, [NOW_MS + LARGE_MS / 10]);
}

/// For how long a worker that is out is taken to stay out, milliseconds.
const OUT_MS: i64 = 120_000;

#[test]
fn who_is_not_well_has_slots_later_and_who_is_paid_gets_nothing_ahead() {
    let down = Offer { health: Health::Down, ..offer("local-1", "local", 2) };
    let offers = vec![down, offer("local-2", "local", 1), offer("cloud-1", "cloud", 5)];
    let found = found(offers, 0, 1);
    assert_eq!(found[0].free_at_ms, [NOW_MS, NOW_MS + OUT_MS, NOW_MS + OUT_MS]);
    assert_eq!(found.iter().map(|pool| pool.free_at_ms.len()).collect::<Vec<_>>(), [3, 5, 0]);
    assert_eq!(
        found.iter().map(|pool| (pool.is_paid, pool.ahead)).collect::<Vec<_>>(),
        [(false, 1), (true, 0), (true, 0)]
    );
}

#[test]
fn when_a_worker_is_expected_back_depends_on_why_it_is_out() {
    let free = |change: &dyn Fn(&mut Offer), told_ms_ago: i64| {
        let mut worker = offer("local-1", "local", 1);
        change(&mut worker);
        let mut fleet = Fleet::default();
        fleet.upsert_offer(worker, NOW_MS - told_ms_ago);
        pools(&fleet, &defaults::policy(), &defaults::catalog(), 1, NOW_MS).pools[0].free_at_ms.clone()
    };
    assert_eq!(free(&|_| {}, 9_000), [NOW_MS]);
    // It fell silent: the longer, the longer it is taken to stay so; then it is gone.
    assert_eq!(free(&|_| {}, 11_000), [NOW_MS + OUT_MS]);
    assert_eq!(free(&|_| {}, 300_000), [NOW_MS + 300_000]);
    assert!(free(&|_| {}, 600_001).is_empty());
    assert_eq!(free(&|offer| offer.unavailable_until_ms = Some(NOW_MS + 7_000), 0), [NOW_MS + 7_000]);
    assert!(free(&|offer| offer.health = Health::Draining, 0).is_empty());
    assert!(free(&|offer| offer.health = Health::Stopped, 0).is_empty());
}

#[test]
fn nothing_begins_before_the_breaker_closes() {
    let mut fleet = Fleet::default();
    fleet.upsert_offer(offer("local-1", "local", 2), NOW_MS);
    let closed = BreakerRecord::closed(name("local"), BreakerKind::Stopped, None, String::new(), NOW_MS);
    fleet.take_breaker(&BreakerRecord { open_until_ms: Some(NOW_MS + 15_000), ..closed });
    let pool = pools(&fleet, &defaults::policy(), &defaults::catalog(), 1, NOW_MS).pools.swap_remove(0);
    assert_eq!(pool.free_at_ms, [NOW_MS + 15_000; 2]);
}

/// A worker's word is a moment old; the queue's is newer.
#[test]
fn what_has_left_its_queue_runs_no_more() {
    let running = vec![running(2_000), running(8_000)];
    let busy = Offer { running, ..offer("local-1", "local", 2) };
    assert_eq!(found(vec![busy.clone()], 1, 1)[0].free_at_ms, [NOW_MS, NOW_MS + LARGE_MS - 2_000]);
    assert_eq!(found(vec![busy], 0, 1)[0].free_at_ms, [NOW_MS; 2]);
}

/// A slot whose jobs take moments has many ahead; one of long jobs has one.
#[test]
fn what_is_bound_ahead_fills_the_time_between_two_looks() {
    let ahead = |learned_ms: Option<u64>, backlog: u64| {
        let mut worker = offer("local-1", "local", 2);
        worker.classes.iter_mut().for_each(|class| class.learned_ms = learned_ms);
        found(vec![worker], backlog, 500)[0].ahead
    };
    assert_eq!([None, Some(4_000), Some(500), Some(251)].map(|learned_ms| ahead(learned_ms, 0)), [2; 4]);
    assert_eq!([Some(250), Some(40), Some(0)].map(|learned_ms| ahead(learned_ms, 0)), [4, 24, 1_000]);
    assert_eq!(ahead(Some(40), 12), 14, "ten wait already");
}
