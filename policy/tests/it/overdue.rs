//! When waiting work is taken back from a backend that has workers.

use policy::overdue::is_overdue;

#[test]
fn only_what_waited_longer_than_the_bound() {
    let policy = policy::defaults::policy();
    let bound_ms = i64::try_from(policy.overdue_after_ms).expect("minutes");
    assert!(!is_overdue(1_000, 999 + bound_ms, &policy));
    assert!(is_overdue(1_000, 1_000 + bound_ms, &policy));
    assert!(!is_overdue(1_000, 0, &policy), "a clock that is behind");
}
