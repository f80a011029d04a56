//! Lists from seeds: jobs as they come, and what befalls the fleet meanwhile.

use super::{Operation, Order};
use crate::simulation::chance::Chance;
use crate::simulation::process::{PROCESSES, Role};
use crate::simulation::provider::Trouble;
use crate::simulation::setting::{CLOUD, GEMINI, LOCAL};

/// The consumers: three lanes, failed attempts, facts, and three backends with two classes each.
const CONSUMERS: u64 = 11;

/// The lane of a job that is published where no lane reads.
const NO_LANE: usize = 3;

const TROUBLES: [Trouble; 6] =
    [Trouble::Lost, Trouble::Busy, Trouble::Quota, Trouble::Hang, Trouble::Down, Trouble::Fail];

/// The list of a seed: so many jobs within a virtual minute or two, and a fault for every few jobs.
/// Operations come in the order of their time, milliseconds from the beginning.
#[must_use]
pub fn operations(seed: u64, jobs: u32) -> Vec<(i64, Operation)> {
    let mut chance = Chance::keyed(seed, [7, 7, 7]);
    // Some runs are a flood, so that jobs wait.
    let apart_ms = if chance.per_mille(300) { chance.between(15, 60) } else { chance.between(150, 900) };
    let span_ms = i64::from(jobs) * apart_ms;
    let mut list = Vec::new();
    let mut keys = Chance::keyed(seed, [8, 8, 8]);
    let mut strays = Chance::keyed(seed, [9, 9, 9]);
    let mut users = Chance::keyed(seed, [10, 10, 10]);
    let mut uploads = Chance::keyed(seed, [15, 15, 15]);
    let (mut before, mut orders): (_, Vec<Order>) = (None, Vec::new());
    for job in 0..jobs {
        let at_ms = chance.between(0, span_ms);
        let order = with_key(order(job, &mut chance), before, &mut keys);
        before = Some(order);
        // Published where no lane reads, by a client whose broker has the subjects of an earlier version.
        let order = Order { lane: if strays.per_mille(4) { NO_LANE } else { order.lane }, ..order };
        let (order, later_ms) = with_input(order, &orders, &mut users);
        // Routers do not place what goes within a minute.
        let order =
            Order { input_ms: uploads.per_mille(8).then(|| uploads.between(62_000, 180_000)), ..order };
        let at_ms = at_ms + later_ms;
        orders.push(order);
        list.push((at_ms, Operation::Submit(order)));
        if users.per_mille(6) {
            list.push((at_ms + users.between(1, 6_000), Operation::Garble { job }));
        }
        if strays.per_mille(6) {
            list.push((at_ms + strays.between(1, 6_000), Operation::Purge { job }));
        }
        if chance.per_mille(40) {
            // Within the duplicate window, and after it.
            let later_ms = if chance.per_mille(500) {
                chance.between(1, 2_000)
            } else {
                chance.between(100_000, 300_000)
            };
            list.push((at_ms + later_ms, Operation::Again { job }));
        }
        if chance.per_mille(60) {
            // Before the job, while it waits, while it runs, after it.
            let wait_ms =
                if chance.per_mille(500) { chance.between(5, 150) } else { chance.between(-500, 6_000) };
            list.push((at_ms + wait_ms, Operation::Cancel { job }));
            if chance.per_mille(300) {
                // The router that took the request dies over it.
                let for_ms = chance.between(200, 3_000);
                list.push((at_ms + wait_ms + chance.between(1, 60), Operation::Kill { process: 0, for_ms }));
            }
        }
        if chance.per_mille(60) {
            let again_ms = at_ms + chance.between(0, 4_000);
            list.push((again_ms, Operation::Redeliver { job }));
            if chance.per_mille(300) {
                // Two routers have it in hand now, or two workers.
                list.push((again_ms + chance.between(20, 3_000), Operation::Cancel { job }));
            }
        }
    }
    // Some runs are calm, so that what happens without faults is seen as well.
    let faults = if chance.per_mille(100) { 0 } else { chance.below(u64::from(jobs) / 3 + 2) };
    for _ in 0..faults {
        let at_ms = chance.between(0, span_ms + 5_000);
        list.push((at_ms, fault(&mut chance)));
    }
    if chance.per_mille(350) {
        list.push((chance.between(0, span_ms), outage(&mut chance)));
    }
    // Lanes, failed attempts, and the work of each backend and class.
    if strays.per_mille(100) {
        let consumer = strays.below(CONSUMERS) as usize;
        list.push((strays.between(0, span_ms + 5_000), Operation::Remake { consumer }));
    }
    list.extend(clocks(seed, span_ms));
    list.extend(room(seed, jobs, span_ms));
    list.extend(losses(seed, span_ms));
    list.extend(lengths(seed, span_ms));
    list.retain(|(at_ms, _)| *at_ms >= 0);
    list.sort_by_key(|(at_ms, _)| *at_ms);
    list
}

/// In some runs the ledger makes room again and again, long enough that ends leave as well, and clients publish ended jobs
/// once more between two of those times.
fn room(seed: u64, jobs: u32, span_ms: i64) -> Vec<(i64, Operation)> {
    let mut chance = Chance::keyed(seed, [10, 10, 10]);
    let mut list = Vec::new();
    if chance.per_mille(750) {
        return list;
    }
    let (begin_ms, end_ms) = (300_000, span_ms + 420_000);
    for _ in 0..chance.between(3, 8) {
        let at_ms = chance.between(begin_ms, end_ms);
        list.push((at_ms, Operation::MakeRoom));
        if chance.per_mille(200) {
            // The ledger dies over it, or it is stopped; another time answers are lost.
            let process = PROCESSES.iter().position(|(_, role)| *role == Role::Ledger).unwrap_or_default();
            let for_ms = chance.between(500, 9_000);
            list.push((at_ms + chance.between(1, 40), Operation::Kill { process, for_ms }));
        }
        for _ in 0..chance.below(4) {
            let job = chance.below(u64::from(jobs)) as u32;
            list.push((at_ms + chance.between(1, 20_000), Operation::Again { job }));
        }
    }
    list
}

/// In half of the runs the clocks of processes differ: all as far as is tolerated, from the beginning and anew
/// meanwhile, and those of some workers, which do not correct theirs, by up to an hour.
fn clocks(seed: u64, span_ms: i64) -> Vec<(i64, Operation)> {
    const HOUR_MS: i64 = 3_600_000;
    let bound_ms = i64::try_from(policy::clocks::SKEW_MAX_MS).unwrap_or(i64::MAX);
    let mut chance = Chance::keyed(seed, [9, 9, 9]);
    let mut list = Vec::new();
    if chance.per_mille(500) {
        return list;
    }
    for (process, (_, role)) in PROCESSES.iter().enumerate() {
        let uncorrected = matches!(role, Role::Worker(_)) && chance.per_mille(300);
        let stamps_ms = if uncorrected { chance.between(-HOUR_MS, HOUR_MS) } else { 0 };
        let off_ms = chance.between(-bound_ms, bound_ms);
        list.push((0, Operation::Clock { process, off_ms, stamps_ms }));
        if chance.per_mille(200) {
            let off_ms = chance.between(-bound_ms, bound_ms);
            list.push((chance.between(1, span_ms), Operation::Clock { process, off_ms, stamps_ms }));
        }
    }
    list
}

/// In some runs the machine of the fleet sleeps for minutes, hours or days, or routers of an older release take the place of
/// one or of both for a while.
fn lengths(seed: u64, span_ms: i64) -> Vec<(i64, Operation)> {
    const MINUTE_MS: i64 = 60_000;
    let mut chance = Chance::keyed(seed, [14, 14, 14]);
    let mut list = Vec::new();
    if chance.per_mille(60) {
        for _ in 0..chance.between(1, 3) {
            let for_ms = match chance.below(3) {
                0 => chance.between(MINUTE_MS, 20 * MINUTE_MS),
                1 => chance.between(20 * MINUTE_MS, 20 * 60 * MINUTE_MS),
                // Shorter than claims are kept: kept lists sleep for longer. A job that is published again more than a week
                // after the time in its id is refused, and where its first end is gone by then, that is a second one.
                _ => chance.between(20 * 60 * MINUTE_MS, 9 * 24 * 60 * MINUTE_MS),
            };
            list.push((chance.between(0, span_ms + 20_000), Operation::StandStill { for_ms }));
        }
    }
    if chance.per_mille(20) {
        let (at_ms, for_ms) = (chance.between(0, span_ms), chance.between(10_000, 12 * MINUTE_MS));
        let both = chance.per_mille(500);
        let routers = PROCESSES.iter().enumerate().filter(|(_, (_, role))| *role == Role::Router);
        for (process, _) in routers.take(if both { 2 } else { 1 }) {
            list.push((at_ms, Operation::Older { process, for_ms }));
        }
    }
    list
}

/// In some runs a worker is lost over what it holds and nobody else has: work that hangs at its own server, or a result
/// that lies in its spool, of a job that is cancelled meanwhile or is not.
fn losses(seed: u64, span_ms: i64) -> Vec<(i64, Operation)> {
    let mut chance = Chance::keyed(seed, [11, 11, 11]);
    let at_ms = chance.between(0, span_ms);
    let of = |backend: usize, chance: &mut Chance| {
        let number = chance.below(2) as usize;
        let workers = PROCESSES.iter().enumerate().filter(|(_, (_, role))| *role == Role::Worker(backend));
        workers.map(|(process, _)| process).nth(number).unwrap_or_default()
    };
    match chance.below(10) {
        0 => {
            let (process, for_ms) = (of(LOCAL, &mut chance), chance.between(25_000, 60_000));
            let trouble = Operation::Provider { backend: LOCAL, trouble: Trouble::Hang, for_ms: 20_000 };
            let cancel_ms = Some(chance.between(500, 14_000));
            vec![(at_ms, trouble), (at_ms, Operation::Snatch { process, for_ms, cancel_ms })]
        }
        1 => {
            let (process, for_ms) = (of(GEMINI, &mut chance), chance.between(30_000, 110_000));
            let cancel_ms = chance.per_mille(600).then(|| chance.between(1_000, 45_000));
            vec![(at_ms, Operation::Snatch { process, for_ms, cancel_ms })]
        }
        2 => {
            let (process, for_ms) = (of(GEMINI, &mut chance), chance.between(12_000, 28_000));
            vec![(at_ms, Operation::Sever { process, for_ms })]
        }
        _ => Vec::new(),
    }
}

/// Now and then a job uses the result of an earlier one, mostly of its own tenant's, and comes some seconds later.
fn with_input(order: Order, orders: &[Order], chance: &mut Chance) -> (Order, i64) {
    // The names of tenants go round by threes.
    let back = if chance.per_mille(800) { 3 } else { 2 };
    let of = order.job.checked_sub(back).and_then(|of| orders.get(of as usize));
    match of {
        Some(of) if chance.per_mille(40) && order.key.is_none() => {
            (Order { uses: Some(of.job), generous: of.generous, ..order }, chance.between(6_000, 40_000))
        }
        _ => (order, 0),
    }
}

/// Now and then a job has an idempotency key, and the next one is mostly the same once more, under another id.
fn with_key(order: Order, before: Option<Order>, chance: &mut Chance) -> Order {
    match before.filter(|before| before.key.is_some()) {
        Some(before) if chance.per_mille(800) => Order { job: order.job, ..before },
        // Another request under the same key.
        Some(before) if chance.per_mille(500) => Order { key: before.key, ..order },
        _ => Order { key: chance.per_mille(60).then_some(order.job), ..order },
    }
}

fn order(job: u32, chance: &mut Chance) -> Order {
    let mut order = Order {
        job,
        lane: chance.below(3) as usize,
        large: chance.per_mille(500),
        generous: chance.per_mille(450),
        ..Order::default()
    };
    match chance.below(100) {
        0..=9 => order.paid = Some(true),
        10..=14 => order.paid = Some(false),
        _ => {}
    }
    match chance.below(100) {
        0..=11 => order.only = Some(CLOUD),
        12..=17 => order.only = Some(GEMINI),
        18..=27 => order.away = true,
        _ => {}
    }
    if order.only.is_some() || order.away {
        order.generous |= chance.per_mille(700);
    }
    if chance.per_mille(150) {
        order.cost_micro_usd = Some([0, 8_000, 25_000, 120_000][chance.below(4) as usize]);
    }
    // What may only run for money must not wait for tomorrow's budget.
    if chance.per_mille(150) || order.only.is_some() || order.away {
        order.deadline_ms = Some(chance.between(2_000, 240_000));
    }
    order.invalid = chance.per_mille(4);
    order
}

/// Something that lasts for minutes.
fn outage(chance: &mut Chance) -> Operation {
    let (backend, for_ms) = (chance.below(3) as usize, chance.between(60_000, 400_000));
    match chance.below(3) {
        0 => Operation::StoreFull { for_ms },
        1 => Operation::Provider { backend, trouble: Trouble::Hang, for_ms },
        _ => Operation::Provider { backend, trouble: Trouble::Down, for_ms },
    }
}

fn fault(chance: &mut Chance) -> Operation {
    let process = chance.below(PROCESSES.len() as u64) as usize;
    let backend = chance.below(3) as usize;
    let short_ms = chance.between(200, 8_000);
    // Longer than an ack-wait now and then, and longer than the duplicate window.
    let pause_ms = match chance.below(10) {
        0..=5 => chance.between(500, 14_000),
        6..=8 => chance.between(14_000, 70_000),
        _ => chance.between(120_000, 200_000),
    };
    match chance.below(100) {
        0..=29 => Operation::Kill { process, for_ms: short_ms },
        30..=46 => Operation::Pause { process, for_ms: pause_ms },
        47..=54 => Operation::Cut { process, for_ms: pause_ms },
        55..=66 => Operation::Lossy { process, for_ms: short_ms * 2 },
        67..=72 if matches!(PROCESSES[process].1, Role::Worker(_)) => {
            Operation::Drain { process, for_ms: short_ms }
        }
        76..=77 if PROCESSES[process].1 == Role::Worker(GEMINI) => {
            Operation::Snatch { process, for_ms: chance.between(200, 110_000), cancel_ms: None }
        }
        73..=75 if matches!(PROCESSES[process].1, Role::Worker(_)) => {
            Operation::Trap { process, for_ms: chance.between(20_000, 110_000) }
        }
        67..=84 => {
            let trouble = TROUBLES[chance.below(TROUBLES.len() as u64) as usize];
            Operation::Provider { backend, trouble, for_ms: short_ms * 2 }
        }
        85..=90 => Operation::Restart { backend },
        91..=95 => Operation::LedgerAway { for_ms: short_ms },
        _ => Operation::Broker { for_ms: short_ms / 2 },
    }
}
