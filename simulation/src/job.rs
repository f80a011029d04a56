//! A job of a workload: a line of a JSON-lines file, and what the fleet makes of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use policy::admit::{Admitted, admit};
use policy::cost;
use policy::fleet::Fleet;
use policy::plan::{PlanInput, plan};
use schemas::{
    Backend, Body, Constraints, FilterReason, Health, Job, JobId, Kind, Lane, MicroUsd, Offer, Preferences,
    SCHEMA_VERSION, ServerBreaker, Tenant, Unit, Usage,
};
use serde::{Deserialize, Serialize};

use crate::fleet::{FleetSpec, ServerSpec};
use crate::setting::{START_MS, Setting};

/// One job: a line of a workload file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    /// When it is accepted, milliseconds after the start.
    pub at_ms: i64,
    /// Whose it is.
    #[serde(default = "default_tenant")]
    pub tenant: String,
    /// How urgent.
    #[serde(default)]
    pub lane: Lane,
    /// A model of the catalog.
    #[serde(default = "default_model")]
    pub model: String,
    /// For how long it bears to wait, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience_ms: Option<u64>,
    /// Its deadline, milliseconds after it is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<i64>,
    /// Whether it may pay.
    #[serde(default = "yes")]
    pub allow_paid: bool,
    /// Its ceiling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cost_micro_usd: Option<MicroUsd>,
    /// The backends that it may use; all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backends: Option<Vec<Backend>>,
    /// How long it really runs at each backend, milliseconds, on a server of speed 100; where a backend is absent, as
    /// long as the catalog expects.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub run_ms: BTreeMap<Backend, u64>,
}

fn default_tenant() -> String {
    "studio-a".to_owned()
}

fn default_model() -> String {
    "sdxl".to_owned()
}

const fn yes() -> bool {
    true
}

/// A way to run a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The backend, by its place in document `policy`.
    pub backend: usize,
    /// What it really costs there.
    pub cost: MicroUsd,
    /// How long it really runs there on a server of speed 100, milliseconds.
    pub run_ms: u64,
}

/// A job as the fleet takes it.
#[derive(Debug, Clone)]
pub struct SimJob {
    /// The job.
    pub job: Arc<Job>,
    /// What admission found out.
    pub admitted: Admitted,
    /// Where it may run, in the order of document `policy`.
    pub choices: Vec<Choice>,
    /// When it is accepted, Unix milliseconds.
    pub at_ms: i64,
    /// When it is late, Unix milliseconds: its deadline, else the end of its patience.
    pub due_ms: i64,
}

impl SimJob {
    /// The way to run it at a backend.
    #[must_use]
    pub fn choice(&self, backend: usize) -> Option<&Choice> {
        self.choices.iter().find(|choice| choice.backend == backend)
    }

    /// What the dearest way costs.
    #[must_use]
    pub fn dearest(&self) -> Option<&Choice> {
        self.choices.iter().max_by_key(|choice| (choice.cost, choice.backend))
    }
}

/// Why a job cannot be simulated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("job {number}: {message}")]
pub struct BadJob {
    /// Which line, from 1.
    pub number: usize,
    /// What is wrong with it.
    pub message: String,
}

/// Makes the jobs of a workload, in order of their acceptance.
///
/// # Errors
/// The first job that is none, or that no backend of the fleet may run.
pub fn prepare(specs: &[JobSpec], fleet: &FleetSpec, setting: &Setting) -> Result<Vec<SimJob>, BadJob> {
    let idle = idle_fleet(fleet, setting);
    let mut jobs = Vec::with_capacity(specs.len());
    let mut order: Vec<usize> = (0..specs.len()).collect();
    order.sort_by_key(|index| specs[*index].at_ms);
    for (place, index) in order.into_iter().enumerate() {
        let spec = &specs[index];
        let bad = |message: String| BadJob { number: index + 1, message };
        let job = to_job(place, spec, setting).map_err(bad)?;
        let admitted = admit(&job, &setting.config.catalog, &setting.config.policy, 0, job.time_ms)
            .map_err(|failure| bad(failure.message))?;
        let (choices, why) = choices(spec, &job, &admitted, &idle, setting);
        if choices.is_empty() {
            return Err(bad(format!("no backend of the fleet may run it: {why}")));
        }
        let due_ms = job
            .constraints
            .deadline_ms
            .unwrap_or_else(|| job.time_ms.saturating_add_unsigned(setting.patience_ms(&job)));
        jobs.push(SimJob { at_ms: job.time_ms, due_ms, choices, admitted, job: Arc::new(job) });
    }
    Ok(jobs)
}

/// The number of a job in its workload, from its id.
#[must_use]
pub fn number(id: JobId) -> usize {
    let bytes = id.0.as_bytes();
    u32::from_be_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]) as usize
}

/// The id of a job by its place in the workload.
fn id_of(number: usize, at_ms: i64) -> JobId {
    let mut entropy = [0x5a; 10];
    entropy[6..].copy_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes());
    JobId::from_parts(at_ms, entropy)
}

fn to_job(place: usize, spec: &JobSpec, setting: &Setting) -> Result<Job, String> {
    if spec.at_ms < 0 {
        return Err(format!("at_ms is {}: it must be 0 or more", spec.at_ms));
    }
    if spec.lane == Lane::Unknown {
        return Err("lane is none of interactive, standard and batch".to_owned());
    }
    let tenant = Tenant::new(&spec.tenant).map_err(|error| format!("tenant: {error}"))?;
    let model = setting.config.catalog.models.iter().find(|model| model.model == spec.model);
    let model = model.ok_or_else(|| format!("model `{}` is not in the catalog", spec.model))?;
    let class = setting.config.catalog.classes.iter().find(|class| class.class == model.class);
    let kind = class.map_or(Kind::Image, |class| class.kind);
    if let Some((backend, _)) = spec.run_ms.iter().find(|(_, run_ms)| **run_ms == 0) {
        return Err(format!("run_ms.{backend} is 0: give it at least 1 ms"));
    }
    let at_ms = START_MS + spec.at_ms;
    let body = Body {
        kind,
        prompt: Some("a lighthouse".to_owned()),
        model: Some(spec.model.clone()),
        ..Body::default()
    };
    let constraints = Constraints {
        deadline_ms: spec.deadline_ms.map(|deadline_ms| at_ms + deadline_ms),
        allow_paid: Some(spec.allow_paid),
        max_cost_micro_usd: spec.max_cost_micro_usd,
        backends: spec.backends.clone(),
        ..Constraints::default()
    };
    let preferences = Preferences { patience_ms: spec.patience_ms, ..Preferences::default() };
    let job = Job::new(id_of(place, at_ms), tenant, body, at_ms);
    Ok(Job { lane: spec.lane, constraints, preferences, ..job })
}

/// Where the shipped plan would let the job go if every server were idle; a deadline that is too near there counts as
/// lateness, not as a filter.
fn choices(
    spec: &JobSpec,
    job: &Job,
    admitted: &Admitted,
    idle: &Fleet,
    setting: &Setting,
) -> (Vec<Choice>, String) {
    let config = &setting.config;
    let plan = plan(&PlanInput {
        job,
        admitted,
        attempt: 1,
        counted_attempts: 0,
        history: &[],
        fleet: idle,
        catalog: &config.catalog,
        prices: &config.prices,
        policy: &config.policy,
        tenant: config.tenants.of(&job.tenant),
        ledger_available: true,
        unreadable: None,
        refused: &[],
        choice: policy::plan::Choice::Weighted,
        now_ms: job.time_ms,
    });
    let decision = plan.decision();
    let choices = setting.backends().enumerate().filter_map(|(index, backend)| {
        let candidate = decision.candidates.iter().find(|candidate| candidate.backend == *backend)?;
        let is_late = |reason: FilterReason| reason == FilterReason::DeadlineUnreachable;
        if candidate.rejections.iter().any(|rejection| !is_late(rejection.reason)) {
            return None;
        }
        let service = setting.service(backend, &admitted.class)?;
        let run_ms = spec.run_ms.get(backend).copied().unwrap_or(service.expected_ms);
        let cost = price(setting, backend, service, run_ms, job.time_ms);
        Some(Choice { backend: index, cost, run_ms })
    });
    (choices.collect(), decision.reason.clone())
}

/// What an attempt of that length costs: provider time by the second, other providers by what the catalog expects.
#[must_use]
pub fn price(
    setting: &Setting,
    backend: &Backend,
    service: &schemas::Service,
    run_ms: u64,
    at_ms: i64,
) -> MicroUsd {
    let timed = [Usage { unit: Unit::ExecutionMs, quantity: run_ms }];
    let is_timed = service.expected_usage.iter().any(|usage| usage.unit == Unit::ExecutionMs);
    let usage: &[Usage] = if is_timed { &timed[..] } else { &service.expected_usage };
    cost::price_of(usage, backend, &service.model, &setting.config.prices, at_ms).unwrap_or_default()
}

fn idle_fleet(fleet: &FleetSpec, setting: &Setting) -> Fleet {
    let mut idle = Fleet::default();
    for server in &fleet.servers {
        // Far in the future, so that it never grows old.
        idle.upsert_offer(offer(server, setting, START_MS), i64::MAX);
    }
    idle
}

/// What a server says of itself when it is idle and well.
#[must_use]
pub fn offer(server: &ServerSpec, setting: &Setting, now_ms: i64) -> Offer {
    let services = setting.config.catalog.services.iter().filter(|service| service.backend == server.backend);
    let made = |class: &schemas::Class| server.classes.as_ref().is_none_or(|classes| classes.contains(class));
    let classes = services.filter(|service| made(&service.class));
    let is_own = !setting.config.prices.prices.iter().any(|price| price.backend == server.backend);
    Offer {
        schema_version: SCHEMA_VERSION,
        worker: server.name.parse().unwrap_or_else(|_| unreachable!("checked with the fleet")),
        backend: server.backend.clone(),
        time_ms: now_ms,
        started_at_ms: START_MS,
        classes: classes
            .map(|service| schemas::ClassOffer { class: service.class.clone(), learned_ms: None })
            .collect(),
        slots: server.slots,
        free_slots: server.slots,
        health: Health::Healthy,
        health_reason: None,
        unavailable_until_ms: None,
        models: None,
        nodes: None,
        file_choices: None,
        capability: None,
        gpus: Vec::new(),
        simulated: true,
        paid: None,
        clock_skew_ms: None,
        // An outage is told by its health.
        breaker: is_own.then(ServerBreaker::default),
        running: Vec::new(),
    }
}
