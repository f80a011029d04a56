//! A simulated worker: the steps of [`protocol::worker`], started as the real one's pull starts them. Its ports are in
//! [`ports`], its provider's side in [`backend`].

pub(crate) mod attempt;
pub(crate) mod backend;
pub(crate) mod ports;

use protocol::worker::{report, rescue};
use schemas::{AttemptId, Class};

use super::broker::Payload;
use super::executor::Steps;
use super::ports::SimulatedPorts;
use super::process::Role;
use super::task::{Delivery, InHand, Task};
use super::world::World;

impl World {
    /// The ports of a worker's task, about a delivery if it is about one.
    fn worker_ports(&self, process: usize, delivery: Option<&Delivery>) -> SimulatedPorts {
        let shared = self.shared.upgrade().expect("the world runs");
        let ports = SimulatedPorts::new(shared, self, process, delivery.map(|delivery| delivery.job));
        let in_hand = delivery.map(|delivery| {
            let assignment = match &delivery.payload {
                Payload::Work(assignment) => Some(assignment),
                _ => None,
            };
            let is_its = |class: &Class| assignment.is_some_and(|assignment| assignment.class == *class);
            InHand {
                sequence: delivery.sequence,
                deliveries: delivery.delivered,
                job: delivery.job,
                attempt: assignment.map_or(0, |assignment| assignment.attempt),
                class: self.setting.classes.iter().position(is_its).unwrap_or_default(),
                delivered_ms: self.now_ms,
            }
        });
        SimulatedPorts { in_hand, ..ports }
    }

    /// A worker takes an assignment in hand.
    pub(crate) fn attempt(&self, process: usize, delivery: Delivery) -> Task {
        let ports = self.worker_ports(process, Some(&delivery));
        let in_hand = ports.in_hand;
        let attempt = match &delivery.payload {
            Payload::Work(assignment) => Some(assignment.id()),
            _ => None,
        };
        let steps = Steps::new(async move {
            protocol::worker::deliver(&ports, delivery).await;
            ports.watch_let_go(attempt);
        });
        Task::Worker(steps, in_hand)
    }

    /// Before a worker pulls: what a process before it left in the spool is written into the claims.
    pub(crate) fn mark_spooled(&mut self, process: usize) {
        if !self.has_spooled(process) {
            return;
        }
        let ports = self.worker_ports(process, None);
        let steps = Steps::new(async move {
            rescue::mark(&ports).await;
            ports.watch_marked();
        });
        self.begin(process, Task::Worker(steps, None));
    }

    /// A worker's look at its spool every few seconds.
    pub(crate) fn look_at_spool(&mut self, process: usize) {
        if !self.has_spooled(process) || self.processes[process].looks_at_spool {
            return;
        }
        self.processes[process].looks_at_spool = true;
        let incarnation = self.processes[process].incarnation;
        let ports = self.worker_ports(process, None);
        let steps = Steps::new(async move {
            rescue::look(&ports).await;
            ports.world(|world| {
                let found = &mut world.processes[process];
                if found.incarnation == incarnation {
                    found.looks_at_spool = false;
                }
            });
        });
        self.begin(process, Task::Worker(steps, None));
    }

    /// A worker takes a provider's report.
    pub(crate) fn take_report(&mut self, process: usize, attempt: AttemptId, id: String) {
        let ports = self.worker_ports(process, None);
        let steps = Steps::new(async move {
            if report::take(&ports, attempt, &id).await.is_ok() {
                ports.watch_reported(attempt);
            }
        });
        self.begin(process, Task::Worker(steps, None));
    }

    fn has_spooled(&self, process: usize) -> bool {
        matches!(self.processes[process].role, Role::Worker(_))
            && !(self.spools[process].is_empty() && self.kept_claims[process].is_empty())
    }
}
