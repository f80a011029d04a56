//! The programme: what each job demands, and what there is of everything in each interval.

use crate::fleet::{FleetSpec, ServerSpec};
use crate::job::SimJob;
use crate::setting::{START_MS, Setting};

/// Intervals at most; beyond, neighbours are one, which only loosens the programme.
const INTERVALS_MAX: usize = 500;

/// A way to do a job in time.
#[derive(Debug, Clone, PartialEq)]
pub struct Way {
    /// What it costs, micro-dollars.
    pub cost: f64,
    /// What it uses; none where there is no limit.
    pub resource: Option<usize>,
    /// How much of it, slot milliseconds.
    pub work: f64,
}

/// A job of the programme.
#[derive(Debug, Clone, PartialEq)]
pub struct Demand {
    /// The first and the last interval of its window.
    pub window: (usize, usize),
    /// Ways that end in time.
    pub ways: Vec<Way>,
    /// What it costs when it is late: its cheapest way.
    pub late_cost: f64,
}

/// Servers that are alike.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// Slot milliseconds of each interval.
    pub capacity: Vec<f64>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The jobs.
    pub demands: Vec<Demand>,
    /// The servers.
    pub resources: Vec<Resource>,
    /// The most that a late job may be priced at, micro-dollars.
    pub late_price_max: f64,
}

/// What limits providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capacities {
    /// A provider of pictures has no limit.
    Optimistic,
    /// Our workers' slots limit it.
    Real,
}

struct Group<'a> {
    server: &'a ServerSpec,
    backend: usize,
    slots: f64,
    is_limited: bool,
}

impl Problem {
    /// The programme of a workload.
    #[must_use]
    pub fn of(jobs: &[SimJob], fleet: &FleetSpec, setting: &Setting, capacities: Capacities) -> Self {
        let edges = edges(jobs, fleet);
        let groups = groups(fleet, setting, capacities);
        let resources: Vec<Resource> =
            groups.iter().map(|group| Resource { capacity: capacity(group, fleet, &edges) }).collect();
        let demands: Vec<Demand> = jobs.iter().map(|job| demand(job, &groups, &edges)).collect();
        let dearest = jobs.iter().filter_map(SimJob::dearest).map(|choice| choice.cost.0).max().unwrap_or(1);
        #[expect(clippy::cast_precision_loss, reason = "money is far below 2^53")]
        let late_price_max = dearest.max(1) as f64 * 4.0;
        Self { demands, resources, late_price_max }
    }

    /// The same programme in which nothing costs but a late job, and that 1.
    #[must_use]
    pub fn without_money(&self) -> Self {
        let free = |way: &Way| Way { cost: 0.0, ..way.clone() };
        let demands = self.demands.iter().map(|demand| Demand {
            ways: demand.ways.iter().map(free).collect(),
            late_cost: 1.0,
            ..demand.clone()
        });
        Self { demands: demands.collect(), late_price_max: 0.0, ..self.clone() }
    }
}

/// The moments between which nothing changes.
fn edges(jobs: &[SimJob], fleet: &FleetSpec) -> Vec<i64> {
    let outages = fleet.outages.iter().flat_map(|outage| [outage.from_ms, outage.until_ms]);
    let of_jobs = jobs.iter().flat_map(|job| [job.at_ms, job.due_ms]);
    let mut all: Vec<i64> = outages.map(|at_ms| START_MS + at_ms).chain(of_jobs).collect();
    all.sort_unstable();
    all.dedup();
    if all.len() > INTERVALS_MAX + 1 {
        let last = all.len() - 1;
        all = (0..=INTERVALS_MAX).map(|nth| all[nth * last / INTERVALS_MAX]).collect();
    }
    all
}

/// Servers of a backend with the same speed and classes are one resource.
fn groups<'a>(fleet: &'a FleetSpec, setting: &Setting, capacities: Capacities) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for server in &fleet.servers {
        let Some(backend) = setting.backends().position(|backend| *backend == server.backend) else {
            continue;
        };
        let families =
            setting.config.catalog.services.iter().filter(|service| service.backend == server.backend);
        let family = |name: &str| families.clone().any(|service| service.family == name);
        let is_serverless = family(policy::billing::LIMITED_FAMILY);
        let is_limited =
            capacities == Capacities::Real || is_serverless || family(policy::billing::FREE_FAMILY);
        let slots = f64::from(server.slots);
        let alike = groups.iter_mut().find(|group| {
            group.backend == backend
                && group.server.speed_percent == server.speed_percent
                && group.server.classes == server.classes
                && fleet.outages.iter().all(|outage| outage.hits(group.server) == outage.hits(server))
        });
        match alike {
            Some(group) => group.slots += slots,
            None => groups.push(Group { server, backend, slots, is_limited }),
        }
        if is_serverless && let Some(group) = groups.iter_mut().find(|group| group.backend == backend) {
            group.slots = group.slots.min(f64::from(fleet.serverless.workers));
        }
    }
    groups
}

#[expect(clippy::cast_precision_loss, reason = "times of a run are far below 2^53")]
fn capacity(group: &Group<'_>, fleet: &FleetSpec, edges: &[i64]) -> Vec<f64> {
    let hits: Vec<(i64, i64)> = fleet
        .outages
        .iter()
        .filter(|outage| outage.hits(group.server))
        .map(|outage| (START_MS + outage.from_ms, START_MS + outage.until_ms))
        .collect();
    let up_ms = |from: i64, until: i64| {
        // Outages of one server do not overlap, or the bound is a little loose.
        let out: i64 = hits.iter().map(|hit| (hit.1.min(until) - hit.0.max(from)).max(0)).max().unwrap_or(0);
        (until - from - out).max(0)
    };
    edges.windows(2).map(|edge| group.slots * up_ms(edge[0], edge[1]) as f64).collect()
}

#[expect(clippy::cast_precision_loss, reason = "money and times of a run are far below 2^53")]
fn demand(job: &SimJob, groups: &[Group<'_>], edges: &[i64]) -> Demand {
    // The interval that holds the acceptance, and the one before the first edge at or after the due time.
    let first = edges.partition_point(|edge| *edge <= job.at_ms).saturating_sub(1);
    let last = edges.partition_point(|edge| *edge < job.due_ms).saturating_sub(1).max(first);
    let window_ms = job.due_ms - job.at_ms;
    let mut ways = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let Some(choice) = job.choice(group.backend) else { continue };
        if !group.server.classes.as_ref().is_none_or(|classes| classes.contains(&job.admitted.class)) {
            continue;
        }
        let work_ms = choice.run_ms.saturating_mul(100).div_ceil(group.server.speed_percent).max(1);
        // Nobody runs it in time there.
        if i64::try_from(work_ms).is_ok_and(|work_ms| work_ms <= window_ms) {
            let resource = group.is_limited.then_some(index);
            ways.push(Way { cost: choice.cost.0 as f64, resource, work: work_ms as f64 });
        }
    }
    let late_cost = job.choices.iter().map(|choice| choice.cost.0).min().unwrap_or_default() as f64;
    Demand { window: (first, last.min(edges.len().saturating_sub(2))), ways, late_cost }
}
