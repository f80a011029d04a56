//! Whether a reservation fits: pure arithmetic over the books as they stand under the money lock.
//!
//! Five limits, asked in the order in which a refusal is most useful: the job's ceiling over all its
//! attempts, the tenant's day and month, the fleet's day and month. Days and months are UTC, those of
//! the reservation's own time. What is spent and what is set aside count alike.

use std::collections::{BTreeMap, HashMap};

use schemas::reserve::Reservation;
use schemas::{ChargeState, JobId, TenantsConfig};

use crate::calendar::{day_of, month_of};

/// A charge that exists already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Who pays.
    pub tenant: String,
    /// Where it is in its life.
    pub state: ChargeState,
    /// It was voided only because the attempt was placed for free: it may be opened again.
    pub reopenable: bool,
    /// Spent or set aside.
    pub committed_micro_usd: i64,
    /// Which day's budget it counts against, days since 1970.
    pub day: i32,
}

/// The books that a batch of reservations touches.
#[derive(Debug, Clone, Default)]
pub struct Book {
    jobs: HashMap<JobId, BTreeMap<u32, Standing>>,
    ended: HashMap<JobId, String>,
    tenant_days: HashMap<(String, i32), i128>,
    tenant_months: HashMap<(String, i32), i128>,
    fleet_days: HashMap<i32, i128>,
    fleet_months: HashMap<i32, i128>,
}

impl Book {
    /// Enters a charge of one of the jobs.
    pub fn enter_charge(&mut self, job: JobId, attempt: u32, standing: Standing) {
        self.jobs.entry(job).or_default().insert(attempt, standing);
    }

    /// Enters a job that has ended, with its state.
    pub fn enter_ended(&mut self, job: JobId, state: String) {
        self.ended.insert(job, state);
    }

    /// Enters what a tenant's day holds.
    pub fn enter_tenant_day(&mut self, tenant: &str, day: i32, committed_micro_usd: i64) {
        let amount = i128::from(committed_micro_usd);
        *self.tenant_days.entry((tenant.to_owned(), day)).or_default() += amount;
        *self.tenant_months.entry((tenant.to_owned(), month_of(day))).or_default() += amount;
    }

    /// Enters what the fleet's day holds.
    pub fn enter_fleet_day(&mut self, day: i32, committed_micro_usd: i128) {
        *self.fleet_days.entry(day).or_default() += committed_micro_usd;
        *self.fleet_months.entry(month_of(day)).or_default() += committed_micro_usd;
    }

    /// Sets the money aside, or says which limit is in the way, and then leaves all as it was.
    ///
    /// # Errors
    /// The refusal in words, with figures.
    pub fn reserve(&mut self, wanted: &Reservation, tenants: &TenantsConfig) -> Result<(), String> {
        let amount = wanted.amount_micro_usd.0;
        if amount < 0 {
            return Err(format!("amount_micro_usd: {amount} is negative"));
        }
        if wanted.attempt == 0 || i32::try_from(wanted.attempt).is_err() {
            return Err(format!("attempt: {} is not an attempt's number", wanted.attempt));
        }
        if let Some(state) = self.ended.get(&wanted.job) {
            return Err(format!("job {} has ended: it is {state}", wanted.job));
        }
        let before = self.jobs.get(&wanted.job).and_then(|attempts| attempts.get(&wanted.attempt)).cloned();
        if let Some(before) = &before {
            if before.tenant != wanted.tenant.as_str() {
                return Err(format!("attempt {} belongs to another tenant", wanted.attempt));
            }
            if before.state != ChargeState::Pending && !before.reopenable {
                return Err(format!(
                    "attempt {} is settled already: its charge is {}",
                    wanted.attempt,
                    before.state.as_str()
                ));
            }
            self.shift(&before.tenant.clone(), before.day, -i128::from(before.committed_micro_usd));
        }
        let day = day_of(wanted.time_ms);
        let fits = self.fits(wanted, day, tenants);
        match (&fits, &before) {
            (Ok(()), _) => {
                self.shift(wanted.tenant.as_str(), day, i128::from(amount));
                let standing = Standing {
                    tenant: wanted.tenant.to_string(),
                    state: ChargeState::Pending,
                    reopenable: false,
                    committed_micro_usd: amount,
                    day,
                };
                self.enter_charge(wanted.job, wanted.attempt, standing);
            }
            (Err(_), Some(before)) => {
                self.shift(&before.tenant.clone(), before.day, i128::from(before.committed_micro_usd));
            }
            (Err(_), None) => {}
        }
        fits
    }

    fn shift(&mut self, tenant: &str, day: i32, amount: i128) {
        *self.tenant_days.entry((tenant.to_owned(), day)).or_default() += amount;
        *self.tenant_months.entry((tenant.to_owned(), month_of(day))).or_default() += amount;
        *self.fleet_days.entry(day).or_default() += amount;
        *self.fleet_months.entry(month_of(day)).or_default() += amount;
    }

    fn fits(&self, wanted: &Reservation, day: i32, tenants: &TenantsConfig) -> Result<(), String> {
        let tenant = wanted.tenant.to_string();
        let month = month_of(day);
        let policy = tenants.of(&wanted.tenant);
        let others: i128 = self.jobs.get(&wanted.job).map_or(0, |attempts| {
            let others = attempts.iter().filter(|(attempt, _)| **attempt != wanted.attempt);
            others.map(|(_, standing)| i128::from(standing.committed_micro_usd)).sum()
        });
        let tenant_day = self.tenant_days.get(&(tenant.clone(), day)).copied().unwrap_or_default();
        let tenant_month = self.tenant_months.get(&(tenant, month)).copied().unwrap_or_default();
        let fleet_day = self.fleet_days.get(&day).copied().unwrap_or_default();
        let fleet_month = self.fleet_months.get(&month).copied().unwrap_or_default();
        let name = &wanted.tenant;
        let limits = [
            (wanted.max_cost_micro_usd, others, "ceiling of the job".to_owned()),
            (policy.daily_micro_usd, tenant_day, format!("daily budget of tenant {name}")),
            (policy.monthly_micro_usd, tenant_month, format!("monthly budget of tenant {name}")),
            (tenants.fleet_daily_micro_usd, fleet_day, "daily budget of the fleet".to_owned()),
            (tenants.fleet_monthly_micro_usd, fleet_month, "monthly budget of the fleet".to_owned()),
        ];
        let amount = i128::from(wanted.amount_micro_usd.0);
        for (limit, used, what) in limits {
            if let Some(limit) = limit
                && used + amount > i128::from(limit.0)
            {
                return Err(format!(
                    "{what}: {used} of {} micro-USD are used, {amount} more do not fit",
                    limit.0
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use schemas::{MicroUsd, TenantConfig, samples};

    use super::*;

    fn wanted(attempt: u32, amount: i64) -> Reservation {
        let mut reservation = samples::reserve().0.reservations.remove(0);
        reservation.attempt = attempt;
        reservation.amount_micro_usd = MicroUsd(amount);
        reservation.max_cost_micro_usd = Some(MicroUsd(100));
        reservation
    }

    fn tenants(change: impl FnOnce(&mut TenantsConfig)) -> TenantsConfig {
        let mut tenants = TenantsConfig {
            default: TenantConfig::default(),
            tenants: BTreeMap::new(),
            fleet_daily_micro_usd: None,
            fleet_monthly_micro_usd: None,
        };
        change(&mut tenants);
        tenants
    }

    #[test]
    fn each_limit_refuses_by_its_name_one_micro_dollar_above() {
        type Change = fn(&mut TenantsConfig);
        let table: [(Change, &str); 5] = [
            (|_| {}, "ceiling of the job"),
            (|t| t.default.daily_micro_usd = Some(MicroUsd(60)), "daily budget of tenant studio-a"),
            (|t| t.default.monthly_micro_usd = Some(MicroUsd(60)), "monthly budget of tenant studio-a"),
            (|t| t.fleet_daily_micro_usd = Some(MicroUsd(60)), "daily budget of the fleet"),
            (|t| t.fleet_monthly_micro_usd = Some(MicroUsd(60)), "monthly budget of the fleet"),
        ];
        for (change, name) in table {
            let tenants = tenants(change);
            let limit = if name == "ceiling of the job" { 100 } else { 60 };
            let mut book = Book::default();
            assert_eq!(book.reserve(&wanted(1, 40), &tenants), Ok(()));
            let refusal = book.reserve(&wanted(2, limit - 39), &tenants).unwrap_err();
            let words = format!("{name}: 40 of {limit} micro-USD are used, {} more do not fit", limit - 39);
            assert_eq!(refusal, words);
            assert_eq!(book.reserve(&wanted(2, limit - 40), &tenants), Ok(()), "{name}: exactly full fits");
        }
    }

    #[test]
    fn asking_again_replaces_and_a_refused_repeat_leaves_the_first() {
        let tenants = tenants(|t| t.default.daily_micro_usd = Some(MicroUsd(90)));
        let mut book = Book::default();
        assert_eq!(book.reserve(&wanted(1, 80), &tenants), Ok(()));
        assert_eq!(book.reserve(&wanted(1, 90), &tenants), Ok(()), "its own 80 are not in its way");
        assert!(book.reserve(&wanted(1, 91), &tenants).is_err());
        let refusal = book.reserve(&wanted(2, 1), &tenants).unwrap_err();
        assert!(refusal.contains("90 of 90"), "{refusal}");
    }

    #[test]
    fn days_and_months_are_kept_apart() {
        let tenants = tenants(|t| {
            t.default.daily_micro_usd = Some(MicroUsd(50));
            t.default.monthly_micro_usd = Some(MicroUsd(80));
        });
        let mut book = Book::default();
        let on = |attempt, days: i64| {
            let mut reservation = wanted(attempt, 50);
            reservation.max_cost_micro_usd = None;
            reservation.time_ms += days * 86_400_000;
            reservation
        };
        assert_eq!(book.reserve(&on(1, 0), &tenants), Ok(()));
        let refusal = book.reserve(&on(2, 1), &tenants).unwrap_err();
        assert!(refusal.starts_with("monthly budget"), "the next day has its own budget: {refusal}");
        assert_eq!(book.reserve(&on(2, 8), &tenants), Ok(()), "the first of the next month");
    }

    #[test]
    fn what_is_over_gets_no_money() {
        let tenants = tenants(|_| {});
        let mut book = Book::default();
        let standing = |state, reopenable| Standing {
            tenant: "studio-a".to_owned(),
            state,
            reopenable,
            committed_micro_usd: 0,
            day: 0,
        };
        book.enter_charge(wanted(1, 0).job, 1, standing(ChargeState::Voided, false));
        book.enter_charge(wanted(1, 0).job, 2, standing(ChargeState::Voided, true));
        assert!(book.reserve(&wanted(1, 5), &tenants).unwrap_err().contains("settled already"));
        assert_eq!(book.reserve(&wanted(2, 5), &tenants), Ok(()), "placed for free, and now again for money");
        assert!(book.reserve(&wanted(3, -1), &tenants).unwrap_err().contains("negative"));
        assert!(book.reserve(&wanted(0, 1), &tenants).unwrap_err().contains("attempt"));
        book.enter_ended(wanted(1, 0).job, "cancelled".to_owned());
        assert!(book.reserve(&wanted(4, 1), &tenants).unwrap_err().contains("it is cancelled"));
    }
}
