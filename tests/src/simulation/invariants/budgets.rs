//! What tenants and the fleet may spend.

use schemas::{MicroUsd, Tenant};

use super::Promise;
use crate::simulation::world::World;

impl World {
    /// Budgets hold whenever the books change; only what is charged after its job's end is booked beyond them.
    pub(crate) fn check_budgets(&mut self) {
        if self.books.touched.is_empty() {
            return;
        }
        for (tenant, day) in std::mem::take(&mut self.books.touched) {
            // One budget for each entry, and one for all that have none, under however many names they come.
            let tenants = &self.setting.tenants;
            let own = tenants.tenants.get(&tenant);
            let is_one = |other: &Tenant| match own {
                Some(_) => *other == tenant,
                None => !tenants.tenants.contains_key(other),
            };
            let limit = own.unwrap_or(&tenants.default).daily_micro_usd;
            let (spent, all) = (self.books.spent_by(is_one, day), self.books.spent_by(|_| true, day));
            let is_over = |spent: i64, limit: Option<MicroUsd>| limit.is_some_and(|limit| spent > limit.0);
            let of_all = tenants.fleet_daily_micro_usd;
            if !is_over(spent, limit) && !is_over(all, of_all) {
                continue;
            }
            let late = (self.books.charged_late(is_one, day), self.books.charged_late(|_| true, day));
            if is_over(spent - late.0, limit) || is_over(all - late.1, of_all) {
                let words = format!("{tenant} has {spent} committed, the fleet {all}");
                self.broken(Promise::Budget, words);
            }
        }
    }
}
