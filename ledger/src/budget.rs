//! Whether a reservation fits: pure arithmetic over the books as they stand under the money lock.
//!
//! The operator's word comes first: who may not use paid backends at all gets nothing, however old the configuration
//! of the router that asks. Then five limits, asked in the order in which a refusal is most useful: the job's
//! ceiling over all its attempts, the tenant's day and month, the fleet's day and month. Days and months are UTC,
//! those of the reservation's own time. What is spent and what is set aside count alike.
//!
//! Tenants without an entry of their own share one budget, so that an invented name brings no budget with it. Whose
//! budget pays for a tenant is asked of the configuration each time: a tenant that gets an entry takes what it has
//! spent out of the shared budget with it, and one that loses its entry brings it in.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use schemas::reserve::Reservation;
use schemas::{ChargeState, JobId, Listing, PaidConsent, Tenant, TenantsConfig};

use crate::calendar::{day_of, month_of};

/// When a limit is lifted, in words.
const DAY_ENDS: &str = ", until 00:00 UTC";
const MONTH_ENDS: &str = ", until 00:00 UTC on the first of next month";

/// An amount in dollars: two places, and more where they say something.
fn dollars(micro_usd: i128) -> String {
    let all = micro_usd.unsigned_abs();
    let mut text = format!("{}.{:06}", all / 1_000_000, all % 1_000_000);
    for _ in 2..6 {
        if text.ends_with('0') {
            text.pop();
        }
    }
    format!("{}${text}", if micro_usd < 0 { "-" } else { "" })
}

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

/// Whose budget it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Payer {
    /// A tenant with an entry of its own.
    Tenant(String),
    /// All tenants without one, together.
    Unlisted,
}

impl Payer {
    /// Who pays for a tenant, by the configuration of now.
    #[must_use]
    pub fn of(tenant: &Tenant, tenants: &TenantsConfig) -> Self {
        match tenants.of(tenant).listing {
            Listing::Own => Self::Tenant(tenant.to_string()),
            Listing::Default | Listing::Refused => Self::Unlisted,
        }
    }
}

impl fmt::Display for Payer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant(tenant) => f.write_str(tenant),
            Self::Unlisted => f.write_str("all unlisted tenants together"),
        }
    }
}

/// The books that a batch of reservations touches.
#[derive(Debug, Clone, Default)]
pub struct Book {
    jobs: HashMap<JobId, BTreeMap<u32, Standing>>,
    owners: HashMap<JobId, String>,
    ended: HashMap<JobId, String>,
    payer_days: HashMap<(Payer, i32), i128>,
    payer_months: HashMap<(Payer, i32), i128>,
    fleet_days: HashMap<i32, i128>,
    fleet_months: HashMap<i32, i128>,
}

impl Book {
    /// Enters a charge of one of the jobs.
    pub fn enter_charge(&mut self, job: JobId, attempt: u32, standing: Standing) {
        self.jobs.entry(job).or_default().insert(attempt, standing);
    }

    /// Enters whose job it is, by what its events say.
    pub fn enter_owner(&mut self, job: JobId, tenant: String) {
        self.owners.insert(job, tenant);
    }

    /// Enters a job that has ended, with its state.
    pub fn enter_ended(&mut self, job: JobId, state: String) {
        self.ended.insert(job, state);
    }

    /// Enters what the day of a payer holds.
    pub fn enter_payer_day(&mut self, payer: &Payer, day: i32, committed_micro_usd: i128) {
        *self.payer_days.entry((payer.clone(), day)).or_default() += committed_micro_usd;
        *self.payer_months.entry((payer.clone(), month_of(day))).or_default() += committed_micro_usd;
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
        // Whichever process asks: no tenant pays for another's job, nor keeps another from paying for its own.
        let charged = self.jobs.get(&wanted.job).into_iter().flat_map(BTreeMap::values);
        let mut owners = self.owners.get(&wanted.job).into_iter().chain(charged.map(|before| &before.tenant));
        if owners.any(|owner| owner != wanted.tenant.as_str()) {
            return Err(format!("job {} is not one of tenant {}", wanted.job, wanted.tenant));
        }
        if let Some(state) = self.ended.get(&wanted.job) {
            return Err(format!("job {} has ended: it is {state}", wanted.job));
        }
        let payer = Payer::of(&wanted.tenant, tenants);
        let before = self.jobs.get(&wanted.job).and_then(|attempts| attempts.get(&wanted.attempt)).cloned();
        if let Some(before) = &before {
            if before.state != ChargeState::Pending && !before.reopenable {
                return Err(format!(
                    "attempt {} is settled already: its charge is {}",
                    wanted.attempt,
                    before.state.as_str()
                ));
            }
            self.shift(&payer, before.day, -i128::from(before.committed_micro_usd));
        }
        let day = day_of(wanted.time_ms);
        let fits = self.fits(wanted, &payer, day, tenants);
        match (&fits, &before) {
            (Ok(()), _) => {
                self.shift(&payer, day, i128::from(amount));
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
                self.shift(&payer, before.day, i128::from(before.committed_micro_usd));
            }
            (Err(_), None) => {}
        }
        fits
    }

    fn shift(&mut self, payer: &Payer, day: i32, amount: i128) {
        self.enter_payer_day(payer, day, amount);
        *self.fleet_days.entry(day).or_default() += amount;
        *self.fleet_months.entry(month_of(day)).or_default() += amount;
    }

    fn fits(
        &self,
        wanted: &Reservation,
        payer: &Payer,
        day: i32,
        tenants: &TenantsConfig,
    ) -> Result<(), String> {
        let month = month_of(day);
        let (policy, tenant) = (tenants.of(&wanted.tenant), &wanted.tenant);
        if policy.paid() == PaidConsent::Never {
            return Err(match policy.listing {
                Listing::Own => format!("tenant {tenant} may not use paid backends: its word is never"),
                Listing::Default => format!("tenant {tenant} is not listed, and the default word is never"),
                Listing::Refused => {
                    format!("tenant {tenant} is not listed, and unlisted tenants are refused")
                }
            });
        }
        let others: i128 = self.jobs.get(&wanted.job).map_or(0, |attempts| {
            let others = attempts.iter().filter(|(attempt, _)| **attempt != wanted.attempt);
            others.map(|(_, standing)| i128::from(standing.committed_micro_usd)).sum()
        });
        let own_day = self.payer_days.get(&(payer.clone(), day)).copied().unwrap_or_default();
        let own_month = self.payer_months.get(&(payer.clone(), month)).copied().unwrap_or_default();
        let fleet_day = self.fleet_days.get(&day).copied().unwrap_or_default();
        let fleet_month = self.fleet_months.get(&month).copied().unwrap_or_default();
        let limits = [
            (wanted.max_cost_micro_usd, others, "ceiling of the job".to_owned(), ""),
            (policy.config.daily_micro_usd, own_day, format!("daily budget of {payer}"), DAY_ENDS),
            (policy.config.monthly_micro_usd, own_month, format!("monthly budget of {payer}"), MONTH_ENDS),
            (tenants.fleet_daily_micro_usd, fleet_day, "daily budget of the fleet".to_owned(), DAY_ENDS),
            (
                tenants.fleet_monthly_micro_usd,
                fleet_month,
                "monthly budget of the fleet".to_owned(),
                MONTH_ENDS,
            ),
        ];
        let amount = i128::from(wanted.amount_micro_usd.0);
        for (limit, used, what, until) in limits {
            if let Some(limit) = limit
                && used + amount > i128::from(limit.0)
            {
                let (used, limit, more) = (dollars(used), dollars(limit.0.into()), dollars(amount));
                return Err(format!("{what}: {used} of {limit} used{until}; {more} more does not fit"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use schemas::{MicroUsd, TenantConfig, Unlisted, samples};

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
            default: TenantConfig { allow_paid: PaidConsent::WhenAsked, ..TenantConfig::default() },
            tenants: BTreeMap::new(),
            unlisted: Unlisted::Share,
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
            (
                |t| t.default.daily_micro_usd = Some(MicroUsd(60)),
                "daily budget of all unlisted tenants together",
            ),
            (
                |t| t.default.monthly_micro_usd = Some(MicroUsd(60)),
                "monthly budget of all unlisted tenants together",
            ),
            (|t| t.fleet_daily_micro_usd = Some(MicroUsd(60)), "daily budget of the fleet"),
            (|t| t.fleet_monthly_micro_usd = Some(MicroUsd(60)), "monthly budget of the fleet"),
        ];
        for (change, name) in table {
            let tenants = tenants(change);
            let limit = if name == "ceiling of the job" { 100 } else { 60 };
            let mut book = Book::default();
            assert_eq!(book.reserve(&wanted(1, 40), &tenants), Ok(()));
            let refusal = book.reserve(&wanted(2, limit - 39), &tenants).unwrap_err();
            let until = match name.split(' ').next() {
                Some("daily") => DAY_ENDS,
                Some("monthly") => MONTH_ENDS,
                _ => "",
            };
            let more = limit - 39;
            let words = format!(
                "{name}: $0.00004 of $0.0000{limit:02} used{until}; $0.0000{more:02} more does not fit"
            );
            assert_eq!(refusal, words.replace("0.000060 ", "0.00006 ").replace("0.0000100 ", "0.0001 "));
            assert_eq!(book.reserve(&wanted(2, limit - 40), &tenants), Ok(()), "{name}: exactly full fits");
        }
    }

    #[test]
    fn dollars_have_the_places_that_say_something() {
        for (micro_usd, words) in
            [(22_800, "$0.0228"), (30_000, "$0.03"), (5_000_000, "$5.00"), (0, "$0.00"), (-1, "-$0.000001")]
        {
            assert_eq!(dollars(micro_usd), words);
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
        assert!(refusal.contains("$0.00009 of $0.00009"), "{refusal}");
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

    #[test]
    fn an_entry_of_its_own_is_a_budget_of_its_own() {
        let entry = TenantConfig { allow_paid: PaidConsent::Always, ..TenantConfig::default() };
        let tenants = tenants(|t| {
            t.default.daily_micro_usd = Some(MicroUsd(50));
            t.tenants.insert("studio-a".parse().expect("a name"), entry);
        });
        let (mut listed, mut invented) = (wanted(1, 60), wanted(1, 30));
        (listed.job, invented.job) =
            (schemas::JobId(uuid::Uuid::from_u128(1)), schemas::JobId(uuid::Uuid::from_u128(2)));
        invented.tenant = "invented-1".parse().expect("a name");
        let mut book = Book::default();
        assert_eq!(book.reserve(&listed, &tenants), Ok(()), "no limit of its own, and none of the others'");
        assert_eq!(book.reserve(&invented, &tenants), Ok(()));
        (invented.tenant, invented.job) =
            ("invented-2".parse().expect("a name"), schemas::JobId(uuid::Uuid::from_u128(3)));
        let refusal = book.reserve(&invented, &tenants).unwrap_err();
        let words = "daily budget of all unlisted tenants together: $0.00003 of $0.00005 used, until 00:00 UTC; $0.00003 more does not fit";
        assert_eq!(refusal, words);
    }

    #[test]
    fn whose_word_is_never_gets_no_money_from_a_router_that_does_not_know() {
        let never = tenants(|t| t.default.allow_paid = PaidConsent::Never);
        let listed =
            tenants(|t| drop(t.tenants.insert("studio-a".parse().expect("a name"), TenantConfig::default())));
        let refused = tenants(|t| t.unlisted = Unlisted::Refuse);
        for (tenants, words) in [
            (never, "tenant studio-a is not listed, and the default word is never"),
            (listed, "tenant studio-a may not use paid backends: its word is never"),
            (refused, "tenant studio-a is not listed, and unlisted tenants are refused"),
        ] {
            assert_eq!(Book::default().reserve(&wanted(1, 1), &tenants).unwrap_err(), words);
        }
    }

    #[test]
    fn a_job_of_another_tenant_gets_no_money_in_its_name() {
        let tenants = tenants(|_| {});
        let other = || Reservation { tenant: "studio-z".parse().expect("a name"), ..wanted(2, 1) };
        // Its events say whose it is, or a charge of another attempt.
        let mut by_events = Book::default();
        by_events.enter_owner(wanted(1, 1).job, "studio-a".to_owned());
        let mut by_charge = Book::default();
        assert_eq!(by_charge.reserve(&wanted(1, 1), &tenants), Ok(()));
        for mut book in [by_events, by_charge] {
            let refusal = book.reserve(&other(), &tenants).unwrap_err();
            assert!(refusal.contains("is not one of tenant studio-z"), "{refusal}");
            assert_eq!(book.reserve(&wanted(2, 1), &tenants), Ok(()), "its own tenant pays");
        }
        assert_eq!(Book::default().reserve(&other(), &tenants), Ok(()), "nothing is known of it yet");
    }

    proptest::proptest! {
        /// Whatever names ask for whatever amounts, and whoever of them is listed: nobody without an entry adds to what
        /// all of them may spend, and nobody with one is in their way.
        #[test]
        fn names_without_an_entry_never_have_more_than_one_budget(
            asked in proptest::collection::vec((0usize..6, 1i64..60), 1..40),
            listed in proptest::collection::vec(proptest::bool::ANY, 6),
        ) {
            let name = |nth: usize| -> Tenant { format!("name-{nth}").parse().expect("a name") };
            let tenants = tenants(|t| {
                t.default.daily_micro_usd = Some(MicroUsd(100));
                for nth in (0..6).filter(|nth| listed[*nth]) {
                    t.tenants.insert(name(nth), t.default.clone());
                }
            });
            let (mut book, mut spent) = (Book::default(), BTreeMap::<Payer, i64>::new());
            for (job, (nth, amount)) in (1..).zip(asked) {
                let mut reservation = wanted(1, amount);
                reservation.job = JobId(uuid::Uuid::from_u128(job));
                (reservation.tenant, reservation.max_cost_micro_usd) = (name(nth), None);
                let payer = if listed[nth] { Payer::Tenant(name(nth).to_string()) } else { Payer::Unlisted };
                let sum = spent.entry(payer).or_default();
                let fits = *sum + amount <= 100;
                proptest::prop_assert_eq!(book.reserve(&reservation, &tenants).is_ok(), fits);
                *sum += if fits { amount } else { 0 };
            }
        }
    }
}
