//! Strategies side by side over the same arrivals: means and 95 % confidence over seeds, differences in pairs.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use schemas::MicroUsd;
use serde::Serialize;

use crate::bound::{self, Bound};
use crate::figures::Figures;
use crate::fleet::FleetSpec;
use crate::job::{BadJob, SimJob, prepare};
use crate::named::Name;
use crate::run::run;
use crate::setting::Setting;
use crate::workload::Source;
use crate::world::Rows;

/// What is compared.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where the jobs come from.
    pub source: Source,
    /// The fleet; the workload's own where absent.
    pub fleet: Option<FleetSpec>,
    /// How many routers; the fleet's own where absent.
    pub routers: Option<usize>,
    /// The strategies; differences are to the first.
    pub strategies: Vec<Name>,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// Whether the bound of hindsight is computed.
    pub with_bound: bool,
}

/// One strategy on one seed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeedResult {
    /// Which seed.
    pub seed: u64,
    /// What the run came to.
    pub figures: Figures,
    /// The least with the least lateness.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound: Option<Bound>,
    /// The least when as late as this run, with real slots at all providers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fair_bound: Option<Bound>,
}

impl SeedResult {
    /// (money − fair bound) ÷ all-dearest.
    #[must_use]
    pub fn above(&self) -> Option<f64> {
        self.fair_bound.as_ref().map(|bound| self.figures.above(bound.money))
    }
}

/// A mean with its confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// Half of the interval in which it lies with 95 %; 0 for one seed.
    pub plus_minus: f64,
}

/// One strategy over all seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StrategyResult {
    /// Its name.
    pub strategy: &'static str,
    /// Each seed.
    pub seeds: Vec<SeedResult>,
    /// Money, dollars.
    pub money_usd: Mean,
    /// The share of late jobs, per cent.
    pub late_percent: Mean,
    /// Deadlines missed.
    pub missed: Mean,
    /// (money − fair bound) ÷ all-dearest, per cent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub above_percent: Option<Mean>,
    /// Dollars more than the first strategy, by pairs.
    pub more_than_first_usd: Mean,
}

/// Everything of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The workload.
    pub workload: String,
    /// The least with the least lateness, dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound_usd: Option<Mean>,
    /// What everything would cost at the dearest backend that each job may use, dollars.
    pub all_dearest_usd: Mean,
    /// Each strategy.
    pub strategies: Vec<StrategyResult>,
}

/// Compares; `progress` hears of each finished run.
///
/// # Errors
/// A job of the workload cannot be simulated.
pub fn compare(plan: &Plan, mut progress: impl FnMut(u64, Name)) -> Result<Comparison, BadJob> {
    let setting = Rc::new(Setting::default());
    let mut results: Vec<Vec<SeedResult>> = vec![Vec::new(); plan.strategies.len()];
    for seed in &plan.seeds {
        let (jobs, fleet) = plan.jobs(*seed, &setting)?;
        let least = plan.with_bound.then(|| bound::least(&jobs, &fleet, &setting));
        // Runs that are as late as another share its bound.
        let mut fair_bounds: BTreeMap<usize, Bound> = BTreeMap::new();
        for (name, results) in plan.strategies.iter().zip(&mut results) {
            let rows = run(&jobs, &fleet, *name, *seed);
            let figures = Figures::of(&rows, &jobs, &setting);
            let fair_bound = plan.with_bound.then(|| {
                let bound = || bound::as_late(&jobs, &fleet, &setting, figures.late);
                fair_bounds.entry(figures.late).or_insert_with(bound).clone()
            });
            results.push(SeedResult { seed: *seed, figures, bound: least.clone(), fair_bound });
            progress(*seed, *name);
        }
    }
    Ok(Comparison::of(plan, results))
}

impl Plan {
    /// The jobs of a seed, and the fleet that they meet.
    ///
    /// # Errors
    /// A job cannot be simulated.
    pub fn jobs(&self, seed: u64, setting: &Setting) -> Result<(Arc<Vec<SimJob>>, FleetSpec), BadJob> {
        let generated = self.source.generate(seed);
        let mut fleet = self.fleet.clone().unwrap_or(generated.fleet);
        fleet.routers = self.routers.unwrap_or(fleet.routers);
        let jobs = prepare(&generated.jobs, &fleet, setting)?;
        Ok((Arc::new(jobs), fleet))
    }

    /// The rows of one run: every job, attempt and provider worker.
    ///
    /// # Errors
    /// A job cannot be simulated.
    pub fn rows(&self, seed: u64, name: Name) -> Result<Rows, BadJob> {
        let (jobs, fleet) = self.jobs(seed, &Setting::default())?;
        Ok(run(&jobs, &fleet, name, seed))
    }
}

impl Comparison {
    fn of(plan: &Plan, results: Vec<Vec<SeedResult>>) -> Self {
        let first = results.first().cloned().unwrap_or_default();
        let bounds: Option<Vec<f64>> =
            first.iter().map(|seed| seed.bound.as_ref().map(|bound| usd(bound.money))).collect();
        let dearest: Vec<f64> = first.iter().map(|seed| usd(seed.figures.all_dearest_money)).collect();
        let strategies = plan.strategies.iter().zip(results);
        Self {
            workload: plan.source.name(),
            bound_usd: bounds.map(|bounds| mean(&bounds)),
            all_dearest_usd: mean(&dearest),
            strategies: strategies.map(|(name, seeds)| StrategyResult::of(*name, seeds, &first)).collect(),
        }
    }
}

impl StrategyResult {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    fn of(name: Name, seeds: Vec<SeedResult>, first: &[SeedResult]) -> Self {
        let each = |value: &dyn Fn(&SeedResult) -> f64| -> Vec<f64> { seeds.iter().map(value).collect() };
        let above: Option<Vec<f64>> =
            seeds.iter().map(|seed| seed.above().map(|above| above * 100.0)).collect();
        let pairs = seeds.iter().zip(first);
        let more: Vec<f64> =
            pairs.map(|(one, other)| usd(one.figures.money) - usd(other.figures.money)).collect();
        Self {
            strategy: name.as_str(),
            money_usd: mean(&each(&|seed| usd(seed.figures.money))),
            late_percent: mean(&each(&|seed| seed.figures.late_share() * 100.0)),
            missed: mean(&each(&|seed| seed.figures.missed as f64)),
            above_percent: above.map(|above| mean(&above)),
            more_than_first_usd: mean(&more),
            seeds,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "money is far below 2^53")]
fn usd(money: MicroUsd) -> f64 {
    money.0 as f64 / 1e6
}

/// Two-sided 95 % points of Student's distribution for 1 to 30 degrees of freedom.
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// The same for more.
const NORMAL: f64 = 1.96;

/// The mean of some values, with its confidence.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub fn mean(values: &[f64]) -> Mean {
    let count = values.len() as f64;
    if values.is_empty() {
        return Mean { mean: 0.0, plus_minus: 0.0 };
    }
    let mean = values.iter().sum::<f64>() / count;
    if values.len() < 2 {
        return Mean { mean, plus_minus: 0.0 };
    }
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let student = STUDENT.get(values.len() - 2).copied().unwrap_or(NORMAL);
    Mean { mean, plus_minus: student * (variance / count).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confidence_is_students() {
        // By hand: mean 3, sample variance 2.5, t(4) = 2.776.
        let found = mean(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        assert!((found.mean - 3.0).abs() < 1e-9);
        assert!((found.plus_minus - 2.776 * (2.5f64 / 5.0).sqrt()).abs() < 1e-9, "{found:?}");
        assert_eq!(mean(&[4.0]), Mean { mean: 4.0, plus_minus: 0.0 });
    }
}
