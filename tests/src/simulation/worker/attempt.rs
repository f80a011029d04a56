//! An attempt in a simulated worker's hands.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use protocol::worker::{AttemptControl, Preparation, SharedClaim, Stop};
use schemas::{Assignment, DeliveredResult};

use crate::simulation::executor::{Shared, when};

/// Why an attempt has to end, once it has to; its process has it as well.
pub(crate) type Stopper = Rc<Cell<Option<Stop>>>;

/// An attempt as the simulated backends see it.
#[derive(Clone)]
pub(crate) struct SimulatedAttempt {
    pub(crate) shared: Shared,
    pub(crate) assignment: Arc<Assignment>,
    pub(crate) resume_id: Option<String>,
    pub(crate) held: SharedClaim,
    pub(crate) stopper: Stopper,
    pub(crate) delivered: Rc<RefCell<Option<DeliveredResult>>>,
}

impl SimulatedAttempt {
    pub(crate) fn new(shared: Shared, preparation: Preparation<'_>) -> Self {
        let Preparation { assignment, resume_id, delivered, held, .. } = preparation;
        Self {
            shared,
            assignment: Arc::clone(assignment),
            resume_id,
            held,
            stopper: Rc::default(),
            delivered: Rc::new(RefCell::new(delivered)),
        }
    }
}

impl AttemptControl for SimulatedAttempt {
    fn stop(&self, stop: Stop) {
        if self.stopper.get().is_none() {
            self.stopper.set(Some(stop));
        }
        // What runs beside this in the same task sees it at once.
        let mut world = self.shared.borrow_mut();
        let now_ms = world.now_ms;
        world.look_again_at(now_ms);
    }

    fn stop_reason(&self) -> Option<Stop> {
        self.stopper.get()
    }

    async fn stopped(&self) -> Stop {
        when(&self.shared, |_| self.stopper.get().is_some()).await;
        self.stopper.get().unwrap_or(Stop::Drain)
    }

    fn delivery(&self) -> Option<DeliveredResult> {
        self.delivered.borrow().clone()
    }

    async fn delivered(&self) -> DeliveredResult {
        loop {
            when(&self.shared, |_| self.delivered.borrow().is_some()).await;
            let delivered = self.delivered.borrow().clone();
            if let Some(delivered) = delivered {
                return delivered;
            }
        }
    }

    fn resumed_by(self, id: String) -> Self {
        Self { resume_id: Some(id), ..self }
    }
}
