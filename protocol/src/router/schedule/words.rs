//! Why a schedule binds a job, or lets it wait, in one sentence.

use policy::schedule::{Decision, Why};
use policy::waiting::utc;
use schemas::MicroUsd;

use crate::router::scene::Scene;

/// A shorter wait is not mentioned, milliseconds.
const WAITED_MIN_MS: i64 = 1_000;

/// The sentence for the job at a place of the scene.
pub(super) fn of(decision: &Decision, place: usize, scene: &Scene<'_>) -> String {
    let now_ms = scene.now_ms();
    match decision {
        Decision::Start { pool } | Decision::Ahead { pool } if scene.is_paid(*pool) => paid(place, scene),
        Decision::Start { .. } => own(place, scene, "a slot of our own is free"),
        Decision::Ahead { .. } => own(place, scene, "a slot of our own is about to be free"),
        Decision::Wait { why, until_ms } => match why {
            Why::InLine { pool, starts_in_ms } => {
                let seconds = starts_in_ms / 1_000.0;
                format!("a slot of {}, expected in {seconds:.1} s", scene.backend(*pool))
            }
            Why::LastMoment { pool } => {
                let until =
                    until_ms.map_or_else(String::new, |until_ms| format!(" until {}", utc(until_ms, now_ms)));
                format!("a slot of our own{until}, then it goes to {}", scene.backend(*pool))
            }
            Why::PaidSlot { pool, starts_in_ms } => {
                let seconds = starts_in_ms / 1_000.0;
                format!(
                    "a free slot of {}, expected in {seconds:.1} s: a slot of our own would come too late",
                    scene.backend(*pool)
                )
            }
            Why::NoPool => "a backend that may run it".to_owned(),
        },
    }
}

fn waited(place: usize, scene: &Scene<'_>) -> Option<String> {
    let waited_ms = scene.now_ms().saturating_sub(scene.waiting(place).since_ms);
    (waited_ms >= WAITED_MIN_MS).then(|| format!("{}.{} s", waited_ms / 1_000, waited_ms % 1_000 / 100))
}

fn own(place: usize, scene: &Scene<'_>, now: &str) -> String {
    match (waited(place, scene), scene.cheapest_paid(place)) {
        (Some(waited), Some((backend, cost))) => {
            let saved = MicroUsd(cost.round() as i64);
            format!("it waited {waited} for a slot of our own, which saved {saved} beside {backend}")
        }
        (Some(waited), None) => format!("it waited {waited} for a slot of our own"),
        (None, _) => now.to_owned(),
    }
}

fn paid(place: usize, scene: &Scene<'_>) -> String {
    let waited = waited(place, scene);
    match (scene.own_ms(place), waited) {
        (None, _) => "it may use no slot of our own".to_owned(),
        (Some(_), None) => "a slot of our own would come too late".to_owned(),
        (Some(_), Some(waited)) => {
            format!("it waited {waited} for a slot of our own, and another wait would make it late")
        }
    }
}
