//! What a schedule over all that wait costs: nothing waits, and 16 to 1,024 jobs of two tenants, a third with deadlines.
//!
//! `cargo bench -p policy --bench schedule`. The aims: under 1 µs when nothing waits, under 200 µs for 256.

use criterion::{Criterion, criterion_group, criterion_main};
use policy::schedule::{Pool, Rules, Run, ScheduleInput, Share, Waiting, Way, schedule};
use std::hint::black_box;

/// As in the router.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn waiting(count: usize) -> Vec<Waiting> {
    let run = |p50_ms: f64| Run { p50_ms, p90_ms: p50_ms * 1.3 };
    let job = |nth: usize| {
        let patience_ms = [60_000, 240_000, 600_000][nth % 3];
        let mut ways = vec![Way { pool: 0, cost_micro_usd: 0.0, run: run(4_200.0) }];
        if !nth.is_multiple_of(4) {
            ways.push(Way { pool: 1, cost_micro_usd: 6_600.0, run: run(33_000.0) });
            ways.push(Way { pool: 2, cost_micro_usd: 67_000.0, run: run(8_000.0) });
        }
        Waiting {
            since_ms: -((nth * 997 % 20_000) as i64),
            patience_ms,
            deadline_ms: (nth % 5 < 2).then_some(patience_ms as i64),
            reference_micro_usd: if ways.len() > 1 { 67_000.0 } else { 6_600.0 },
            profile: 1.0,
            tenant: nth % 2,
            ways,
        }
    };
    (0..count).map(job).collect()
}

fn bench(criterion: &mut Criterion) {
    let pools = [
        Pool { is_paid: false, free_at_ms: vec![2_000, 3_000], ahead: 2 },
        Pool { is_paid: true, free_at_ms: vec![0, 5_000, 20_000, 30_000], ahead: 0 },
        Pool { is_paid: true, free_at_ms: vec![0; 8], ahead: 0 },
    ];
    let tenants = [Share { weight: 1.0, used_ms: 0.0 }; 2];
    let rules = Rules::default();
    for count in [0, 16, 256, 1_024] {
        let waiting = waiting(count);
        let input = ScheduleInput {
            now_ms: 0,
            waiting: &waiting,
            pools: &pools,
            tenants: &tenants,
            expected: &[],
            rules: &rules,
        };
        criterion.bench_function(&format!("schedule_{count}_waiting"), |bencher| {
            bencher.iter(|| schedule(black_box(&input)));
        });
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
