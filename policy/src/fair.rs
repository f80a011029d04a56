//! Who is next of those that wait: start-time fair queueing (Goyal, Vin and Cheng, 1996).
//!
//! Everybody who waits gets a tag, in slot time that was granted so far; the smallest tag is next. A flow (a
//! tenant in a lane) that asks for much gets tags further and further ahead, one that asks for little starts
//! at the present, so a flood delays its own flow alone. The tag grows by what a job costs, divided by the
//! weight of its lane.

use std::collections::HashMap;
use std::hash::Hash;

use schemas::Lane;

/// Flows that are remembered at most; those that are not ahead of the present are forgotten first.
pub const FLOWS_MAX: usize = 10_000;

/// Of contended slot time, what a lane gets beside another: 16 to 4 to 1.
#[must_use]
pub const fn weight(lane: Lane) -> u64 {
    match lane {
        Lane::Interactive => 16,
        Lane::Standard | Lane::Unknown => 4,
        Lane::Batch => 1,
    }
}

/// The order of those that wait.
#[derive(Debug, Clone)]
pub struct Fair<F> {
    now: u64,
    ahead: HashMap<F, u64>,
}

impl<F> Default for Fair<F> {
    fn default() -> Self {
        Self { now: 0, ahead: HashMap::new() }
    }
}

impl<F: Eq + Hash> Fair<F> {
    /// A tag for one more of a flow, that costs so much (slot time, in any unit).
    pub fn tag(&mut self, flow: F, cost: u64, weight: u64) -> u64 {
        if self.ahead.len() >= FLOWS_MAX {
            let now = self.now;
            self.ahead.retain(|_, ahead| *ahead > now);
        }
        let tag = self.ahead.get(&flow).copied().unwrap_or_default().max(self.now);
        // What is full forgets the newcomer: its next tag is the present again, which favours it.
        if self.ahead.len() < FLOWS_MAX || self.ahead.contains_key(&flow) {
            self.ahead.insert(flow, tag.saturating_add(cost.max(1) / weight.max(1)).max(tag + 1));
        }
        tag
    }

    /// The one with this tag got its turn: that is the present now.
    pub fn served(&mut self, tag: u64) {
        self.now = self.now.max(tag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who gets the next `count` turns, when all of these wait from the start.
    fn turns(waiting: &[(&'static str, u64, u64, usize)], count: usize) -> Vec<&'static str> {
        let mut fair = Fair::default();
        let mut tags: Vec<(u64, usize, &str)> = Vec::new();
        for (flow, cost, weight, times) in waiting {
            for _ in 0..*times {
                tags.push((fair.tag(*flow, *cost, *weight), tags.len(), flow));
            }
        }
        tags.sort_unstable();
        tags.into_iter().take(count).map(|(_, _, flow)| flow).collect()
    }

    #[test]
    fn a_flood_delays_itself() {
        let order = turns(&[("flood", 100, 1, 1_000), ("few", 100, 1, 3)], 6);
        assert_eq!(order, ["flood", "few", "flood", "few", "flood", "few"]);
    }

    #[test]
    fn what_costs_more_comes_less_often() {
        let order = turns(&[("long", 400, 1, 100), ("short", 100, 1, 100)], 10);
        assert_eq!(order.iter().filter(|flow| **flow == "short").count(), 8);
    }

    #[test]
    fn a_heavier_lane_comes_more_often() {
        let weights = Lane::ALL.map(weight);
        assert!(weights.is_sorted_by(|a, b| a > b), "{weights:?}");
        let order = turns(&[("batch", 100, 1, 100), ("urgent", 100, 16, 100)], 17);
        assert_eq!(order.iter().filter(|flow| **flow == "urgent").count(), 16);
    }

    #[test]
    fn whoever_comes_late_starts_at_the_present() {
        let mut fair = Fair::default();
        let early: Vec<u64> = (0..10).map(|_| fair.tag("early", 100, 1)).collect();
        fair.served(early[5]);
        let late = fair.tag("late", 100, 1);
        assert!(early[5] <= late && late < early[6], "{early:?} {late}");
    }

    #[test]
    fn memory_is_bounded() {
        let mut fair = Fair::default();
        (0..2 * FLOWS_MAX).for_each(|flow| {
            fair.tag(flow, 1_000, 1);
        });
        assert!(fair.ahead.len() <= FLOWS_MAX);
        assert_eq!(fair.tag(3 * FLOWS_MAX, 1_000, 1), 0, "a newcomer is not refused");
    }
}
