//! Queue, history and the one job that runs: what a restart of the server wipes.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::validate::Graph;

/// The real server's limit; the oldest entry goes first.
const MAX_HISTORY: usize = 10_000;

/// A queued prompt.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) number: f64,
    pub(super) arrival: u64,
    pub(super) id: String,
    pub(super) graph: Graph,
    pub(super) extra_data: Value,
    pub(super) outputs: Vec<String>,
    pub(super) client_id: Option<String>,
}

impl Item {
    /// The five elements that `/queue` and `/history` show.
    pub(super) fn show(&self) -> Value {
        json!([self.shown_number(), self.id, self.graph, self.extra_data, self.outputs])
    }

    fn runs_before(&self, other: &Self) -> bool {
        self.number.total_cmp(&other.number).then(self.arrival.cmp(&other.arrival)).is_lt()
    }

    pub(super) fn shown_number(&self) -> Value {
        if self.number.fract() == 0.0 { json!(self.number as i64) } else { json!(self.number) }
    }
}

pub(super) struct Running {
    pub(super) item: Item,
    pub(super) started_ms: u64,
    pub(super) last_node: Option<String>,
    /// When the running sampler notices the interrupt; `None` without one.
    pub(super) interrupt_at_ms: Option<u64>,
}

/// A finished job.
pub(super) struct Past {
    pub(super) id: String,
    pub(super) item: Item,
    pub(super) outputs: Map<String, Value>,
    pub(super) status: Value,
    pub(super) started_ms: u64,
    pub(super) ended_ms: u64,
}

impl Past {
    pub(super) fn show(&self) -> Value {
        let meta: Map<_, _> = self
            .outputs
            .keys()
            .map(|id| {
                (
                    id.clone(),
                    json!({"node_id": id, "display_node": id, "parent_node": null, "real_node_id": id}),
                )
            })
            .collect();
        json!({"prompt": self.item.show(), "outputs": self.outputs, "status": self.status, "meta": meta})
    }
}

#[derive(Default)]
pub(super) struct Queue {
    pub(super) counter: u64,
    pub(super) arrivals: u64,
    pub(super) pending: Vec<Item>,
    pub(super) running: Option<Running>,
    pub(super) history: Vec<Past>,
    /// Results kept between jobs, by what produced them; an output node's value is what it showed.
    pub(super) cache: HashMap<u64, Option<Value>>,
}

impl Queue {
    pub(super) fn remaining(&self) -> usize {
        self.pending.len() + usize::from(self.running.is_some())
    }

    /// Adds a job. `/queue` shows the heap as it lies in memory, so this is the heap the real server has.
    pub(super) fn push(&mut self, item: Item) {
        self.pending.push(item);
        let mut at = self.pending.len() - 1;
        while at > 0 && self.pending[at].runs_before(&self.pending[(at - 1) / 2]) {
            self.pending.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    }

    /// Takes the job that runs next.
    pub(super) fn pop(&mut self) -> Option<Item> {
        if self.pending.is_empty() {
            return None;
        }
        let first = self.pending.swap_remove(0);
        self.sift_down(0);
        Some(first)
    }

    fn sift_down(&mut self, mut at: usize) {
        let heap = &mut self.pending;
        loop {
            let children = [2 * at + 1, 2 * at + 2].into_iter().filter(|child| *child < heap.len());
            let Some(least) = children.reduce(|a, b| if heap[b].runs_before(&heap[a]) { b } else { a })
            else {
                return;
            };
            if !heap[least].runs_before(&heap[at]) {
                return;
            }
            heap.swap(at, least);
            at = least;
        }
    }

    /// Removes pending jobs; says whether there were any.
    pub(super) fn delete_pending(&mut self, ids: &[String]) -> bool {
        let before = self.pending.len();
        self.pending.retain(|item| !ids.contains(&item.id));
        for at in (0..self.pending.len() / 2).rev() {
            self.sift_down(at);
        }
        self.pending.len() < before
    }

    pub(super) fn past(&self, id: &str) -> Option<&Past> {
        self.history.iter().find(|past| past.id == id)
    }

    /// The same id again replaces the earlier entry, at the end.
    pub(super) fn remember(&mut self, past: Past) {
        self.history.retain(|earlier| earlier.id != past.id);
        if self.history.len() >= MAX_HISTORY {
            self.history.remove(0);
        }
        self.history.push(past);
    }

    /// A page of the history, oldest first. Without `offset`, the newest `max_items`.
    pub(super) fn page(&self, max_items: Option<usize>, offset: Option<i64>) -> Value {
        let total = self.history.len();
        let start = match (offset, max_items) {
            (Some(offset), _) if offset >= 0 => offset as usize,
            (_, Some(max)) => total.saturating_sub(max),
            _ => 0,
        };
        let entries = self.history.iter().skip(start).take(max_items.unwrap_or(total));
        entries.map(|past| (past.id.clone(), past.show())).collect::<Map<_, _>>().into()
    }
}
