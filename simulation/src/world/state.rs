//! The world: what is where, and what happens next.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use schemas::{Assignment, Class, Failure, FailureCode, JobState, MicroUsd};

use super::agenda::{Agenda, Event};
use super::binding::{Binding, FailedAttempt, Notice};
use super::pool::Pool;
use super::rows::Rows;
use super::server::{Fate, Running, Server};
use crate::chance::Chance;
use crate::fleet::{FleetSpec, ServerSpec};
use crate::job::SimJob;
use crate::setting::{START_MS, Setting};

/// The world as strategies reach it: borrowed for the length of a call.
pub type Shared = Rc<RefCell<World>>;

/// The simulated world.
pub struct World {
    /// Now, Unix milliseconds.
    pub now_ms: i64,
    /// The documents.
    pub setting: Rc<Setting>,
    /// All jobs, in order of their acceptance.
    pub jobs: Arc<Vec<SimJob>>,
    /// The servers.
    pub servers: Vec<Server>,
    /// Grows with every change that a router's poll would see.
    pub version: u64,
    pub(crate) agenda: Agenda,
    pub(crate) queues: Vec<VecDeque<Binding>>,
    backlog: BTreeMap<(usize, Class), u64>,
    rows: Rows,
    fleet: FleetSpec,
    pool: Pool,
    next_arrival: usize,
    open_jobs: usize,
    sequence: u64,
    seed: u64,
}

impl World {
    /// The world of a workload. The seed decides which attempts fail.
    #[must_use]
    pub fn new(jobs: Arc<Vec<SimJob>>, fleet: &FleetSpec, setting: &Rc<Setting>, seed: u64) -> Self {
        let backends: Vec<_> = setting.backends().cloned().collect();
        let place = |server: &ServerSpec| {
            backends.iter().position(|backend| *backend == server.backend).unwrap_or_default()
        };
        let servers: Vec<Server> =
            fleet.servers.iter().map(|spec| Server::new(spec, place(spec), setting)).collect();
        let mut agenda = Agenda::default();
        for outage in &fleet.outages {
            for (index, _) in fleet.servers.iter().enumerate().filter(|(_, server)| outage.hits(server)) {
                agenda.push(START_MS + outage.from_ms, Event::Down(index));
                agenda.push(START_MS + outage.until_ms, Event::Up(index));
            }
        }
        let rows = Rows::new(&jobs, &servers);
        Self {
            now_ms: START_MS,
            setting: Rc::clone(setting),
            servers,
            version: 1,
            agenda,
            queues: vec![VecDeque::new(); backends.len()],
            backlog: BTreeMap::new(),
            rows,
            fleet: fleet.clone(),
            pool: Pool::new(fleet.serverless.clone()),
            next_arrival: 0,
            open_jobs: jobs.len(),
            sequence: 0,
            seed,
            jobs,
        }
    }

    /// The next moment at which something happens; none when all jobs have ended, or nothing will happen any more.
    #[must_use]
    pub fn next_at_ms(&self) -> Option<i64> {
        if self.open_jobs == 0 {
            return None;
        }
        let arrival = self.jobs.get(self.next_arrival).map(|job| job.at_ms);
        arrival.into_iter().chain(self.agenda.next_at_ms()).min()
    }

    /// Lets the next thing of this moment happen; none when all has happened. `Some(None)`: no strategy has to hear of it.
    pub fn step(&mut self) -> Option<Option<Notice>> {
        if self.jobs.get(self.next_arrival).is_some_and(|job| job.at_ms <= self.now_ms) {
            self.next_arrival += 1;
            return Some(Some(Notice::Arrived(self.next_arrival - 1)));
        }
        Some(match self.agenda.pop(self.now_ms)? {
            Event::Wake(code) => Some(Notice::Woken(code)),
            Event::Timer(waker) => {
                waker.wake();
                None
            }
            Event::Ends { server, token } => self.attempt_ends(server, token),
            Event::Down(server) => self.goes_down(server),
            Event::Up(server) => {
                self.servers[server].outages -= 1;
                self.changed(server);
                None
            }
            Event::Lost(failed) => Some(Notice::Failed(failed)),
        })
    }

    /// Has the strategy woken at a moment.
    pub fn wake_at(&mut self, at_ms: i64, code: u64) {
        self.agenda.push(at_ms.max(self.now_ms), Event::Wake(code));
    }

    /// Binds an attempt to a backend.
    pub fn bind(
        &mut self,
        job: usize,
        attempt: u32,
        backend: usize,
        timeout_ms: u64,
        assignment: Option<Rc<Assignment>>,
    ) {
        self.sequence += 1;
        self.version += 1;
        self.count_backlog(backend, job, 1);
        self.queues[backend].push_back(Binding {
            job,
            attempt,
            backend,
            sequence: self.sequence,
            bound_at_ms: self.now_ms,
            timeout_ms,
            assignment,
        });
    }

    /// Takes what waits at a backend out of its queue.
    pub fn unbind(&mut self, sequence: u64) -> Option<Binding> {
        for backend in 0..self.queues.len() {
            if let Ok(at) = self.queues[backend].binary_search_by_key(&sequence, |binding| binding.sequence) {
                let binding = self.queues[backend].remove(at)?;
                self.count_backlog(backend, binding.job, -1);
                self.version += 1;
                return Some(binding);
            }
        }
        None
    }

    /// Ends a job that no attempt will end. The first end counts.
    pub fn end(&mut self, job: usize, state: JobState) {
        if self.rows.end(job, state, self.now_ms) {
            self.open_jobs -= 1;
        }
    }

    /// Whether a job has ended.
    #[must_use]
    pub fn has_ended(&self, job: usize) -> bool {
        self.rows.jobs[job].state.is_some()
    }

    /// Jobs of a class that wait or run at a backend.
    #[must_use]
    pub const fn backlog(&self) -> &BTreeMap<(usize, Class), u64> {
        &self.backlog
    }

    /// How many attempts a backend can run at once when all its servers are up.
    #[must_use]
    pub fn workers_max(&self, backend: usize) -> usize {
        let servers = || self.servers.iter().filter(|server| server.backend == backend);
        let slots: usize = servers().map(|server| server.spec.slots as usize).sum();
        let is_serverless = servers().any(|server| server.is_serverless);
        if is_serverless { slots.min(self.fleet.serverless.workers as usize) } else { slots }
    }

    /// Slots of a backend's servers that are up, free, and not spoken for by what waits there. Of a serverless
    /// provider no more than it has workers.
    #[must_use]
    pub fn free_slots(&self, backend: usize) -> usize {
        let up = self.servers.iter().filter(|server| server.backend == backend && server.is_up());
        let (mut slots, mut running) = (0, 0);
        for server in up {
            slots += server.spec.slots as usize;
            running += server.running.len();
        }
        let slots = slots.min(self.workers_max(backend));
        slots.saturating_sub(running + self.queues[backend].len())
    }

    /// Servers with free slots pull what waits for their backend, the one that was idle for longest first.
    pub fn dispatch(&mut self) {
        for backend in 0..self.queues.len() {
            while self.pull_one(backend) {}
        }
    }

    fn pull_one(&mut self, backend: usize) -> bool {
        if self.queues[backend].is_empty() {
            return false;
        }
        let mut free: Vec<usize> = (0..self.servers.len())
            .filter(|server| self.servers[*server].backend == backend && self.servers[*server].has_room())
            .collect();
        free.sort_by_key(|server| (self.servers[*server].idle_since_ms, *server));
        for server in free {
            let jobs = &self.jobs;
            let makes = |binding: &Binding| self.servers[server].makes(&jobs[binding.job].admitted.class);
            if let Some(at) = self.queues[backend].iter().position(makes)
                && let Some(binding) = self.queues[backend].remove(at)
            {
                self.begin(server, binding);
                return true;
            }
        }
        false
    }

    fn begin(&mut self, server: usize, binding: Binding) {
        self.changed(server);
        let job = Arc::clone(&self.jobs);
        let job = &job[binding.job];
        let now_ms = self.now_ms;
        let deadline_ms = job.job.constraints.deadline_ms;
        if deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now_ms) {
            let words = "its deadline passed before its worker began";
            let failed = FailedAttempt {
                server,
                started_at_ms: now_ms,
                failure: Failure::new(FailureCode::Expired, words),
                usage: Vec::new(),
                cost: MicroUsd::ZERO,
                binding,
            };
            self.settle_failed(failed, now_ms);
            return;
        }
        let run_ms = job.choice(binding.backend).map_or(1, |choice| choice.run_ms);
        let ready_ms = self.servers[server].ready_ms(&job.job, now_ms);
        let run_ms = run_ms.saturating_mul(100).div_ceil(self.servers[server].spec.speed_percent).max(1);
        let place = self.servers[server]
            .is_serverless
            .then(|| self.pool.place(ready_ms, &self.setting, &mut self.rows));
        let exec_at_ms = place.map_or(ready_ms, |place| place.exec_at_ms);
        let natural_ms = exec_at_ms.saturating_add_unsigned(run_ms);
        let timeout_ms = now_ms.saturating_add_unsigned(binding.timeout_ms);
        let mut fate = Fate::Succeeds;
        let mut ends_ms = natural_ms;
        if self.fails(server, &binding) {
            (fate, ends_ms) = (Fate::Fails, exec_at_ms.saturating_add_unsigned(run_ms / 2 + 1));
        }
        if timeout_ms < ends_ms {
            (fate, ends_ms) = (Fate::TimesOut, timeout_ms);
        }
        if let Some(deadline_ms) = deadline_ms.filter(|deadline_ms| *deadline_ms < ends_ms) {
            (fate, ends_ms) = (Fate::Expires, deadline_ms);
        }
        if let Some(place) = place {
            self.pool.busy_until(place.worker, ends_ms);
        }
        self.sequence += 1;
        let token = self.sequence;
        let worker = place.map(|place| place.worker);
        self.servers[server].running.push(Running {
            binding,
            started_at_ms: now_ms,
            exec_at_ms,
            token,
            fate,
            worker,
        });
        self.agenda.push(ends_ms, Event::Ends { server, token });
    }

    fn fails(&self, server: usize, binding: &Binding) -> bool {
        let permille = self.servers[server].spec.failures_permille;
        let parts = [binding.job as u64, binding.attempt.into(), binding.backend as u64];
        permille > 0 && Chance::of(self.seed, &parts).permille(permille)
    }

    fn attempt_ends(&mut self, server: usize, token: u64) -> Option<Notice> {
        let running = self.servers[server].take(token)?;
        let code = match running.fate {
            Fate::Succeeds => None,
            Fate::Fails => Some(FailureCode::Transient),
            Fate::TimesOut => Some(FailureCode::Timeout),
            Fate::Expires => Some(FailureCode::Expired),
        };
        self.settle(server, running, code)
    }

    /// An attempt is over: it is booked, and the job ends or the strategy hears of it.
    fn settle(&mut self, server: usize, running: Running, code: Option<FailureCode>) -> Option<Notice> {
        self.changed(server);
        let now_ms = self.now_ms;
        let found = &mut self.servers[server];
        found.idle_since_ms = now_ms;
        let busy_ms = (now_ms - running.started_at_ms).unsigned_abs();
        self.rows.slots[server].busy_ms += busy_ms;
        let Running { binding, started_at_ms, exec_at_ms, worker, .. } = running;
        let job = Arc::clone(&self.jobs);
        let class = &job[binding.job].admitted.class;
        let exec_ms = (now_ms - exec_at_ms).max(0).unsigned_abs();
        let (usage, cost) = self.servers[server].bill(class, exec_ms, code, now_ms, &self.setting);
        if let Some(worker) = worker {
            self.pool.ended(worker, now_ms, cost);
        }
        let Some(code) = code else {
            self.count_backlog(binding.backend, binding.job, -1);
            if self.servers[server].learn(class, busy_ms) {
                self.changed(server);
            }
            self.rows.attempt(&binding, server, started_at_ms, now_ms, cost, None);
            self.end(binding.job, JobState::Completed);
            return Some(Notice::Succeeded { job: binding.job, backend: binding.backend, run_ms: busy_ms });
        };
        let failure = Failure::new(code, format!("{} in the simulation", code.as_str()));
        let failed = FailedAttempt { server, started_at_ms, failure, usage, cost, binding };
        self.book_failed(&failed, now_ms);
        Some(Notice::Failed(Box::new(failed)))
    }

    fn book_failed(&mut self, failed: &FailedAttempt, now_ms: i64) {
        self.count_backlog(failed.binding.backend, failed.binding.job, -1);
        let code = Some(failed.failure.code);
        self.rows.attempt(&failed.binding, failed.server, failed.started_at_ms, now_ms, failed.cost, code);
    }

    /// The same for one that did not begin; the strategy hears of it in its turn.
    fn settle_failed(&mut self, failed: FailedAttempt, now_ms: i64) {
        self.book_failed(&failed, now_ms);
        self.agenda.push(now_ms, Event::Lost(Box::new(failed)));
    }

    fn goes_down(&mut self, server: usize) -> Option<Notice> {
        self.servers[server].outages += 1;
        self.changed(server);
        while let Some(token) = self.servers[server].running.first().map(|running| running.token) {
            let running = self.servers[server].take(token)?;
            if let Some(Notice::Failed(failed)) = self.settle(server, running, Some(FailureCode::BackendDown))
            {
                self.agenda.push(self.now_ms, Event::Lost(failed));
            }
        }
        None
    }

    fn changed(&mut self, server: usize) {
        self.version += 1;
        self.servers[server].version = self.version;
    }

    fn count_backlog(&mut self, backend: usize, job: usize, more: i64) {
        let class = self.jobs[job].admitted.class.clone();
        let count = self.backlog.entry((backend, class)).or_default();
        *count = count.saturating_add_signed(more);
    }

    /// The rows of the run, once nothing happens any more.
    #[must_use]
    pub fn finish(mut self) -> Rows {
        self.pool.close(&self.setting, &mut self.rows);
        self.rows
    }
}
