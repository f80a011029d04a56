//! Pauses between looks.

use worker_cloud::runpod::poll::{Pauses, rate_limit_wait_ms};

#[test]
fn pauses_grow_inside_their_bounds_and_repeat_by_seed() {
    for seed in 0..50 {
        let pauses = Pauses { min_ms: 1_000, max_ms: 5_000, seed };
        let all: Vec<u64> = (0..40).map(|look| pauses.after(look)).collect();
        assert!(all.iter().all(|pause| (1_000..=5_000).contains(pause)), "{all:?}");
        assert!(all[0] < 1_300 && all[10] >= 4_000, "{all:?}");
        assert_eq!(all, (0..40).map(|look| pauses.after(look)).collect::<Vec<_>>());
    }
    let after = |seed| Pauses { min_ms: 1_000, max_ms: 5_000, seed }.after(3);
    let different: std::collections::BTreeSet<u64> = (0..50).map(after).collect();
    assert!(different.len() > 20, "workers would ask in step: {different:?}");
    assert_eq!(Pauses { min_ms: u64::MAX / 2, max_ms: 1, seed: 1 }.after(u32::MAX), u64::MAX / 2);
}

#[test]
fn the_wait_for_room_doubles_from_one_second_to_thirty() {
    for seed in 0..50 {
        let waits: Vec<u64> =
            [0, 2, 4, 5, 60, u32::MAX].map(|times| rate_limit_wait_ms(times, seed)).to_vec();
        let bounds = [(1_000, 1_200), (3_200, 4_800), (12_800, 19_200), (24_000, 30_000)];
        for (wait, (low, high)) in waits.iter().zip(bounds) {
            assert!((low..=high).contains(wait), "{waits:?}");
        }
        assert!(waits[4..].iter().all(|wait| (24_000..=30_000).contains(wait)), "{waits:?}");
    }
}
