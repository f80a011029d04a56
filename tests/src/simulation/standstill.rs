//! The machine of the fleet sleeps, its broker with it: providers go on, clocks do, and whatever goes by its age goes.

use super::broker::Place;
use super::world::World;

impl World {
    /// Everything that is planned comes so much later.
    pub(crate) fn stand_still(&mut self, for_ms: i64) {
        let fell_asleep_ms = self.now_ms;
        self.schedule.put_off(for_ms);
        self.now_ms += for_ms;
        self.slept_ms += for_ms;
        self.woke_ms = self.now_ms;
        let put_off = |until_ms: &mut i64| {
            if *until_ms > fell_asleep_ms {
                *until_ms += for_ms;
            }
        };
        put_off(&mut self.broker.down_until_ms);
        put_off(&mut self.broker.claims_full_until_ms);
        put_off(&mut self.books.away_until_ms);
        put_off(&mut self.store_full_until_ms);
        for process in &mut self.processes {
            put_off(&mut process.cut_until_ms);
            put_off(&mut process.lossy_until_ms);
            put_off(&mut process.older_until_ms);
            put_off(&mut process.unreadable_until_ms);
            process.woke_ms = self.now_ms;
        }
        // The broker counts the time in which it ran.
        for stored in self.broker.messages.values_mut() {
            if let Place::Held(holder) = &mut stored.place {
                holder.since_ms += for_ms;
            }
        }
    }
}
