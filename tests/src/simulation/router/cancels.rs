//! How a request to cancel is kept, and how a process learns of it.

use protocol::router::BucketEntry;
use protocol::worker::Stop;
use schemas::topology::bucket;

use crate::simulation::ports::number;
use crate::simulation::schedule::Happening;
use crate::simulation::world::World;

impl World {
    /// A process learns that a job is to be cancelled; what it runs for it stops.
    pub(crate) fn learn_of_cancel(&mut self, process: usize, job: u32) {
        let now_ms = self.now_ms;
        if self.processes[process].cancels.contains_key(&job) {
            return;
        }
        self.processes[process].cancels.insert(job, now_ms);
        if let Some(stopper) = self.processes[process].running.get(&job)
            && stopper.get().is_none()
        {
            stopper.set(Some(Stop::Cancelled));
        }
        self.tasks.of_job(process, job).into_iter().for_each(|number| self.wake(number));
    }
}

/// The request is durable, and every process that watches learns of it.
pub(super) fn request_cancel(world: &mut World, job: u32) {
    world.broker.cancels.insert(job);
    if let Some(body) = world.jobs[job as usize].clone() {
        let now_ms = world.now_ms;
        world.broker.put_entry(bucket::CANCELS, body.id.to_string(), Vec::new(), now_ms);
    }
    for process in 0..world.processes.len() {
        let found = &world.processes[process];
        if found.up && world.now_ms >= found.cut_until_ms {
            let incarnation = found.incarnation;
            let at_ms = world.now_ms + world.moment();
            world.schedule.at(at_ms, Happening::Cancel { process, incarnation, job });
        }
    }
}

/// The key or the request is gone, and every process that watches forgets the request.
pub(super) fn remove_entry(world: &mut World, entry: &BucketEntry) {
    let keyed = world.broker.keys.get(&entry.key).map(|record| number(record.job));
    world.broker.remove_entry(entry);
    if let Some(job) = keyed {
        return world.watch_key_removed(job);
    }
    let Ok(job) = entry.key.parse() else { return };
    let now_ms = world.now_ms;
    for process in world.processes.iter_mut().filter(|process| process.is_reachable(now_ms)) {
        process.cancels.remove(&number(job));
    }
}
