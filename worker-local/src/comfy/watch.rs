//! Watches a submitted job to its end. Polling is the authority; the socket brings progress, and news
//! earlier. Three ways to lose a job are told apart: the server is gone, it came back without the job, or
//! its worker hangs.

use std::collections::BTreeMap;
use std::time::Duration;

use schemas::{Failure, FailureCode, Phase};
use tokio::time::Instant;
use worker_host::Attempt;

use crate::comfy::client::Client;
use crate::comfy::errors;
use crate::comfy::lookup::{Place, lookup};
use crate::comfy::message::Message;
use crate::comfy::socket::{Socket, SocketEvent};
use crate::comfy::stuck::Stuck;
use crate::comfy::wire::HistoryEntry;
use crate::config::ComfyConfig;

/// So many looks in a row without an answer, and the server is down.
const UNANSWERED_LOOKS: u32 = 3;
/// A server whose executor lives takes a waiting job at once when nothing runs.
const NOTHING_RUNS_MAX: Duration = Duration::from_secs(10);
/// The shortest silence that is a stall, whatever was learned: a model may have to be loaded.
const STALL_MIN: Duration = Duration::from_secs(60);
/// A silence is a stall when it is this many times as long as jobs of the class take.
const STALL_TIMES: u32 = 20;
/// After news of the end the history is asked so often.
const LATE_HISTORY_EVERY: Duration = Duration::from_millis(100);

/// What a job is watched with.
pub struct Watch<'a> {
    /// The server.
    pub client: &'a Client,
    /// Patience.
    pub config: &'a ComfyConfig,
    /// Where a stall is noted.
    pub stuck: &'a Stuck,
    /// Whom to tell.
    pub attempt: &'a Attempt,
    /// The job's id at the server.
    pub id: &'a str,
    /// Its nodes' classes, for words about progress.
    pub nodes: BTreeMap<String, String>,
    /// Its socket.
    pub socket: Socket,
    /// The client id that the socket is opened with.
    pub client_id: String,
}

/// What is known so far.
struct Known {
    since: Instant,
    last_sign: Instant,
    next_look: Instant,
    /// The socket is connected.
    hears: bool,
    /// The socket was connected without a break since the watch began.
    heard_all: bool,
    /// The socket was opened anew in this silence.
    reopened: bool,
    /// The server said that the run is over.
    over: bool,
    unanswered: u32,
    absent_since: Option<Instant>,
    /// Since when jobs wait and none runs.
    idle_since: Option<Instant>,
    /// What runs while it waits.
    behind: Option<String>,
    place: Option<(Phase, usize)>,
    told: Option<(Option<String>, u32, u32)>,
    queue_remaining: Option<u64>,
}

impl Known {
    /// The server was seen to run it.
    fn ran(&self) -> bool {
        self.told.is_some() || matches!(self.place, Some((Phase::Running, _)))
    }
}

impl Watch<'_> {
    /// Waits for the end. `hears`: the socket is already connected.
    ///
    /// # Errors
    /// The failure to end the attempt with, when there will be no end.
    pub async fn until_end(mut self, hears: bool) -> Result<HistoryEntry, Failure> {
        let now = Instant::now();
        let mut known = Known {
            since: now,
            last_sign: now,
            next_look: now + self.config.poll_after(Duration::ZERO),
            hears,
            heard_all: hears,
            reopened: false,
            over: false,
            unanswered: 0,
            absent_since: None,
            idle_since: None,
            behind: None,
            place: None,
            told: None,
            queue_remaining: None,
        };
        let ended = self.follow_all(&mut known).await;
        ended.map_err(|failure| Failure { while_running: known.ran(), ..failure })
    }

    async fn follow_all(&mut self, known: &mut Known) -> Result<HistoryEntry, Failure> {
        loop {
            tokio::select! {
                event = self.socket.next() => self.hear(event, known),
                () = tokio::time::sleep_until(known.next_look) => {
                    if let Some(entry) = self.look(known).await? {
                        return Ok(entry);
                    }
                }
            }
            self.notice_silence(known)?;
        }
    }

    fn hear(&self, event: SocketEvent, known: &mut Known) {
        let now = Instant::now();
        match event {
            SocketEvent::Up => known.hears = true,
            SocketEvent::Down => {
                (known.hears, known.heard_all) = (false, false);
                // A dying server closes its sockets first.
                known.next_look = known.next_look.min(now + LATE_HISTORY_EVERY);
            }
            SocketEvent::Message(Message::Status { queue_remaining }) => {
                if std::mem::replace(&mut known.queue_remaining, queue_remaining) != queue_remaining {
                    known.last_sign = now;
                }
            }
            SocketEvent::Message(message) if message.prompt() == Some(self.id) => {
                (known.last_sign, known.reopened) = (now, false);
                self.follow(&message, known);
            }
            SocketEvent::Message(Message::Binary) => known.last_sign = now,
            SocketEvent::Message(_) => {}
        }
    }

    /// A message about this job.
    fn follow(&self, message: &Message, known: &mut Known) {
        match message {
            Message::Executing { node: None, .. } => {
                known.over = true;
                known.next_look = Instant::now();
            }
            Message::Executing { node, .. } => self.tell(node.clone(), 0, 0, known),
            // One step of one is a node that does not count its steps.
            Message::Progress { node: node @ Some(_), value, max, .. } if *max > 1 => {
                self.tell(node.clone(), *value, *max, known);
            }
            Message::Started { .. } => self.tell(None, 0, 0, known),
            Message::Succeeded { .. } | Message::Interrupted { .. } => {
                known.next_look = known.next_look.min(Instant::now() + LATE_HISTORY_EVERY);
            }
            // A node's failure is not always the end: the history tells.
            _ => {}
        }
    }

    /// Tells watchers, once for each step.
    fn tell(&self, node: Option<String>, step: u32, steps: u32, known: &mut Known) {
        let news = Some((node, step, steps));
        if known.told != news {
            let (node, ..) = news.as_ref().unwrap_or_else(|| unreachable!("made above"));
            let words = node.as_ref().map(|id| self.nodes.get(id).unwrap_or(id).as_str());
            self.attempt.progress(Phase::Running, step, steps, words);
            known.told = news;
        }
    }

    async fn look(&self, known: &mut Known) -> Result<Option<HistoryEntry>, Failure> {
        let found = lookup(self.client, self.id).await;
        let now = Instant::now();
        known.next_look = now + self.config.poll_after(now - known.since);
        let place = match found {
            Err(error) => {
                known.unanswered += 1;
                known.heard_all = false;
                if known.unanswered >= UNANSWERED_LOOKS {
                    return Err(errors::unanswered(&error));
                }
                return Ok(None);
            }
            Ok(place) => place,
        };
        known.unanswered = 0;
        match place {
            Place::Ended(entry) => return Ok(Some(*entry)),
            Place::Absent => return self.miss(known).map(|()| None),
            Place::Running { .. } => {
                (known.idle_since, known.behind) = (None, None);
                self.see((Phase::Running, 0), known);
            }
            Place::Pending { waiting, behind, .. } => {
                if known.behind != behind {
                    // The queue moves.
                    known.last_sign = Instant::now();
                }
                self.see((Phase::Queued, waiting), known);
                known.behind = behind;
                self.notice_idleness(known)?;
            }
        }
        known.absent_since = None;
        Ok(None)
    }

    /// It is in the queue.
    fn see(&self, place: (Phase, usize), known: &mut Known) {
        if known.place == Some(place) {
            return;
        }
        let phase_is_new = known.place.map(|(phase, _)| phase) != Some(place.0);
        known.place = Some(place);
        (known.last_sign, known.reopened) = (Instant::now(), false);
        // Do not take back what the socket has told already.
        if phase_is_new && known.told.is_none() {
            self.attempt.progress(place.0, 0, 0, None);
        }
    }

    /// It is neither in the queue nor in the history: history may be late, else it is lost.
    fn miss(&self, known: &mut Known) -> Result<(), Failure> {
        let now = Instant::now();
        known.next_look = now + LATE_HISTORY_EVERY;
        let since = *known.absent_since.get_or_insert(now);
        if now - since < Duration::from_millis(self.config.history_grace_ms) {
            return Ok(());
        }
        Err(if known.over {
            Failure::new(FailureCode::Transient, "the job ended, but the server's history does not know it")
        } else if known.heard_all {
            Failure::new(FailureCode::Transient, "somebody took the job out of the server's queue")
        } else {
            let message = "ComfyUI lost the job: it is in neither queue nor history, so the server restarted";
            Failure::new(FailureCode::BackendDown, message)
        })
    }

    /// A job without any sign of life is stuck. Without a socket silence means nothing: then only the
    /// attempt's own time limit ends it.
    fn notice_silence(&mut self, known: &mut Known) -> Result<(), Failure> {
        let silence = known.last_sign.elapsed();
        let stall = self.stall_after();
        if !known.hears || silence < stall / 2 {
            return Ok(());
        }
        if !known.reopened {
            // Perhaps only the socket went deaf.
            self.socket =
                Socket::open(self.client.socket_url(&self.client_id), self.client.headers().clone());
            (known.reopened, known.hears) = (true, false);
        } else if silence >= stall {
            let message = format!(
                "ComfyUI shows no sign of life for {} s: it hangs; restart it",
                silence.as_secs_f64().ceil()
            );
            self.stuck.note(Some(known.behind.as_deref().unwrap_or(self.id)), &message);
            return Err(Failure::new(FailureCode::BackendDown, message));
        }
        Ok(())
    }

    /// How long a silence may be. Before half of the attempt's time is over, so that what a server's fault takes is not
    /// taken for the job's own.
    fn stall_after(&self) -> Duration {
        let service = &self.attempt.service;
        let usual_ms = self.attempt.learned_ms.unwrap_or(service.expected_ms);
        let usual = Duration::from_millis(usual_ms).saturating_mul(STALL_TIMES).max(STALL_MIN);
        let half = Duration::from_millis(service.timeout_ms / 2).max(Duration::from_millis(1));
        Duration::from_millis(self.config.stall_ms).min(usual).min(half)
    }

    /// Jobs wait and none runs: whatever takes them is gone, although the server answers.
    fn notice_idleness(&self, known: &mut Known) -> Result<(), Failure> {
        if known.behind.is_some() {
            known.idle_since = None;
            return Ok(());
        }
        let since = *known.idle_since.get_or_insert_with(Instant::now);
        if since.elapsed() < NOTHING_RUNS_MAX.min(self.stall_after()) {
            return Ok(());
        }
        let message = "ComfyUI answers and takes nothing out of its queue: its executor died; restart it";
        self.stuck.note(None, message);
        Err(Failure::new(FailureCode::BackendDown, message))
    }
}
