//! The drill's jobs: small pictures, nine of ten free, the tenth paid at the cloud or at Gemini; in an upgrade every
//! fourth is paid. Some have a deadline, some are cancelled, and one tenant publishes a tenth of all at once. The same
//! seed gives the same jobs but for their ids, which carry the time.

use crate::chance::Chance;
use schemas::{Backend, Body, Constraints, Job, JobId, Lane, MicroUsd, Preferences, Tenant};

/// May spend when its jobs ask for it, and has enough.
pub const SPENDER: &str = "spender";
/// May spend without being asked, and has not enough for all its jobs.
pub const THRIFTY: &str = "thrifty";
/// May not spend, whatever its jobs say.
pub const FREE: &str = "free";

/// May not spend, and publishes all its jobs at once.
pub const FLOODER: &str = "flooder";

/// One of so many jobs has a deadline, and one is cancelled.
const DEADLINE_ONE_IN: usize = 40;
const CANCEL_ONE_IN: usize = 40;
/// Their places among so many.
const DEADLINE_AT: usize = 7;
const CANCEL_AT: usize = 17;
/// From the publish to the deadline, milliseconds: some pass while the job waits, some while it runs, some never.
const DEADLINE_AFTER_MS: (u64, u64) = (500, 40_000);
/// From the acceptance to the cancel request, milliseconds.
const CANCEL_AFTER_MS: (u64, u64) = (0, 4_000);

/// Sides of the pictures: the least that is accepted, since it is not the pixels that are tried.
const SIDE_PX: u32 = 64;
/// Every so many jobs of a kill drill one is paid.
pub const PAID_ONE_IN: usize = 10;
/// The same of a drill of an upgrade, which waits for paid work again and again.
pub const PAID_ONE_IN_OF_UPGRADE: usize = 4;
/// The most that a paid job may cost: a failed attempt at either provider and one more.
const CEILING_MICRO_USD: i64 = 400_000;
/// What the spender may spend a day, for each of its jobs. More than all its attempts cost.
const AMPLE_MICRO_USD: i64 = 1_000_000;
/// What the thrifty tenant may spend a day, for each job of the drill. Less than its jobs cost at Gemini.
const TIGHT_MICRO_USD: i64 = 500;

/// The spender's budget of a day.
#[must_use]
pub fn ample_micro_usd(jobs: usize) -> i64 {
    i64::try_from(jobs).unwrap_or(i64::MAX).max(10).saturating_mul(AMPLE_MICRO_USD)
}

/// The thrifty tenant's budget of a day.
#[must_use]
pub fn tight_micro_usd(jobs: usize) -> i64 {
    i64::try_from(jobs).unwrap_or(i64::MAX).max(1_000).saturating_mul(TIGHT_MICRO_USD)
}

/// A job and what its client does about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// The job; its deadline is set when it is published.
    pub job: Job,
    /// From the publish to the deadline, milliseconds.
    pub deadline_after_ms: Option<i64>,
    /// From the acceptance to a cancel request, milliseconds.
    pub cancel_after_ms: Option<u64>,
    /// It is published whatever waits already.
    pub is_flood: bool,
}

impl Order {
    /// The job as it is published now.
    #[must_use]
    pub fn published(&self, now_ms: i64) -> Job {
        let mut job = self.job.clone();
        job.constraints.deadline_ms = self.deadline_after_ms.map(|after_ms| now_ms.saturating_add(after_ms));
        job
    }
}

/// All jobs of a drill.
///
/// # Errors
/// Never: the names are names, by test.
pub fn orders(count: usize, seed: u64, paid_one_in: usize, now_ms: i64) -> anyhow::Result<Vec<Order>> {
    // What is done about the jobs has chances of its own: the jobs are the same with and without it.
    let (mut chance, mut about) = (Chance::of(seed), Chance::of(seed.rotate_left(17)));
    let flood = count * 3 / 10..count * 4 / 10;
    let order = |index: usize| {
        let mut job = job(index, &mut chance, seed, paid_one_in, now_ms)?;
        let is_flood = flood.contains(&index) && job.tenant.as_str() == FREE;
        if is_flood {
            job.tenant = Tenant::new(FLOODER)?;
        }
        let mut drawn = |(least, most)| about.between(least, most);
        let deadline = (index % DEADLINE_ONE_IN == DEADLINE_AT).then(|| drawn(DEADLINE_AFTER_MS));
        let cancel_after_ms = (index % CANCEL_ONE_IN == CANCEL_AT).then(|| drawn(CANCEL_AFTER_MS));
        let deadline_after_ms = deadline.map(|after_ms| i64::try_from(after_ms).unwrap_or(i64::MAX));
        Ok(Order { job, deadline_after_ms, cancel_after_ms, is_flood })
    };
    (0..count).map(order).collect()
}

fn job(index: usize, chance: &mut Chance, seed: u64, paid_one_in: usize, now_ms: i64) -> anyhow::Result<Job> {
    let mut entropy = [0; 10];
    entropy[..8].copy_from_slice(&chance.draw().to_be_bytes());
    entropy[8..].copy_from_slice(&(index as u16).to_be_bytes());
    let is_paid = index % paid_one_in == paid_one_in - 1;
    let (tenant, backends, preferred) =
        if is_paid { paid(index / paid_one_in) } else { (FREE, &[][..], None) };
    let backends = backends.iter().map(|name| Backend::new(name)).collect::<Result<Vec<_>, _>>()?;
    let preferred = preferred.map(Backend::new).transpose()?;
    let lane = [Lane::Interactive, Lane::Standard, Lane::Batch][chance.between(0, 2) as usize];
    let body = Body {
        prompt: Some(format!("picture {index}")),
        model: Some("sd15".to_owned()),
        width: Some(SIDE_PX),
        height: Some(SIDE_PX),
        steps: Some(2),
        seed: Some(chance.draw() >> 11),
        ..Body::default()
    };
    Ok(Job {
        lane,
        constraints: Constraints {
            max_cost_micro_usd: is_paid.then_some(MicroUsd(CEILING_MICRO_USD)),
            backends: (!backends.is_empty()).then_some(backends),
            allow_paid: asks(tenant, index),
            ..Constraints::default()
        },
        preferences: Preferences { backend: preferred, ..Preferences::default() },
        labels: [("drill".to_owned(), seed.to_string())].into(),
        ..Job::new(JobId::from_parts(now_ms, entropy), Tenant::new(tenant)?, body, now_ms)
    })
}

/// What the job says of paid backends: the spender's say yes, the thrifty tenant's say nothing, and of those that
/// may not spend every other one tries to.
fn asks(tenant: &str, index: usize) -> Option<bool> {
    match tenant {
        SPENDER => Some(true),
        FREE if index.is_multiple_of(2) => Some(true),
        _ => None,
    }
}

/// Whose a paid job is, where it may run (anywhere when empty), and where it would like to.
fn paid(nth: usize) -> (&'static str, &'static [&'static str], Option<&'static str>) {
    match nth % 4 {
        0 => (SPENDER, &["cloud"], None),
        1 => (SPENDER, &["gemini"], None),
        2 => (SPENDER, &["cloud", "gemini"], Some("gemini")),
        // Moves to the free backend when the money is gone.
        _ => (THRIFTY, &[], Some("gemini")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_paid_and_all_are_different() {
        let orders = orders(1_000, 3, PAID_ONE_IN, 1_764_000_000_000).expect("names are names");
        let all: Vec<&Job> = orders.iter().map(|order| &order.job).collect();
        let ids: std::collections::BTreeSet<JobId> = all.iter().map(|job| job.id).collect();
        assert_eq!(ids.len(), 1_000);
        let of = |tenant: &str| all.iter().filter(|job| job.tenant.as_str() == tenant).count();
        assert_eq!((of(FREE), of(FLOODER), of(SPENDER), of(THRIFTY)), (810, 90, 75, 25));
        assert_eq!(orders.iter().filter(|order| order.deadline_after_ms.is_some()).count(), 25);
        assert_eq!(orders.iter().filter(|order| order.cancel_after_ms.is_some()).count(), 25);
        let after_ms = orders[DEADLINE_AT].deadline_after_ms.expect("it has a deadline");
        assert_eq!(orders[DEADLINE_AT].published(1_000).constraints.deadline_ms, Some(1_000 + after_ms));
        let asks = |tenant: &str| {
            all.iter()
                .filter(|job| job.tenant.as_str() == tenant)
                .filter(|job| job.constraints.allow_paid == Some(true))
                .count()
        };
        assert_eq!(
            (asks(SPENDER), asks(THRIFTY), asks(FREE)),
            (75, 0, 450),
            "jobs that ask for paid backends"
        );
        for (tenant, backend) in [(SPENDER, "cloud"), (SPENDER, "gemini")] {
            let only = |job: &&&Job| {
                job.tenant.as_str() == tenant
                    && job
                        .constraints
                        .backends
                        .as_ref()
                        .is_some_and(|all| all.iter().map(Backend::as_str).eq([backend]))
            };
            assert_eq!(all.iter().filter(only).count(), 25);
        }
    }
}
