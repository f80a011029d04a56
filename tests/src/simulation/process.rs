//! A simulated process: what it remembers, and what of that a kill, a pause or a cut line takes away.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use policy::breaker::Breaker;
use policy::fleet::Fleet;
use protocol::router::intake::Intake;
use protocol::router::lost::Lost;
use protocol::router::orphans::Orphans;
use protocol::router::room::Room;
use protocol::router::take_back::Deserted;
use protocol::router::too_new::Resting;
use schemas::{AttemptId, WorkerId};

use super::broker::LEDGER;
use super::schedule::Happening;
use super::worker::attempt::Stopper;

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Router,
    /// Serves a backend, by number.
    Worker(usize),
    Ledger,
}

/// Jobs of a lane that may wait for room before it pulls no more: few, so that a run's jobs fill it.
const WAITING_MAX: usize = 3;

/// The processes of every run: one more than is needed of each, so that another goes on.
pub(crate) const PROCESSES: [(&str, Role); 10] = [
    ("router-1", Role::Router),
    ("router-2", Role::Router),
    ("local-1", Role::Worker(super::setting::LOCAL)),
    ("local-2", Role::Worker(super::setting::LOCAL)),
    ("cloud-1", Role::Worker(super::setting::CLOUD)),
    ("cloud-2", Role::Worker(super::setting::CLOUD)),
    ("gemini-1", Role::Worker(super::setting::GEMINI)),
    ("gemini-2", Role::Worker(super::setting::GEMINI)),
    ("ledger-1", Role::Ledger),
    ("ledger-2", Role::Ledger),
];

/// One process. All but name, role and worker id is lost with a kill.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    pub(crate) worker: WorkerId,
    /// Counts its starts: what was planned for an earlier one is void.
    pub(crate) incarnation: u32,
    pub(crate) up: bool,
    /// Stopped (SIGSTOP); what happens to it meanwhile waits here.
    pub(crate) paused: bool,
    pub(crate) frozen: Vec<Happening>,
    pub(crate) paused_ms: i64,
    /// When it went on last, Unix milliseconds.
    pub(crate) resumed_ms: i64,
    /// When its machine went on last, Unix milliseconds.
    pub(crate) woke_ms: i64,
    /// It is stopped for so long as soon as it holds a new claim, milliseconds.
    pub(crate) trapped_ms: Option<i64>,
    /// It dies for so long when a result lies in its spool, or work hangs at its own server, milliseconds; and so much
    /// later the job's cancel is asked for.
    pub(crate) snatched: Option<(i64, Option<i64>)>,
    /// It is cut off for so long as soon as a result lies in its spool, milliseconds.
    pub(crate) severed_ms: Option<i64>,
    /// It takes no more work and lets go of what runs after a grace.
    pub(crate) draining: bool,
    pub(crate) letting_go: bool,
    /// Cut off from the broker until then, Unix milliseconds.
    pub(crate) cut_until_ms: i64,
    /// A part of its calls or their answers is lost until then, Unix milliseconds.
    pub(crate) lossy_until_ms: i64,
    /// It is a router of an older release until then, Unix milliseconds, and takes no job.
    pub(crate) older_until_ms: i64,
    /// Until when it cannot read a document.
    pub(crate) unreadable_until_ms: i64,
    /// When a call of it, or the answer, was lost last, Unix milliseconds.
    pub(crate) lost_ms: i64,
    pub(crate) in_hand: u32,
    /// A router's messages in hand, by lane, and failed attempts: each lane pulls for itself.
    pub(crate) at_work: [u32; LEDGER],
    /// The jobs that are to be cancelled, and since when it knows.
    pub(crate) cancels: HashMap<u32, i64>,
    /// The attempts that run here, by their jobs.
    pub(crate) running: HashMap<u32, Stopper>,
    /// Spooled results that the process works on.
    pub(crate) spooled_in_hand: BTreeSet<AttemptId>,
    pub(crate) looks_at_spool: bool,
    pub(crate) fleet: Rc<RefCell<Fleet>>,
    pub(crate) backlog_seen_ms: i64,
    pub(crate) ledger_available: bool,
    pub(crate) ledger_asked_ms: i64,
    /// Jobs in a router's hand that wait for room.
    pub(crate) room: Room,
    /// A router's lanes.
    pub(crate) intakes: Rc<[Intake; 3]>,
    pub(crate) resting: Rc<Resting>,
    /// What a router remembers between two looks; taken out while it looks.
    pub(crate) deserted: Rc<RefCell<Option<Deserted>>>,
    pub(crate) orphans: Rc<RefCell<Option<Orphans>>>,
    pub(crate) lost: Rc<RefCell<Option<Lost>>>,
    /// A look at the room is planned.
    pub(crate) looks_at_room: bool,
    /// A lane is being read past its consumer.
    pub(crate) reads_past: [bool; 3],
    pub(crate) healthy: bool,
    /// What a worker remembers of its own server's failures.
    pub(crate) breaker: Breaker,
    pub(crate) learned_ms: BTreeMap<usize, u64>,
    pub(crate) started_ms: i64,
    /// What its clock is off by after it was corrected, milliseconds.
    pub(crate) clock_ms: i64,
    /// What the times in its offers and failed attempts are off by, milliseconds: a process of a release that does not
    /// correct its clock.
    pub(crate) stamps_ms: i64,
}

impl Process {
    pub(crate) fn new(name: &'static str, role: Role, now_ms: i64) -> Self {
        Self {
            name,
            role,
            worker: name.parse().expect("a valid name"),
            incarnation: 0,
            up: true,
            paused: false,
            frozen: Vec::new(),
            paused_ms: 0,
            resumed_ms: 0,
            woke_ms: 0,
            trapped_ms: None,
            snatched: None,
            severed_ms: None,
            draining: false,
            letting_go: false,
            cut_until_ms: 0,
            lossy_until_ms: 0,
            older_until_ms: 0,
            unreadable_until_ms: 0,
            lost_ms: 0,
            in_hand: 0,
            at_work: [0; LEDGER],
            cancels: HashMap::new(),
            running: HashMap::new(),
            spooled_in_hand: BTreeSet::new(),
            looks_at_spool: false,
            fleet: Rc::default(),
            room: Room::default(),
            intakes: Rc::new(std::array::from_fn(|_| Intake::with_waiting_max(WAITING_MAX))),
            resting: Rc::default(),
            deserted: Rc::new(RefCell::new(Some(Deserted::default()))),
            orphans: Rc::new(RefCell::new(Some(Orphans::default()))),
            lost: Rc::new(RefCell::new(Some(Lost::default()))),
            looks_at_room: false,
            reads_past: [false; 3],
            backlog_seen_ms: 0,
            ledger_available: false,
            ledger_asked_ms: 0,
            healthy: true,
            breaker: Breaker::default(),
            learned_ms: BTreeMap::new(),
            started_ms: now_ms,
            clock_ms: 0,
            stamps_ms: 0,
        }
    }

    /// Dies: memory is gone, and the next start is another process.
    pub(crate) fn kill(&mut self, now_ms: i64) {
        let next = Self::new(self.name, self.role, now_ms);
        *self = Self {
            incarnation: self.incarnation + 1,
            up: false,
            lossy_until_ms: self.lossy_until_ms,
            older_until_ms: self.older_until_ms,
            unreadable_until_ms: self.unreadable_until_ms,
            clock_ms: self.clock_ms,
            stamps_ms: self.stamps_ms,
            ..next
        };
    }

    /// News have reached it since a moment as soon as there were any.
    pub(crate) const fn has_heard_since(&self, since_ms: i64) -> bool {
        self.up && !self.paused && self.resumed_ms <= since_ms && self.cut_until_ms <= since_ms
    }

    /// It has run since a moment, and nothing stood in its way.
    pub(crate) const fn is_well_since(&self, since_ms: i64) -> bool {
        self.has_heard_since(since_ms)
            && !self.draining
            && self.started_ms <= since_ms
            && self.woke_ms <= since_ms
            && self.lost_ms < since_ms
    }

    /// It runs and can be spoken with.
    pub(crate) const fn is_reachable(&self, now_ms: i64) -> bool {
        self.up && !self.paused && now_ms >= self.cut_until_ms
    }
}
