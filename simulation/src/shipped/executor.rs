//! Runs the steps of one router: futures that are polled one at a time, whenever they were woken.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Tasks that were woken, by number.
#[derive(Debug, Clone, Default)]
struct Woken(Arc<Mutex<Vec<usize>>>);

struct Waking {
    task: usize,
    woken: Woken,
}

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.0.lock().unwrap_or_else(PoisonError::into_inner).push(self.task);
    }
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    /// What it counts as, given back when it ends.
    kind: usize,
}

/// The tasks of one router.
#[derive(Default)]
pub(crate) struct Tasks {
    tasks: Vec<Option<Task>>,
    wakers: Vec<Waker>,
    free: Vec<usize>,
    woken: Woken,
    /// How many there are of each kind.
    counts: [usize; 5],
}

impl Tasks {
    pub(crate) const fn count(&self, kind: usize) -> usize {
        self.counts[kind]
    }

    /// Begins a task: it is polled at once, and most are done then.
    pub(crate) fn spawn(&mut self, kind: usize, future: impl Future<Output = ()> + 'static) {
        let number = self.free.pop().unwrap_or_else(|| {
            let task = self.tasks.len();
            self.tasks.push(None);
            self.wakers.push(Waker::from(Arc::new(Waking { task, woken: self.woken.clone() })));
            task
        });
        self.counts[kind] += 1;
        self.tasks[number] = Some(Task { future: Box::pin(future), kind });
        self.poll(number);
    }

    /// Polls what was woken; whether anything was.
    pub(crate) fn run(&mut self) -> bool {
        let mut ran = false;
        loop {
            let woken = std::mem::take(&mut *self.woken.0.lock().unwrap_or_else(PoisonError::into_inner));
            if woken.is_empty() {
                return ran;
            }
            ran = true;
            woken.into_iter().for_each(|number| self.poll(number));
        }
    }

    fn poll(&mut self, number: usize) {
        // A timer of a task that is gone may wake its number's next one, which then waits on.
        let Some(mut task) = self.tasks[number].take() else { return };
        match task.future.as_mut().poll(&mut Context::from_waker(&self.wakers[number])) {
            Poll::Pending => self.tasks[number] = Some(task),
            Poll::Ready(()) => {
                self.counts[task.kind] -= 1;
                self.free.push(number);
            }
        }
    }
}
