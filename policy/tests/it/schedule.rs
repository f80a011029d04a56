//! The schedule over all that wait: the cures of what the plan of one job at a time did wrong, and laws.
//!
//! Each cure is shown to matter: the same case without it ends otherwise.

use policy::schedule::{
    Decision, Expected, Pool, Rules, Run, ScheduleInput, Share, Waiting, Way, Why, multiple, patience_ms,
    reference, schedule,
};
use proptest::prelude::*;
use schemas::{Job, Lane, PolicyConfig, Profile, samples};

const OWN: usize = 0;
const CLOUD: usize = 1;
const DEAREST: usize = 2;

const NOW_MS: i64 = 1_000_000;

/// Two slots of our own, four cloud workers, eight slots of the dearest.
fn pools(own_free_in_ms: [i64; 2], cloud_free_in_ms: i64) -> Vec<Pool> {
    let pool = |is_paid, free_in_ms: Vec<i64>| Pool {
        is_paid,
        free_at_ms: free_in_ms.into_iter().map(|time_ms| NOW_MS + time_ms).collect(),
        ahead: 0,
    };
    vec![pool(false, own_free_in_ms.to_vec()), pool(true, vec![cloud_free_in_ms; 4]), pool(true, vec![0; 8])]
}

const fn way(pool: usize, cost_micro_usd: f64, p50_ms: f64) -> Way {
    Way { pool, cost_micro_usd, run: Run { p50_ms, p90_ms: p50_ms * 1.3 } }
}

/// A picture that may go anywhere.
fn picture(patience_ms: u64) -> Waiting {
    let ways = vec![way(OWN, 0.0, 4_000.0), way(CLOUD, 7_000.0, 35_000.0), way(DEAREST, 67_000.0, 8_000.0)];
    Waiting {
        since_ms: NOW_MS,
        patience_ms,
        deadline_ms: None,
        reference_micro_usd: reference(&ways, None, None),
        profile: 1.0,
        tenant: 0,
        ways,
    }
}

/// One that may not pay.
fn poor(patience_ms: u64) -> Waiting {
    let mut job = picture(patience_ms);
    job.ways.truncate(1);
    job.reference_micro_usd = reference(&job.ways, None, Some(7_000.0));
    job
}

fn decide_with(waiting: &[Waiting], pools: &[Pool], rules: &Rules) -> Vec<Decision> {
    let tenants = [Share { weight: 1.0, used_ms: 0.0 }; 2];
    let input = ScheduleInput { now_ms: NOW_MS, waiting, pools, tenants: &tenants, expected: &[], rules };
    schedule(&input).decisions
}

fn decide(waiting: &[Waiting], pools: &[Pool]) -> Vec<Decision> {
    decide_with(waiting, pools, &Rules::default())
}

fn starts(decisions: &[Decision], pool: usize) -> usize {
    decisions.iter().filter(|decision| **decision == Decision::Start { pool }).count()
}

fn waits_in_line(decision: &Decision) -> bool {
    matches!(decision, Decision::Wait { why: Why::InLine { .. }, .. })
}

#[test]
fn nothing_that_waits_is_no_schedule() {
    assert!(decide(&[], &pools([0, 0], 0)).is_empty());
}

/// Cause 1: full means dearer.
#[test]
fn who_can_wait_does_not_pay_because_a_queue_is_long() {
    let ahead: Vec<Waiting> = (0..16).map(|_| picture(60_000)).collect();
    let patient = |patience_ms| {
        let mut waiting = ahead.clone();
        waiting.push(picture(patience_ms));
        decide(&waiting, &pools([2_000, 4_000], 0))
    };
    assert!(patient(300_000).iter().all(waits_in_line), "{:?}", patient(300_000));
    // The same queue is too long for one that bears no wait: somebody moves, and pays the cloud, not the dearest.
    let decisions = patient(36_000);
    assert_eq!((starts(&decisions, CLOUD), starts(&decisions, DEAREST)), (0, 0), "{decisions:?}");
    let mut long = ahead.clone();
    long.extend((0..20).map(|_| picture(60_000)));
    let decisions = decide(&long, &pools([2_000, 4_000], 0));
    assert!(starts(&decisions, CLOUD) > 0 && starts(&decisions, DEAREST) == 0, "{decisions:?}");
}

/// Cause 2: who can wait longest pays soonest.
#[test]
fn the_urgent_take_our_slots_and_the_patient_wait() {
    let mut waiting: Vec<Waiting> = (0..8).map(|_| picture(300_000)).collect();
    waiting.push(picture(10_000));
    let decisions = decide(&waiting, &pools([0, 3_000], 0));
    assert_eq!(decisions[8], Decision::Start { pool: OWN });
    assert!(decisions[..8].iter().all(waits_in_line), "{decisions:?}");
}

/// Cause 3: an urgent job pays the dearest where one patient job could have paid the cloud.
#[test]
fn a_patient_job_makes_room_for_an_urgent_one_at_the_cheaper_price() {
    // Eleven in line before it by due time; it may not be late, and the cloud is too slow for it.
    let mut waiting: Vec<Waiting> = (0..11).map(|_| picture(40_000)).collect();
    waiting.push(Waiting { deadline_ms: Some(NOW_MS + 24_000), ..picture(24_000) });
    let mut more = waiting.clone();
    more.extend((0..9).map(|_| picture(41_000)));
    let decisions = decide(&more, &pools([1_000, 1_000], 0));
    assert!(starts(&decisions, CLOUD) > 0, "{decisions:?}");
    assert_eq!(starts(&decisions, DEAREST), 0);
    // With a cloud that is busy for long, there is no such exchange.
    let decisions = decide(&more, &pools([1_000, 1_000], 90_000));
    assert_eq!(starts(&decisions, CLOUD), 0, "{decisions:?}");
}

/// Cause 4: deep, final queues at paid backends while our own slots idle.
#[test]
fn a_paid_backend_gets_what_it_can_start_and_nothing_behind_it() {
    let waiting: Vec<Waiting> = (0..60).map(|_| picture(45_000)).collect();
    let decisions = decide(&waiting, &pools([5_000, 5_000], 0));
    assert_eq!(starts(&decisions, CLOUD), 4, "{decisions:?}");
    let bound = decisions.iter().filter(|decision| !matches!(decision, Decision::Wait { .. })).count();
    assert_eq!(bound, 4, "what cannot start now can still go anywhere: {decisions:?}");
    // A slot of our own that is free is used before any other.
    let decisions = decide(&waiting[..3], &pools([0, 0], 0));
    assert_eq!((starts(&decisions, OWN), starts(&decisions, CLOUD)), (2, 0));
}

#[test]
fn one_is_bound_ahead_where_a_slot_would_idle() {
    let waiting: Vec<Waiting> = (0..5).map(|_| picture(120_000)).collect();
    let ahead = |free_in_ms: [i64; 2]| {
        let mut pools = pools(free_in_ms, 0);
        pools[OWN].ahead = 2;
        let decisions = decide(&waiting, &pools);
        let ahead = decisions.iter().filter(|decision| **decision == Decision::Ahead { pool: OWN }).count();
        assert!(decisions[ahead..].iter().all(waits_in_line), "{decisions:?}");
        ahead
    };
    assert_eq!(ahead([1_000, 2_000]), 2);
    // Behind what runs for longer a job would only lose its choice.
    assert_eq!(ahead([1_000, 2_001]), 1);
    assert_eq!(ahead([60_000, 90_000]), 0);
}

/// Cause 5: hard edges on point estimates.
#[test]
fn deadlines_keep_a_margin_from_the_spread() {
    // By the middle it ends 1 s before its deadline, on a slot that comes free in 5 s.
    let job = Waiting { deadline_ms: Some(NOW_MS + 10_000), ..picture(10_000) };
    let with = |spread: f64| {
        let mut job = job.clone();
        job.ways.iter_mut().for_each(|way| way.run.p90_ms = way.run.p50_ms * spread);
        job.ways[2].run.p90_ms = 8_200.0;
        decide(&[job], &pools([5_000, 6_000], 0))[0]
    };
    let Decision::Wait { why: Why::LastMoment { pool: DEAREST }, .. } = with(1.5) else {
        panic!("it leaves the line for where it is safe: {:?}", with(1.5));
    };
    assert!(waits_in_line(&with(1.0)), "without a spread there is no margin: {:?}", with(1.0));
}

/// Cause 7: no exchange rate between a little time and much money.
#[test]
fn nobody_pays_more_than_the_wait_is_worth() {
    // A little late at home; the cloud is busy.
    let job = |reference_micro_usd| Waiting { reference_micro_usd, ..picture(8_000) };
    let decisions =
        |reference_micro_usd| decide(&[job(reference_micro_usd)], &pools([5_000, 5_000], 90_000))[0];
    assert!(waits_in_line(&decisions(10_000.0)));
    assert_eq!(decisions(200_000.0), Decision::Start { pool: DEAREST });
}

#[test]
fn a_backend_of_many_slots_is_used_at_the_last_moment_only() {
    // Our slots are out for long, and the cloud is too slow.
    let job = picture(30_000);
    let out = pools([200_000, 200_000], 90_000);
    let Decision::Wait { why: Why::LastMoment { pool }, until_ms: Some(until_ms) } =
        decide(std::slice::from_ref(&job), &out)[0]
    else {
        panic!("{:?}", decide(&[job], &out));
    };
    assert_eq!((pool, until_ms), (DEAREST, NOW_MS + 30_000 - 11_440));
    let late = Waiting { since_ms: NOW_MS - 20_000, ..job.clone() };
    assert_eq!(decide(&[late], &out)[0], Decision::Start { pool: DEAREST });
    // Without the cure it is used at once.
    let few = Rules { many_slots: 8, ..Rules::default() };
    assert_eq!(decide_with(&[job], &out, &few)[0], Decision::Start { pool: DEAREST });
}

#[test]
fn what_is_expected_to_arrive_stands_in_line_already() {
    let waiting: Vec<Waiting> = (0..24).map(|_| picture(60_000)).collect();
    let (pools, rules) = (pools([0, 0], 0), Rules::default());
    let tenants = [Share { weight: 1.0, used_ms: 0.0 }];
    let starts = |expected: &[Expected]| {
        let input = ScheduleInput {
            now_ms: NOW_MS,
            waiting: &waiting,
            pools: &pools,
            tenants: &tenants,
            expected,
            rules: &rules,
        };
        starts(&schedule(&input).decisions, CLOUD)
    };
    assert_eq!(starts(&[]), 0);
    assert!(starts(&[Expected { patience_ms: 10_000.0, share: 0.6 }]) > 0);
}

/// Our own slots, worked off in virtual time: when each job ends.
fn worked_off(waiting: Vec<Waiting>) -> Vec<(usize, i64)> {
    worked_off_by(waiting, [1.0, 1.0])
}

/// The same by the tenants' weights.
fn worked_off_by(mut waiting: Vec<Waiting>, weights: [f64; 2]) -> Vec<(usize, i64)> {
    let mut free_at_ms = [NOW_MS, NOW_MS];
    let mut ends = Vec::new();
    while !waiting.is_empty() {
        let now_ms = *free_at_ms.iter().min().expect("two");
        let pools = vec![Pool { is_paid: false, free_at_ms: free_at_ms.to_vec(), ahead: 0 }];
        let used = |tenant: usize| {
            let of_tenant = ends.iter().filter(|(other, _)| *other == tenant).count();
            let used_ms = 4_000.0 * f64::from(u32::try_from(of_tenant).expect("few"));
            Share { weight: weights[tenant], used_ms }
        };
        let tenants = [used(0), used(1)];
        let rules = Rules::default();
        let input = ScheduleInput {
            now_ms,
            waiting: &waiting,
            pools: &pools,
            tenants: &tenants,
            expected: &[],
            rules: &rules,
        };
        let decisions = schedule(&input).decisions;
        let place = decisions
            .iter()
            .position(|decision| *decision == Decision::Start { pool: OWN })
            .expect("a start");
        let slot = free_at_ms.iter_mut().min().expect("two");
        *slot = now_ms + 4_000;
        ends.push((waiting.remove(place).tenant, now_ms + 4_000 - NOW_MS));
    }
    ends
}

#[test]
fn who_calls_everything_urgent_delays_nobody_beyond_its_share() {
    let mut waiting: Vec<Waiting> = (0..40).map(|_| poor(1)).collect();
    waiting.extend((0..10).map(|_| Waiting { tenant: 1, ..poor(30_000) }));
    let ends = worked_off(waiting);
    let others = ends.iter().filter(|(tenant, _)| *tenant == 1).map(|(_, end_ms)| *end_ms);
    for (nth, end_ms) in (1i64..).zip(others) {
        // With half of two slots its k-th job ends after k runs. Nobody waits for longer than that, or, where that is late
        // anyway, until twice its patience.
        assert!(end_ms <= (nth * 4_000).max(60_000) + 4_000, "{nth}: {end_ms} of {ends:?}");
    }
    // The same jobs of one tenant are served by what they ask for: the patient ones come last.
    let mut waiting: Vec<Waiting> = (0..40).map(|_| poor(1)).collect();
    waiting.iter_mut().for_each(|job| job.since_ms = NOW_MS - 1);
    waiting.extend((0..10).map(|_| Waiting { tenant: 0, ..poor(1_000_000) }));
    let pools = pools([0, 0], 0);
    let decisions = decide(&waiting, &pools);
    assert!(decisions[40..].iter().all(waits_in_line), "{decisions:?}");
}

#[test]
fn tenants_take_turns_where_everybody_is_in_time() {
    // One sent forty jobs before another sent ten; all may wait for an hour, and are done within two minutes.
    let hour_ms = 3_600_000;
    let flood = Waiting { since_ms: NOW_MS - 10_000, ..poor(hour_ms) };
    let mut waiting: Vec<Waiting> = vec![flood; 40];
    waiting.extend((0..10).map(|_| Waiting { tenant: 1, ..poor(hour_ms) }));
    let ends = worked_off(waiting.clone());
    let others = ends.iter().filter(|(tenant, _)| *tenant == 1).map(|(_, end_ms)| *end_ms);
    for (nth, end_ms) in (1i64..).zip(others) {
        assert!(end_ms <= nth * 4_000 + 4_000, "{nth}: {end_ms} of {ends:?}");
    }
    // One that is urgent does not wait for turns, whosever it is.
    let urgent = Waiting { since_ms: NOW_MS, ..poor(20_000) };
    waiting.push(urgent);
    let pools = pools([0, 0], 0);
    assert_eq!(decide(&waiting, &pools).last(), Some(&Decision::Start { pool: OWN }));
    // By due time alone the ten come last.
    let never = Rules { calm_behind: 1e6, ..Rules::default() };
    let decisions = decide_with(&waiting, &pools, &never);
    assert!(decisions[40..50].iter().all(waits_in_line), "{decisions:?}");
}

#[test]
fn turns_follow_the_weights_of_tenants() {
    let hour_ms = 3_600_000;
    let waiting: Vec<Waiting> = (0..48).map(|nth| Waiting { tenant: nth % 2, ..poor(hour_ms) }).collect();
    for (weights, of_first) in [([3.0, 1.0], 18), ([1.0, 1.0], 12), ([1.0, 5.0], 4)] {
        let ends = worked_off_by(waiting.clone(), weights);
        let first = ends.iter().take(24).filter(|(tenant, _)| *tenant == 0).count();
        assert!(first.abs_diff(of_first) <= 1, "{weights:?}: {first} of 24, {ends:?}");
    }
}

#[test]
fn the_rule_that_bounds_passing_over_is_the_document_s() {
    let policy = |max_passed_over| PolicyConfig { max_passed_over, ..policy::defaults::policy() };
    assert!((Rules::of(&policy(4)).passed_over_max - Rules::default().passed_over_max).abs() < 1e-9);
    assert!((Rules::of(&policy(9)).passed_over_max - 9.0).abs() < 1e-9);
}

#[test]
fn nobody_is_passed_over_for_longer_than_the_rule_says() {
    // Its tenant used more than its share by far; the other's jobs are all due soon.
    let tenants = [Share { weight: 1.0, used_ms: 10_000_000.0 }, Share { weight: 1.0, used_ms: 0.0 }];
    let first = |waited_ms: i64, rules: &Rules| {
        let mut waiting = vec![Waiting { since_ms: NOW_MS - waited_ms, ..poor(10_000) }];
        waiting.extend((0..20).map(|_| Waiting { tenant: 1, ..poor(10_000) }));
        let pools = pools([0, 0], 0);
        let input = ScheduleInput {
            now_ms: NOW_MS,
            waiting: &waiting,
            pools: &pools,
            tenants: &tenants,
            expected: &[],
            rules,
        };
        schedule(&input).decisions[0]
    };
    let rules = Rules::default();
    assert!(waits_in_line(&first(45_000, &rules)), "a short patience does not pass");
    assert_eq!(first(245_000, &rules), Decision::Start { pool: OWN });
    let never = Rules { passed_over_max: 1e6, ..rules };
    assert!(waits_in_line(&first(245_000, &never)));
}

#[test]
fn the_reference_is_the_dearest_way_within_the_ceiling() {
    let ways = picture(1).ways;
    let near = |found: f64, wanted: f64| assert!((found - wanted).abs() < 1e-9, "{found} {wanted}");
    near(reference(&ways, None, None), 67_000.0);
    near(reference(&ways, Some(20_000.0), None), 20_000.0);
    near(reference(&ways[..1], Some(20_000.0), Some(7_000.0)), 7_000.0);
    assert!(multiple(Profile::Fastest) > multiple(Profile::Balanced));
    assert!(multiple(Profile::Balanced) > multiple(Profile::Cheapest));
}

fn any_waiting() -> impl Strategy<Value = Vec<Waiting>> {
    let job = (1_000u64..300_000, 0i64..100_000, any::<bool>(), any::<bool>(), 0usize..2).prop_map(
        |(patience_ms, waited_ms, has_deadline, may_pay, tenant)| {
            let job = if may_pay { picture(patience_ms) } else { poor(patience_ms) };
            let deadline_ms = has_deadline.then(|| NOW_MS + i64::try_from(patience_ms).expect("small"));
            Waiting { since_ms: NOW_MS - waited_ms, deadline_ms, tenant, ..job }
        },
    );
    prop::collection::vec(job, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Raising a safety limit never changes anything, so it never raises spending.
    #[test]
    fn a_ceiling_above_the_reference_changes_nothing(
        waiting in any_waiting(),
        above in 1.0..100.0f64,
        own in 0i64..60_000,
        cloud in 0i64..60_000,
    ) {
        let pools = pools([own, own / 2], cloud);
        let raised: Vec<Waiting> = waiting.iter().map(|job| {
            let dearest = job.ways.iter().map(|way| way.cost_micro_usd).fold(0.0, f64::max);
            let reference_micro_usd = reference(&job.ways, Some(dearest * above), Some(7_000.0));
            Waiting { reference_micro_usd, ..job.clone() }
        }).collect();
        prop_assert_eq!(decide(&waiting, &pools), decide(&raised, &pools));
    }

    /// No slot is used twice, nobody goes where it may not, and no slot of our own idles while somebody could use it.
    #[test]
    fn slots_and_consent_hold(waiting in any_waiting(), own in 0i64..3, cloud in 0i64..3) {
        let pools = pools([own - 1, own], cloud - 1);
        let decisions = decide(&waiting, &pools);
        for (nth, pool) in pools.iter().enumerate() {
            let free = pool.free_at_ms.iter().filter(|at_ms| **at_ms <= NOW_MS).count();
            prop_assert!(starts(&decisions, nth) <= free);
            if !pool.is_paid {
                prop_assert_eq!(starts(&decisions, nth), free.min(waiting.len() - starts(&decisions, CLOUD)
                    - starts(&decisions, DEAREST)));
            }
        }
        for (job, decision) in waiting.iter().zip(&decisions) {
            if let Decision::Start { pool } | Decision::Ahead { pool } = decision {
                prop_assert!(job.ways.iter().any(|way| way.pool == *pool));
            }
        }
    }
}

/// A job's own word counts first, then that of its lane.
#[test]
fn who_names_no_patience_has_that_of_its_lane() {
    let patience = |lane: Lane, own: Option<u64>| {
        let mut job = Job { lane, ..samples::job() };
        job.preferences.patience_ms = own;
        patience_ms(&job, &policy::defaults::policy())
    };
    let lanes = [Lane::Interactive, Lane::Standard, Lane::Batch];
    assert_eq!(lanes.map(|lane| patience(lane, None)), [60_000, 300_000, 3_600_000]);
    assert_eq!(lanes.map(|lane| patience(lane, Some(7))), [7; 3]);
}
