//! The simulated ledger: its tables in memory. What goes into them is decided by the real
//! `ledger::budget::Book` and `ledger::fold`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use ledger::budget::{Book, Payer, Standing};
use ledger::fold::{ChargeRow, Request, Told, charge, fold};
use policy::invariants::is_delivered;
use schemas::calendar::DAY_MS;
use schemas::reserve::Reservation;
use schemas::{ChargeState, Event, JobId, JobState, Tenant, TenantsConfig};

#[derive(Debug, Clone)]
struct Charge {
    tenant: Tenant,
    row: ChargeRow,
}

/// An attempt as the ledger's rows tell of it.
#[derive(Debug, Clone)]
pub(crate) struct Booked {
    pub(crate) attempt: u32,
    pub(crate) provider_id: Option<String>,
    pub(crate) succeeded: bool,
    pub(crate) usage: Vec<schemas::Usage>,
    pub(crate) delivered: bool,
}

/// A job as the ledger's rows tell of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Account {
    events: Vec<Rc<Event>>,
    keys: BTreeSet<(u32, &'static str)>,
    charges: BTreeMap<u32, Charge>,
    pub(crate) attempts: Vec<Booked>,
    pub(crate) ended: Option<JobState>,
    pub(crate) artifacts: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) accounts: Vec<Account>,
    /// What is spent or set aside, by tenant and day.
    spent: HashMap<(Tenant, i32), i64>,
    /// The database is away until then, Unix milliseconds.
    pub(crate) away_until_ms: i64,
    /// The day's sums at their highest, for the invariants.
    pub(crate) touched: BTreeSet<(Tenant, i32)>,
}

impl Books {
    pub(crate) fn new(jobs: usize) -> Self {
        Self { accounts: vec![Account::default(); jobs], ..Self::default() }
    }

    /// Sets money aside, or says which limit is in the way.
    pub(crate) fn reserve(
        &mut self,
        job: u32,
        wanted: &Reservation,
        tenants: &TenantsConfig,
    ) -> Result<(), String> {
        let mut book = Book::default();
        let account = &self.accounts[job as usize];
        for (attempt, charge) in &account.charges {
            book.enter_charge(wanted.job, *attempt, standing(charge));
        }
        if let Some(state) = account.ended {
            book.enter_ended(wanted.job, state.as_str().to_owned());
        }
        for ((tenant, day), amount) in &self.spent {
            book.enter_payer_day(&Payer::of(tenant, tenants), *day, i128::from(*amount));
            book.enter_fleet_day(*day, i128::from(*amount));
        }
        book.reserve(wanted, tenants)?;
        let amount = wanted.amount_micro_usd.0;
        let backend = wanted.backend.to_string();
        let row = ChargeRow {
            backend: backend.clone(),
            simulated: false,
            state: ChargeState::Pending,
            settled_by: None,
            request: Some(Request { backend, amount_micro_usd: amount, at_ms: wanted.time_ms }),
            reserved_micro_usd: amount,
            posted_micro_usd: 0,
            possibly_paid: false,
            budget_at_ms: wanted.time_ms,
            posted_at_ms: None,
        };
        self.write(job, wanted.attempt, Charge { tenant: wanted.tenant.clone(), row });
        Ok(())
    }

    /// Stores an event and brings the rows of its job up to date. One that is there already changes nothing.
    pub(crate) fn ingest(&mut self, job: u32, event: &Rc<Event>) {
        let account = &mut self.accounts[job as usize];
        if !account.keys.insert((event.attempt, event.fact.kind())) {
            return;
        }
        account.events.push(Rc::clone(event));
        let Some(folded) = fold(&account.events) else { return };
        account.ended = folded.job.ended_at_ms.map(|_| folded.job.state);
        account.artifacts = folded.job.artifacts.len() as u64;
        account.attempts = folded
            .attempts
            .into_iter()
            .map(|row| Booked {
                attempt: row.attempt,
                delivered: row.finished_at_ms.is_some() && is_delivered(row.failure_code),
                succeeded: row.finished_at_ms.is_some() && row.failure_code.is_none(),
                provider_id: row.provider_id,
                usage: row.usage,
            })
            .collect();
        let tenant = event.tenant.clone();
        let requests: BTreeMap<u32, Request> = account
            .charges
            .iter()
            .filter_map(|(attempt, charge)| Some((*attempt, charge.row.request.clone()?)))
            .collect();
        let numbers: BTreeSet<u32> = folded.money.keys().chain(requests.keys()).copied().collect();
        let nothing = Told::nothing(account.ended.is_some());
        for attempt in numbers {
            let told = folded.money.get(&attempt).unwrap_or(&nothing);
            if let Some(row) = charge::settle(requests.get(&attempt).cloned(), told) {
                self.write(job, attempt, Charge { tenant: tenant.clone(), row });
            }
        }
    }

    fn write(&mut self, job: u32, attempt: u32, charge: Charge) {
        let (tenant, day, amount) = (charge.tenant.clone(), day(&charge.row), committed(&charge.row));
        let before = self.accounts[job as usize].charges.insert(attempt, charge);
        if let Some(before) = before {
            self.move_sum(before.tenant.clone(), day_of(before.row.budget_at_ms), -committed(&before.row));
        }
        self.move_sum(tenant, day, amount);
    }

    fn move_sum(&mut self, tenant: Tenant, day: i32, amount: i64) {
        *self.spent.entry((tenant.clone(), day)).or_default() += amount;
        self.touched.insert((tenant, day));
    }

    /// Money was asked for and granted for the attempt, whatever became of it.
    pub(crate) fn is_reserved(&self, job: u32, attempt: u32) -> bool {
        let charges = &self.accounts[job as usize].charges;
        charges.get(&attempt).is_some_and(|charge| charge.row.request.is_some())
    }

    /// What some of the tenants have spent or set aside on a day.
    pub(crate) fn spent_by(&self, is_one: impl Fn(&Tenant) -> bool, day: i32) -> i64 {
        let of_day = self.spent.iter().filter(|((tenant, other), _)| *other == day && is_one(tenant));
        of_day.map(|(_, amount)| *amount).sum()
    }

    /// What some of the tenants were charged on a day after their jobs had ended: it was spent, whatever was left. Where a
    /// router reserved money and another one ended the job before the first could place it, the ledger has given that money
    /// back.
    pub(crate) fn charged_late(&self, is_one: impl Fn(&Tenant) -> bool, on_day: i32) -> i64 {
        let charges = self.accounts.iter().flat_map(|account| account.charges.values());
        let late = charges.filter(|charge| {
            charge.row.settled_by == Some("charged") && day(&charge.row) == on_day && is_one(&charge.tenant)
        });
        late.map(|charge| committed(&charge.row)).sum()
    }

    /// The attempts of a job with their money, as an audit reads them.
    pub(crate) fn audited(&self, job: u32) -> impl Iterator<Item = (u32, &ChargeRow, Option<&Booked>)> {
        let account = &self.accounts[job as usize];
        let booked = |attempt: u32| account.attempts.iter().find(|booked| booked.attempt == attempt);
        account.charges.iter().map(move |(attempt, charge)| (*attempt, &charge.row, booked(*attempt)))
    }
}

fn standing(charge: &Charge) -> Standing {
    Standing {
        tenant: charge.tenant.to_string(),
        state: charge.row.state,
        reopenable: charge.row.settled_by == Some("assigned"),
        committed_micro_usd: committed(&charge.row),
        day: day(&charge.row),
    }
}

const fn committed(row: &ChargeRow) -> i64 {
    match row.state {
        ChargeState::Pending => row.reserved_micro_usd,
        _ => row.posted_micro_usd,
    }
}

fn day(row: &ChargeRow) -> i32 {
    day_of(row.budget_at_ms)
}

fn day_of(time_ms: i64) -> i32 {
    i32::try_from(time_ms / DAY_MS).unwrap_or(i32::MAX)
}

/// The id of a job of a run, made at a moment.
pub(crate) fn job_id(seed: u64, job: u32, made_ms: i64) -> JobId {
    let mut entropy = [0; 10];
    entropy[..6].copy_from_slice(&seed.to_be_bytes()[2..]);
    entropy[6..].copy_from_slice(&job.to_be_bytes());
    JobId::from_parts(made_ms, entropy)
}
