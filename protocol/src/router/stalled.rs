//! Messages that a consumer has delivered, waits for, and does not deliver again, though the process that had them is
//! gone. A drill on three nodes left one at a consumer that had changed its leader (nats-server 2.15.1): it counted one
//! message as in delivery for many acknowledgement waits, beside pulls that waited.
//!
//! Whose hands a message is in is known: workers list what they run, and routers answer for the jobs that they hold. What
//! is in nobody's hands look after look makes its consumer stalled. The cure loses nothing: another leader is chosen for
//! the consumer, which reads what is in delivery anew.

use std::collections::BTreeMap;

/// A consumer is stalled once a message has been in nobody's hands for so many of its acknowledgement waits: after one the
/// broker delivers it again, and one that was handed back rests for less.
const STALLED_AFTER_WAITS: u64 = 4;

/// A consumer that is stalled gets another leader at most once in this time, milliseconds.
const AGAIN_AFTER_MS: u64 = 60_000;

/// A consumer, by its stream and its name.
pub type Consumer = (&'static str, String);

/// A consumer that is stalled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stall {
    /// Its stream.
    pub stream: &'static str,
    /// Its name.
    pub consumer: String,
    /// How many of its messages are in nobody's hands for too long.
    pub messages: u64,
    /// Since when the first of them has been, Unix milliseconds.
    pub since_ms: i64,
}

/// One consumer in one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Which.
    pub consumer: Consumer,
    /// After which time it delivers again what is not acknowledged, milliseconds.
    pub ack_wait_ms: u64,
    /// The sequences of its messages in delivery that are in nobody's hands.
    pub unheld: Vec<u64>,
}

/// What was in nobody's hands at the last look, and since when.
#[derive(Debug, Default)]
pub struct Stalled {
    since_ms: BTreeMap<Consumer, BTreeMap<u64, i64>>,
    asked_ms: BTreeMap<Consumer, i64>,
}

impl Stalled {
    /// Since when a message has been in nobody's hands, Unix milliseconds, as of the last look.
    #[must_use]
    pub fn since_ms(&self, consumer: &Consumer, sequence: u64) -> Option<i64> {
        self.since_ms.get(consumer)?.get(&sequence).copied()
    }

    /// Takes a look at all consumers; says which are stalled.
    pub fn look(&mut self, seen: Vec<Seen>, now_ms: i64) -> Vec<Stall> {
        let mut before = std::mem::take(&mut self.since_ms);
        let mut stalls = Vec::new();
        for Seen { consumer, ack_wait_ms, unheld } in seen {
            let known = before.remove(&consumer).unwrap_or_default();
            let since_ms: BTreeMap<u64, i64> = unheld
                .into_iter()
                .map(|sequence| (sequence, known.get(&sequence).copied().unwrap_or(now_ms)))
                .collect();
            let patience_ms = ack_wait_ms.saturating_mul(STALLED_AFTER_WAITS);
            let stalled = since_ms.values().filter(|since_ms| is_past(**since_ms, patience_ms, now_ms));
            let (messages, first_ms) =
                stalled.fold((0, i64::MAX), |(count, first), since_ms| (count + 1, first.min(*since_ms)));
            if messages > 0 {
                let (stream, name) = consumer.clone();
                stalls.push(Stall { stream, consumer: name, messages, since_ms: first_ms });
            }
            self.since_ms.insert(consumer, since_ms);
        }
        stalls
    }

    /// Whether a stalled consumer is to get another leader now; notes that it does.
    pub fn is_to_step_down(&mut self, stall: &Stall, now_ms: i64) -> bool {
        let consumer = (stall.stream, stall.consumer.clone());
        let is_due =
            self.asked_ms.get(&consumer).is_none_or(|asked_ms| is_past(*asked_ms, AGAIN_AFTER_MS, now_ms));
        if is_due {
            self.asked_ms.insert(consumer, now_ms);
        }
        is_due
    }
}

const fn is_past(since_ms: i64, patience_ms: u64, now_ms: i64) -> bool {
    now_ms >= since_ms.saturating_add_unsigned(patience_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT_MS: u64 = 15_000;

    fn consumer(name: &str) -> Consumer {
        ("WORK", name.to_owned())
    }

    fn seen(unheld: &[u64]) -> Vec<Seen> {
        vec![Seen { consumer: consumer("cloud"), ack_wait_ms: WAIT_MS, unheld: unheld.to_vec() }]
    }

    #[test]
    fn what_is_in_nobody_s_hands_for_four_waits_stalls_its_consumer() {
        let mut stalled = Stalled::default();
        for at_ms in [1_000, 11_000, 60_999] {
            assert_eq!(stalled.look(seen(&[7, 9]), at_ms), []);
        }
        let stall = Stall { stream: "WORK", consumer: "cloud".to_owned(), messages: 2, since_ms: 1_000 };
        assert_eq!(stalled.look(seen(&[7, 9]), 61_000), [stall]);
        assert_eq!(stalled.since_ms(&consumer("cloud"), 9), Some(1_000));
        assert_eq!(stalled.since_ms(&consumer("local"), 9), None);
    }

    #[test]
    fn what_was_in_somebody_s_hands_meanwhile_begins_anew() {
        let mut stalled = Stalled::default();
        assert_eq!(stalled.look(seen(&[7]), 0), []);
        // Delivered again, and handed back.
        assert_eq!(stalled.look(seen(&[]), 30_000), []);
        assert_eq!(stalled.look(seen(&[7, 8]), 40_000), []);
        assert_eq!(stalled.look(seen(&[7]), 99_999), []);
        assert_eq!(stalled.look(seen(&[7]), 100_000).len(), 1);
        // A look that did not see the consumer knows nothing of it.
        assert_eq!(stalled.look(Vec::new(), 110_000), []);
        assert_eq!(stalled.look(seen(&[7]), 120_000), []);
    }

    #[test]
    fn another_leader_is_chosen_once_a_minute() {
        let mut stalled = Stalled::default();
        let of = |name: &str| Stall { stream: "WORK", consumer: name.to_owned(), messages: 1, since_ms: 0 };
        assert!(stalled.is_to_step_down(&of("cloud"), 60_000));
        assert!(!stalled.is_to_step_down(&of("cloud"), 119_999));
        assert!(stalled.is_to_step_down(&of("local"), 119_999), "each by itself");
        assert!(stalled.is_to_step_down(&of("cloud"), 120_000));
    }
}
