//! Open loop: asked at a fixed rate, whether or not what was asked before is done, so that a slow system meets as
//! much as a quick one; and which percentiles are shown of what it took.

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use std::time::{Duration, Instant};

/// A second, of the fleet's latency and the broker's own.
pub(super) const RATES: [u64; 3] = [100, 1_000, 5_000];

/// The percentiles that are shown, by name and per mille.
pub(super) const PERCENTILES: [(&str, usize); 4] = [("p50", 500), ("p95", 950), ("p99", 990), ("p999", 999)];

/// Calls so many times, so often a second.
pub(super) async fn open_loop<F>(rate: u64, total: usize, mut call: impl FnMut() -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let started = Instant::now();
    let due = |nth: usize| Duration::from_secs_f64(nth as f64 / rate as f64);
    let mut open = FuturesUnordered::new();
    let mut called = 0;
    while called < total || !open.is_empty() {
        while called < total && due(called) <= started.elapsed() {
            open.push(call());
            called += 1;
        }
        tokio::select! {
            Some(done) = open.next() => done?,
            () = tokio::time::sleep(due(called).saturating_sub(started.elapsed())), if called < total => {}
        }
    }
    Ok(())
}
