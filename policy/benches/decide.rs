//! What one decision costs, its end included: the plan of a plain job over three backends, with a few and with many workers.
//!
//! `cargo bench -p policy`; `argosy bench` reads the figures from where criterion leaves them.

use criterion::{Criterion, criterion_group, criterion_main};
use policy::admit::{Admitted, admit};
use policy::defaults;
use policy::fleet::Fleet;
use policy::plan::{Choice, PlanInput, plan};
use schemas::samples::TIME_MS;
use schemas::{
    Backend, Catalog, ClassOffer, Gpu, Health, Job, Offer, PolicyConfig, PriceList, SCHEMA_VERSION,
    TenantsConfig, WorkerId,
};
use serde_json::json;
use std::hint::black_box;

/// As in the router.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct World {
    job: Job,
    admitted: Admitted,
    fleet: Fleet,
    catalog: Catalog,
    prices: PriceList,
    policy: PolicyConfig,
    tenants: TenantsConfig,
}

/// The shipped configuration and so many workers, spread over its backends.
fn world(workers: usize) -> World {
    let read = "the shipped documents are good";
    let catalog: Catalog = serde_json::from_str(defaults::CATALOG_JSON).expect(read);
    let policy: PolicyConfig = serde_json::from_str(defaults::POLICY_JSON).expect(read);
    let job: Job = serde_json::from_value(json!({
        "schema_version": SCHEMA_VERSION,
        "id": schemas::samples::job_id(),
        "time_ms": TIME_MS,
        "tenant": "studio-a",
        "body": { "kind": "image", "prompt": "a lighthouse at dusk", "model": "sd15" },
    }))
    .expect("a plain job");
    let admitted = admit(&job, &catalog, &policy, 300, TIME_MS).expect("admitted");
    let mut fleet = Fleet::default();
    for nth in 0..workers {
        let backend = policy.backends[nth % policy.backends.len()].backend.clone();
        fleet.upsert_offer(offer(nth, backend, &catalog), TIME_MS);
    }
    let prices = serde_json::from_str(defaults::PRICES_JSON).expect(read);
    let tenants = serde_json::from_str(defaults::TENANTS_JSON).expect(read);
    World { job, admitted, fleet, catalog, prices, policy, tenants }
}

fn offer(nth: usize, backend: Backend, catalog: &Catalog) -> Offer {
    // A ComfyUI tells of its model files and of hundreds of node classes.
    let tells = backend.as_str() == "local";
    let files = || catalog.models.iter().flat_map(|model| model.files.iter().cloned()).collect();
    let needed = || {
        let graphs = catalog.models.iter().filter_map(|model| model.requirements().ok());
        graphs.flat_map(|needs| needs.nodes.iter().cloned().collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    let nodes = || needed().into_iter().chain((0..600).map(|node| format!("Node{node}"))).collect();
    Offer {
        schema_version: SCHEMA_VERSION,
        worker: WorkerId::new(&format!("{backend}-{nth}")).expect("a name"),
        time_ms: TIME_MS,
        started_at_ms: TIME_MS,
        classes: catalog
            .services_of(&backend)
            .map(|service| ClassOffer { class: service.class.clone(), learned_ms: Some(4_000) })
            .collect(),
        slots: 4,
        free_slots: 2,
        health: Health::Healthy,
        health_reason: None,
        unavailable_until_ms: None,
        clock_skew_ms: None,
        breaker: None,
        running: Vec::new(),
        models: tells.then(files),
        nodes: tells.then(nodes),
        file_choices: None,
        capability: None,
        gpus: if tells { vec![gpu()] } else { Vec::new() },
        simulated: false,
        paid: None,
        backend,
    }
}

fn gpu() -> Gpu {
    serde_json::from_value(json!({
        "name": "a GPU", "vram_total_bytes": 24_000_000_000u64, "vram_free_bytes": 20_000_000_000u64,
    }))
    .expect("a GPU")
}

fn decide(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide");
    for (name, workers) in [("backends_3", 3), ("offers_100", 100), ("offers_1000", 1_000)] {
        let world = world(workers);
        let input = PlanInput {
            job: &world.job,
            admitted: &world.admitted,
            attempt: 1,
            counted_attempts: 0,
            history: &[],
            fleet: &world.fleet,
            catalog: &world.catalog,
            prices: &world.prices,
            policy: &world.policy,
            tenant: world.tenants.of(&world.job.tenant),
            ledger_available: true,
            unreadable: None,
            refused: &[],
            choice: Choice::Weighted,
            now_ms: TIME_MS,
        };
        group.bench_function(name, |bencher| bencher.iter(|| plan(black_box(&input))));
    }
    group.finish();
}

criterion_group!(benches, decide);
criterion_main!(benches);
