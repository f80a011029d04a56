//! Nothing is started whose result could not be stored: room of the artifact store for it and for all that runs.
//!
//! Each worker measures the store every two seconds, and how many paid attempts all workers have in hand; what it
//! has started since, it knows itself. What others start between two looks is covered by the store's margin, and
//! where that is not enough by the spool: a result that finds no room waits, it is not lost.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use protocol::worker::NoRoom;
use schemas::{Backend, Catalog, Class, Kind, PriceList};
use tokio::sync::watch;

use runtime::claims::ClaimsRoom;
use runtime::store_room::{StoreRoom, mib};

/// What a picture takes at the most until more is known, bytes.
const IMAGE_BYTES: u64 = 8 * 1024 * 1024;
/// What a film takes at the most until more is known, bytes.
const VIDEO_BYTES: u64 = 64 * 1024 * 1024;

/// The store, as last measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Measured {
    pub(crate) store: StoreRoom,
    /// What paid attempts in the hands of other workers may store yet, bytes.
    pub(crate) others_bytes: u64,
    /// The bucket of claims; none for a backend that costs nothing.
    pub(crate) claims: Option<ClaimsRoom>,
}

/// One worker's view of the store.
#[derive(Default)]
pub(crate) struct Room {
    measured: watch::Sender<Option<Measured>>,
    /// What our own paid attempts may store yet, bytes.
    own_bytes: AtomicU64,
    /// The same of those that wait for room; they take none.
    waiting_bytes: AtomicU64,
    /// The largest results so far, bytes.
    learned: Mutex<HashMap<Class, u64>>,
}

/// An attempt that waits for room, until it is dropped.
pub(crate) struct Waiting {
    room: Arc<Room>,
    bytes: u64,
    changes: watch::Receiver<Option<Measured>>,
}

impl Waiting {
    /// Returns at each new measure.
    pub(crate) async fn changed(&mut self) {
        // The room has the sender, and lives as long as the wait.
        let _ = self.changes.changed().await;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.room.waiting_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// Room for one attempt, until it is dropped.
pub(crate) struct Reserved {
    room: Arc<Room>,
    bytes: u64,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.room.own_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl Room {
    /// What a result of a class may take: at least what its kind may, and more than the largest so far.
    pub(crate) fn expected(&self, class: &Class, catalog: &Catalog) -> u64 {
        let kind = catalog.class(class).map_or(Kind::Image, |spec| spec.kind);
        let learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner).get(class).copied();
        expected_bytes(kind, learned)
    }

    /// An attempt stored so much.
    pub(crate) fn learn(&self, class: &Class, bytes: u64) {
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        let largest = learned.entry(class.clone()).or_default();
        *largest = bytes.max(*largest);
    }

    /// Room for a result of so many bytes.
    ///
    /// # Errors
    /// Why there is none, and the cure.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reserved, NoRoom> {
        let before = self.own_bytes.fetch_add(bytes, Ordering::AcqRel);
        let reserved = Reserved { room: Arc::clone(self), bytes };
        let measured = *self.measured.borrow();
        match measured.and_then(|measured| refusal(&measured, before, bytes)) {
            Some(reason) => Err(NoRoom(reason)),
            None => Ok(reserved),
        }
    }

    /// An attempt in hand takes no room while it waits for it.
    pub(crate) fn wait(self: &Arc<Self>, bytes: u64) -> Waiting {
        self.waiting_bytes.fetch_add(bytes, Ordering::AcqRel);
        Waiting { room: Arc::clone(self), bytes, changes: self.measured.subscribe() }
    }

    /// The age at which files go from the store, as last measured, milliseconds; none for never.
    pub(crate) fn store_age_ms(&self) -> Option<i64> {
        let age_ms = self.measured.borrow().as_ref()?.store.max_age_ms;
        (age_ms > 0).then(|| i64::try_from(age_ms).unwrap_or(i64::MAX))
    }

    /// Why nothing of so many bytes is to be started now, if so.
    pub(crate) fn refuses(&self, bytes: u64) -> Option<String> {
        let measured = *self.measured.borrow();
        refusal(&measured?, self.own_bytes.load(Ordering::Acquire), bytes)
    }

    /// What our own attempts may store yet, those that wait for room included, bytes.
    pub(crate) fn in_hand_bytes(&self) -> u64 {
        let own_bytes = self.own_bytes.load(Ordering::Acquire);
        own_bytes.saturating_add(self.waiting_bytes.load(Ordering::Acquire))
    }

    /// Takes a measure in; whether it is another than before.
    pub(crate) fn set(&self, measured: Measured) -> bool {
        self.measured.send_replace(Some(measured)) != Some(measured)
    }
}

/// See [`Room::expected`]: a quarter more than the largest so far.
fn expected_bytes(kind: Kind, learned: Option<u64>) -> u64 {
    let floor = if kind == Kind::Video { VIDEO_BYTES } else { IMAGE_BYTES };
    learned.map_or(floor, |learned| floor.max(learned.saturating_add(learned / 4)))
}

/// Why there is no room for so many bytes more, if so.
fn refusal(measured: &Measured, own_bytes: u64, bytes: u64) -> Option<String> {
    if let Some(refusal) = measured.claims.and_then(|claims| claims.refusal()) {
        return Some(refusal);
    }
    let store = &measured.store;
    let left = store.left_bytes()?;
    let margin = store.margin_bytes();
    // What others have in hand may itself wait for room: were all of it counted, all would wait for each other.
    let others = measured.others_bytes.min(left.saturating_sub(margin) / 2);
    let running = others.saturating_add(own_bytes);
    let needed = margin.saturating_add(running).saturating_add(bytes);
    (left < needed).then(|| {
        format!(
            "the artifact store has {} MiB left, of which {} MiB are for what runs and {} MiB are its margin, and a \
             result may take {} MiB: {}",
            mib(left),
            mib(running),
            mib(margin),
            mib(bytes),
            store.cure()
        )
    })
}

/// A backend with prices costs money.
pub(crate) fn is_paid(backend: &Backend, prices: &PriceList) -> bool {
    prices.prices.iter().any(|price| price.backend == *backend)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn measured(left_mib: u64, others_mib: u64) -> Measured {
        // A margin of 10 MiB.
        let limit = 160 * MIB;
        let bytes = limit - left_mib * MIB;
        let store = StoreRoom { bytes, limit_bytes: Some(limit), filling_ms: 0, max_age_ms: 0 };
        Measured { store, others_bytes: others_mib * MIB, claims: None }
    }

    #[test]
    fn nothing_is_started_without_room_for_it_and_for_what_runs() {
        let cases = [
            // left, others', own, wanted, refused
            (18, 0, 0, 8, false),
            (17, 0, 0, 8, true),
            (40, 15, 7, 8, false),
            (40, 15, 8, 8, true),
            (40, 4, 18, 8, false),
            // Others may be waiting as well: half of what is left is ours all the same.
            (26, 1_000, 0, 8, false),
            (25, 1_000, 0, 8, true),
            (0, 0, 0, 0, true),
            (10, 0, 0, 0, false),
        ];
        for (left, others, own, wanted, refused) in cases {
            let reason = refusal(&measured(left, others), own * MIB, wanted * MIB);
            assert_eq!(reason.is_some(), refused, "{left} {others} {own} {wanted}: {reason:?}");
        }
        let words = refusal(&measured(17, 0), 0, 8 * MIB).expect("refused");
        assert!(words.contains("17 MiB left") && words.contains("--artifacts-bytes 335544320"), "{words}");
        let endless = StoreRoom { limit_bytes: None, ..measured(0, 0).store };
        let without = Measured { store: endless, others_bytes: u64::MAX, claims: None };
        assert_eq!(refusal(&without, 0, 8), None);
        let full = ClaimsRoom { bytes: 96, limit_bytes: Some(100) };
        let reason = refusal(&Measured { claims: Some(full), ..without }, 0, 8);
        assert!(reason.is_some_and(|reason| reason.contains("ATTEMPTS")), "no room for a claim");
    }

    #[test]
    fn what_runs_keeps_its_room_until_it_ends() {
        let room = Arc::new(Room::default());
        let first = room.reserve(8 * MIB).map_err(|_| ()).expect("nothing was measured: no reason to wait");
        room.measured.send_replace(Some(measured(20, 0)));
        assert!(room.reserve(8 * MIB).is_err(), "8 run, 8 more and the margin are 26");
        drop(first);
        let _second = room.reserve(8 * MIB).map_err(|_| ()).expect("it has ended");
        assert!(room.refuses(8 * MIB).is_some() && room.refuses(2 * MIB).is_none());
        assert_eq!(room.own_bytes.load(Ordering::Acquire), 8 * MIB, "a refusal holds nothing");
    }

    #[test]
    fn sizes_are_learned_and_never_below_what_a_kind_may_take() {
        assert_eq!(expected_bytes(Kind::Image, None), IMAGE_BYTES);
        assert_eq!(expected_bytes(Kind::Image, Some(100)), IMAGE_BYTES);
        assert_eq!(expected_bytes(Kind::Image, Some(40 * MIB)), 50 * MIB);
        assert_eq!(expected_bytes(Kind::Video, Some(40 * MIB)), VIDEO_BYTES);
    }
}
