//! Exhaustive search over small workloads: every job at every backend that it may use, in every order, without
//! preemption. What it finds can really be carried out, so no bound may be above it.

use simulation::fleet::{FleetSpec, ServerSpec};
use simulation::job::SimJob;

/// Money and number of late jobs of every plan, one slot for each backend, the last of them without limit.
pub(crate) fn plans(jobs: &[SimJob]) -> Vec<(i64, usize)> {
    let mut found = Vec::new();
    let mut places = vec![0; jobs.len()];
    every_place(jobs, 0, &mut places, &mut found);
    found
}

/// The least money of those that are not later.
pub(crate) fn least(plans: &[(i64, usize)], late: usize) -> Option<i64> {
    plans.iter().filter(|plan| plan.1 <= late).map(|plan| plan.0).min()
}

fn every_place(jobs: &[SimJob], at: usize, places: &mut Vec<usize>, found: &mut Vec<(i64, usize)>) {
    if at == jobs.len() {
        let mut order: Vec<usize> = (0..jobs.len()).collect();
        every_order(jobs, places, 0, &mut order, found);
        return;
    }
    for choice in 0..jobs[at].choices.len() {
        places[at] = choice;
        every_place(jobs, at + 1, places, found);
    }
}

fn every_order(
    jobs: &[SimJob],
    places: &[usize],
    at: usize,
    order: &mut Vec<usize>,
    found: &mut Vec<(i64, usize)>,
) {
    if at == order.len() {
        found.push(carried_out(jobs, places, order));
        return;
    }
    for other in at..order.len() {
        order.swap(at, other);
        every_order(jobs, places, at + 1, order, found);
        order.swap(at, other);
    }
}

fn carried_out(jobs: &[SimJob], places: &[usize], order: &[usize]) -> (i64, usize) {
    let (mut free_ms, mut money, mut late) = ([i64::MIN; 8], 0, 0);
    for index in order {
        let job = &jobs[*index];
        let choice = &job.choices[places[*index]];
        let is_limited = choice.backend < 2;
        let begins_ms = if is_limited { free_ms[choice.backend].max(job.at_ms) } else { job.at_ms };
        let ends_ms = begins_ms + i64::try_from(choice.run_ms).expect("short");
        free_ms[choice.backend] = ends_ms;
        money += choice.cost.0;
        late += usize::from(ends_ms > job.due_ms);
    }
    (money, late)
}

/// One local slot, one cloud worker, Gemini with more slots than there are jobs.
pub(crate) fn small_fleet() -> FleetSpec {
    let demo = FleetSpec::demo();
    let servers = demo.servers.iter().filter(|server| server.name != "local-2");
    let servers = servers.map(|server| ServerSpec {
        slots: if server.name.starts_with("gemini") { 8 } else { 1 },
        gap_ms: 0,
        ..server.clone()
    });
    let mut fleet = FleetSpec { servers: servers.collect(), ..FleetSpec::demo() };
    fleet.serverless.workers = 1;
    fleet
}
