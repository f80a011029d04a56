//! How a process learns of a request to cancel.

use protocol::worker::Stop;

use crate::simulation::world::World;

impl World {
    /// A process learns that a job is to be cancelled; what it runs for it stops.
    pub(crate) fn learn_of_cancel(&mut self, process: usize, job: u32) {
        if !self.processes[process].cancels.insert(job) {
            return;
        }
        if let Some(stopper) = self.processes[process].running.get(&job)
            && stopper.get().is_none()
        {
            stopper.set(Some(Stop::Cancelled));
        }
        self.tasks.of_job(process, job).into_iter().for_each(|number| self.wake(number));
    }
}
