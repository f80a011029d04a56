//! The digests that routers send each other. They come over core NATS, so they are lost, late, repeated or invented at any
//! time; no promise may depend on them.

use protocol::router::schedule;
use schemas::digest::{Digest, DigestJob, DigestKind};

use super::chance::Chance;
use super::executor::Shared;
use super::ports::SimulatedPorts;
use super::process::Role;

/// Of ten digests to another router, so many are lost, and so many are invented by somebody on the broker; of the rest,
/// some are older ones that come once more.
const LOST: u64 = 3;
const INVENTED: u64 = 2;
const AGAIN: u64 = 1;

/// A router tells the others what waits in its hands.
pub(crate) fn tell(shared: &Shared, process: usize, ports: &SimulatedPorts) {
    let digest = schedule::digest(ports, &process.to_string());
    let mut world = shared.borrow_mut();
    let world = &mut *world;
    let before = world.digests.insert(process, digest.clone());
    for other in (0..world.processes.len()).filter(|other| *other != process) {
        if world.processes[other].role != Role::Router {
            continue;
        }
        let key = [world.now_ms.unsigned_abs(), process as u64, other as u64];
        let mut chance = Chance::keyed(world.seed, key);
        let mut is_next = |share: u64| chance.below(10) < share;
        let said = if is_next(LOST) {
            continue;
        } else if is_next(INVENTED) {
            invented(&mut chance, &digest, world.now_ms)
        } else if is_next(AGAIN) {
            before.clone().unwrap_or_default()
        } else {
            digest.clone()
        };
        world.processes[other].room.hear(said, world.now_ms);
    }
}

/// Jobs that are not, in kinds that are and in kinds that make no sense.
fn invented(chance: &mut Chance, like: &Digest, now_ms: i64) -> Digest {
    let mut digest = Digest { router: chance.below(4).to_string(), jobs: Vec::new(), ..like.clone() };
    let odd = [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300, 1e6];
    for value in odd {
        let backend = ["local", "cloud", "nowhere"][chance.below(3) as usize].parse().expect("a name");
        let ways = vec![(backend, value, value, 1.0)];
        // Servers that are not there, and more of them than there are ways.
        let unheard_of = "ffffffff".parse().ok();
        let capabilities = vec![unheard_of; chance.below(3) as usize];
        digest.kinds.push(DigestKind { reference_micro_usd: value, ways, capabilities });
    }
    for _ in 0..chance.below(40) {
        let (kind, tenant) = (chance.below(digest.kinds.len() as u64 + 1), chance.below(3));
        let since_ms = now_ms - chance.between(-100_000, 1_000_000);
        let deadline_ms = chance.per_mille(300).then(|| now_ms + chance.between(-50_000, 50_000));
        let profile = odd[chance.below(6) as usize];
        digest.jobs.push(DigestJob(
            since_ms,
            chance.below(100_000),
            deadline_ms,
            profile,
            tenant as u32,
            kind as u32,
        ));
    }
    digest
}
