//! Prices of capacity that give a tight bound.
//!
//! The dual function is concave and not smooth; it is smoothed by a temperature (each job spreads over its ways, the
//! cheaper the likelier), climbed by accelerated steps, and the temperature is lowered in stages. What is returned is
//! the dual function itself at the best prices met, so errors of the climb make the bound looser, never wrong.

use super::problem::{Demand, Problem};

/// Temperatures as shares of what matters, and steps at each.
const STAGES: [(f64, usize); 5] = [(0.3, 150), (0.1, 200), (0.03, 250), (0.01, 300), (0.003, 400)];

/// Beyond this many temperatures nothing is chosen.
const NEVER: f64 = 30.0;

/// How often the dual function itself is looked at.
const LOOK_EVERY: usize = 25;

/// Prices: of each interval of each resource, micro-dollars for a slot millisecond; and of a late job.
#[derive(Debug, Clone, PartialEq)]
pub struct Prices {
    /// By resource, then interval.
    pub capacity: Vec<Vec<f64>>,
    /// Of a late job.
    pub late: f64,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    /// The bound.
    pub value: f64,
    /// The prices that prove it.
    pub prices: Prices,
    /// What a feasible fractional plan costs.
    pub feasible_money: f64,
    /// How many jobs are late in it.
    pub feasible_late: f64,
}

impl Prices {
    fn zero(problem: &Problem) -> Self {
        let capacity = problem.resources.iter().map(|resource| vec![0.0; resource.capacity.len()]).collect();
        Self { capacity, late: 0.0 }
    }
}

/// The dual function: a lower bound at any non-negative prices, when at most `late` jobs may be late. What it costs is
/// the cheapest way of each job at these prices, less what the capacity is worth.
#[must_use]
pub fn value(problem: &Problem, late: f64, prices: &Prices) -> f64 {
    let jobs: f64 = problem.demands.iter().map(|demand| cheapest(demand, prices)).sum();
    let capacity = problem.resources.iter().zip(&prices.capacity);
    let worth: f64 = capacity
        .map(|(resource, price)| {
            resource.capacity.iter().zip(price).map(|(there, price)| there * price).sum::<f64>()
        })
        .sum();
    jobs - worth - prices.late * late
}

fn cheapest(demand: &Demand, prices: &Prices) -> f64 {
    let (first, last) = demand.window;
    let ways = demand.ways.iter().map(|way| {
        let price = way.resource.map_or(0.0, |resource| {
            prices.capacity[resource][first..=last].iter().copied().fold(f64::INFINITY, f64::min)
        });
        way.cost + way.work * price
    });
    ways.fold(demand.late_cost + prices.late, f64::min)
}

/// The tightest bound that the climb finds.
#[must_use]
pub fn solve(problem: &Problem, late: f64) -> Solution {
    let mut best = Prices::zero(problem);
    let mut best_value = value(problem, late, &best);
    let scale = typical_cost(problem);
    let mut spread = Spread::new(problem);
    for (share, steps) in STAGES {
        let temperature = scale * share;
        climb(problem, late, temperature, steps, &mut spread, (&mut best, &mut best_value));
    }
    let (feasible_money, feasible_late) = spread.feasible(problem);
    Solution { value: best_value, prices: best, feasible_money, feasible_late }
}

/// What a job saves by the cheapest of its ways before the next, in the middle: prices are of that order.
fn typical_cost(problem: &Problem) -> f64 {
    let second = |demand: &Demand| {
        let mut costs: Vec<f64> = demand.ways.iter().map(|way| way.cost).collect();
        costs.sort_by(f64::total_cmp);
        (costs.len() > 1).then(|| costs[1] - costs[0]).filter(|saved| *saved > 0.0)
    };
    let mut saved: Vec<f64> = problem.demands.iter().filter_map(second).collect();
    saved.sort_by(f64::total_cmp);
    saved.get(saved.len() / 2).copied().unwrap_or(1.0)
}

/// Nesterov's steps with restarts, from the best prices so far.
fn climb(
    problem: &Problem,
    late: f64,
    temperature: f64,
    steps: usize,
    spread: &mut Spread,
    (best, best_value): (&mut Prices, &mut f64),
) {
    let (mut at, mut before) = (best.clone(), best.clone());
    let (mut momentum, mut last_value) = (1.0f64, f64::NEG_INFINITY);
    for step in 1..=steps {
        let next = f64::midpoint(1.0, (1.0 + 4.0 * momentum * momentum).sqrt());
        let push = (momentum - 1.0) / next;
        let ahead = extrapolated(&at, &before, push, problem.late_price_max);
        spread.at(problem, &ahead, temperature);
        before = at;
        at = spread.stepped(problem, late, temperature, &ahead);
        momentum = next;
        if step % LOOK_EVERY == 0 {
            let found = value(problem, late, &at);
            if found > *best_value {
                *best_value = found;
                *best = at.clone();
            }
            if found < last_value {
                momentum = 1.0;
            }
            last_value = found;
        }
    }
}

fn extrapolated(at: &Prices, before: &Prices, push: f64, late_max: f64) -> Prices {
    let along = |at: f64, before: f64| (at + push * (at - before)).max(0.0);
    let rows = at.capacity.iter().zip(&before.capacity);
    Prices {
        capacity: rows
            .map(|(at, before)| at.iter().zip(before).map(|(at, before)| along(*at, *before)).collect())
            .collect(),
        late: along(at.late, before.late).min(late_max),
    }
}

/// How the jobs spread over their ways at some prices.
struct Spread {
    /// Work in each interval of each resource.
    load: Vec<Vec<f64>>,
    /// The same, each job weighed by its work once more: what bounds the curvature.
    curve: Vec<Vec<f64>>,
    late: f64,
    money: f64,
    /// For each job, way and interval: the share; in the order in which they are looked at.
    shares: Vec<f64>,
}

impl Spread {
    fn new(problem: &Problem) -> Self {
        let zero: Vec<Vec<f64>> =
            problem.resources.iter().map(|resource| vec![0.0; resource.capacity.len()]).collect();
        Self { load: zero.clone(), curve: zero, late: 0.0, money: 0.0, shares: Vec::new() }
    }

    fn at(&mut self, problem: &Problem, prices: &Prices, temperature: f64) {
        for rows in [&mut self.load, &mut self.curve] {
            rows.iter_mut().for_each(|row| row.fill(0.0));
        }
        (self.late, self.money) = (0.0, 0.0);
        self.shares.clear();
        for demand in &problem.demands {
            let least = cheapest(demand, prices);
            let (first, last) = demand.window;
            let begin = self.shares.len();
            let weigh = |cost: f64| {
                let colder = (cost - least) / temperature;
                if colder > NEVER { 0.0 } else { (-colder).exp() }
            };
            let mut all = weigh(demand.late_cost + prices.late);
            self.shares.push(all);
            for way in &demand.ways {
                match way.resource {
                    None => self.shares.push(weigh(way.cost)),
                    Some(resource) => {
                        let window = &prices.capacity[resource][first..=last];
                        self.shares.extend(window.iter().map(|price| weigh(way.cost + way.work * price)));
                    }
                }
            }
            all += self.shares[begin + 1..].iter().sum::<f64>();
            self.shares[begin..].iter_mut().for_each(|share| *share /= all);
            self.late += self.shares[begin];
            self.money += self.shares[begin] * demand.late_cost;
            let mut next = begin + 1;
            for way in &demand.ways {
                let Some(resource) = way.resource else {
                    self.money += self.shares[next] * way.cost;
                    next += 1;
                    continue;
                };
                for interval in first..=last {
                    let share = self.shares[next];
                    next += 1;
                    if share > 0.0 {
                        self.load[resource][interval] += share * way.work;
                        self.curve[resource][interval] += share * way.work * way.work;
                        self.money += share * way.cost;
                    }
                }
            }
        }
    }

    /// A step from some prices towards where loads meet capacities.
    fn stepped(&self, problem: &Problem, late: f64, temperature: f64, from: &Prices) -> Prices {
        let capacity = problem.resources.iter().enumerate().map(|(resource, there)| {
            let steps = there.capacity.iter().enumerate().map(|(interval, there)| {
                let load = self.load[resource][interval];
                // The mean work of who is here, times the larger of load and capacity, bounds the curvature.
                let curve = self.curve[resource][interval];
                let mean = if load > 0.0 { curve / load } else { 1.0 };
                let bound = (mean * load.max(*there)).max(1.0);
                (from.capacity[resource][interval] + temperature * (load - there) / bound).max(0.0)
            });
            steps.collect()
        });
        let bound = self.late.max(late).max(1.0);
        let price = from.late + temperature * (self.late - late) / bound;
        Prices { capacity: capacity.collect(), late: price.clamp(0.0, problem.late_price_max) }
    }

    /// What the last spread costs once nothing exceeds its capacity: what exceeds it goes to the job's way without
    /// limit, or is late.
    fn feasible(&self, problem: &Problem) -> (f64, f64) {
        let fits = |resource: usize, interval: usize| {
            let (load, there) =
                (self.load[resource][interval], problem.resources[resource].capacity[interval]);
            if load > there { there / load } else { 1.0 }
        };
        let (mut money, mut late, mut next) = (0.0, 0.0, 0);
        for demand in &problem.demands {
            let (first, last) = demand.window;
            let out = demand.ways.iter().filter(|way| way.resource.is_none()).map(|way| way.cost);
            let out = out.fold(f64::INFINITY, f64::min);
            late += self.shares[next];
            money += self.shares[next] * demand.late_cost;
            next += 1;
            for way in &demand.ways {
                let Some(resource) = way.resource else {
                    money += self.shares[next] * way.cost;
                    next += 1;
                    continue;
                };
                for interval in first..=last {
                    let share = self.shares[next];
                    let stays = share * fits(resource, interval);
                    money += stays * way.cost;
                    if out.is_finite() {
                        money += (share - stays) * out;
                    } else {
                        late += share - stays;
                        money += (share - stays) * demand.late_cost;
                    }
                    next += 1;
                }
            }
        }
        (money, late)
    }
}
