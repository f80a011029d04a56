//! Runs the protocol's steps: one future at a time, in virtual time. To kill a process is to drop its futures, to pause
//! it is not to poll them.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use super::world::World;

/// The world as futures reach it: borrowed for the length of a call, never across an await.
pub(crate) type Shared = Rc<RefCell<World>>;

/// Tasks that were woken by other tasks, by number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Woken(Arc<Mutex<Vec<usize>>>);

impl Woken {
    pub(crate) fn take(&self) -> Vec<usize> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Waking {
    task: usize,
    woken: Woken,
}

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        self.woken.0.lock().unwrap_or_else(PoisonError::into_inner).push(self.task);
    }
}

/// Steps of a process that run as a future.
pub(crate) struct Steps {
    future: Pin<Box<dyn Future<Output = ()>>>,
    waker: Option<Waker>,
}

impl Steps {
    pub(crate) fn new(future: impl Future<Output = ()> + 'static) -> Self {
        Self { future: Box::pin(future), waker: None }
    }

    /// Polls once, with the world not borrowed.
    pub(crate) fn poll(&mut self, task: usize, woken: &Woken) -> Poll<()> {
        let waker =
            self.waker.get_or_insert_with(|| Waker::from(Arc::new(Waking { task, woken: woken.clone() })));
        self.future.as_mut().poll(&mut Context::from_waker(waker))
    }
}

/// Returns at a moment of virtual time.
pub(crate) async fn until(world: &Shared, at_ms: i64) {
    poll_fn(|_| {
        let mut world = world.borrow_mut();
        if world.now_ms >= at_ms {
            return Poll::Ready(());
        }
        world.look_again_at(at_ms);
        Poll::Pending
    })
    .await;
}

/// Returns when something is so; looked at whenever the task is polled.
pub(crate) async fn when(world: &Shared, is_so: impl Fn(&World) -> bool) {
    poll_fn(|_| if is_so(&world.borrow()) { Poll::Ready(()) } else { Poll::Pending }).await;
}
