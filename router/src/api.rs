//! What any NATS client can ask: `status`, `explain`, `cancel`, `estimate`, `backends`, each for one tenant
//! (`argosy.api.<tenant>.status`) or for all (`argosy.api.status`), which is the operator's form.
//!
//! To a tenant a job of another is an unknown one, in the same words. `backends` names jobs of all, and is the operator's.
//!
//! Served through the NATS services framework, so that `nats micro` lists it; answers come in the
//! encoding of the question. All routers serve; the broker picks one.

use std::sync::PoisonError;
use std::time::Duration;

use async_nats::service::{Request, ServiceExt, endpoint::Endpoint, error::Error as ServiceError};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::select_all;
use policy::admit::{admit, admit_tenant, check_request, check_unknown};
use policy::plan::Plan;
use protocol::Ports as _;
use protocol::router::cancel::{Cancelled, may_be_on_its_way};
use protocol::router::history::History;
use protocol::router::{Placement, RouterPorts as _, history, place};
use runtime::clock;
use runtime::exit::{Exit, Fault};
use runtime::metrics;
use schemas::api::{
    ApiError, BackendsReply, CancelReply, EstimateReply, EstimateRequest, ExplainReply, JobRequest, JobWait,
    StatusReply,
};
use schemas::codec::CONTENT_TYPE;
use schemas::ids::IdError;
use schemas::topology::MESSAGE_MAX_BYTES;
use schemas::{Encoding, Fact, JobId, Tenant, subjects};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::shared::Router;
use crate::waiting::{self, Look};

/// Requests answered at once.
const AT_ONCE: usize = 32;

/// How long one answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The longest answer, with room for its headers.
const REPLY_MAX_BYTES: usize = MESSAGE_MAX_BYTES as usize - 4 * 1024;

/// The endpoints.
const ENDPOINTS: [&str; 5] = ["status", "explain", "cancel", "estimate", "backends"];

/// A request that was refused: code as in HTTP, what is wrong, and the field.
struct Refusal {
    code: usize,
    error: String,
    field: Option<String>,
}

impl Refusal {
    fn forbidden(field: Option<&str>, error: String) -> Self {
        Self { code: 403, error, field: field.map(str::to_owned) }
    }

    fn broker(error: impl std::fmt::Display) -> Self {
        Self { code: 503, error: format!("the broker did not answer: {error}"), field: None }
    }
}

/// Serves until stopped.
///
/// # Errors
/// The service cannot be registered.
pub async fn serve(router: Router) -> Result<(), Fault> {
    let fault = |error: async_nats::Error| Fault::new(Exit::Crashed, format!("serving requests: {error}"));
    let builder = router.broker.client.service_builder();
    let builder = builder.description("Argosy: status, explain, cancel, estimate, backends");
    let service = builder.start("argosy", env!("CARGO_PKG_VERSION")).await.map_err(fault)?;
    let group = service.group(subjects::API);
    let mut endpoints: Vec<(&'static str, Endpoint)> = Vec::new();
    for name in ENDPOINTS {
        endpoints.push((name, group.endpoint(name).await.map_err(fault)?));
        let of_tenants = group.endpoint_builder().name(format!("tenant-{name}"));
        let of_tenants = of_tenants.add(subjects::api_of_tenants(name)).await.map_err(fault)?;
        endpoints.push((name, of_tenants));
    }
    let named =
        endpoints.into_iter().map(|(name, endpoint)| endpoint.map(move |request| (name, request)).boxed());
    let answered =
        select_all(named).for_each_concurrent(AT_ONCE, |(name, request)| answer(&router, name, request));
    tokio::select! {
        () = answered => Err(Fault::new(Exit::Crashed, "the service ended")),
        () = router.soft.cancelled() => Ok(()),
    }
}

async fn answer(router: &Router, endpoint: &'static str, request: Request) {
    let message = &request.message;
    let header = message.headers.as_ref().and_then(|headers| headers.get(CONTENT_TYPE));
    let header = header.map(|value| value.as_str().to_owned());
    let encoding = Encoding::detect(header.as_deref(), &message.payload);
    let encoding = match encoding {
        // `backends` needs no body; people at a terminal get what they can read.
        Ok(_) if message.payload.is_empty() => Encoding::Json,
        Ok(encoding) => encoding,
        Err(_) => Encoding::Json,
    };
    let answering = async {
        let whose = tenant_of(&message.subject)?;
        let question = || question(encoding, &message.payload, whose.as_ref());
        match endpoint {
            "status" => status(router, question()?).await.map(|reply| write(encoding, &reply)),
            "explain" => explain(router, question()?).await.map(|reply| write(encoding, &reply)),
            "cancel" => cancel(router, question()?).await.map(|reply| write(encoding, &reply)),
            "estimate" => {
                let request: EstimateRequest = read(encoding, &message.payload)?;
                let size = message.payload.len();
                is_own(whose.as_ref(), "job.tenant", &request.job.tenant)?;
                Ok(write(encoding, &estimate(router, &request, size)))
            }
            _ if whose.is_some() => {
                let words = format!("backends is the operator's: ask {}", subjects::api(None, "backends"));
                Err(Refusal::forbidden(None, words))
            }
            _ => Ok(write(encoding, &backends(router))),
        }
    };
    let answered = tokio::time::timeout(ANSWER_LIMIT, answering).await.unwrap_or_else(|_| {
        Err(Refusal { code: 504, error: "the answer took too long; ask again".to_owned(), field: None })
    });
    // An answer that is too long is never sent, and the asker would wait for it in vain.
    let answered = answered.and_then(|bytes| match bytes.len() {
        length if length <= REPLY_MAX_BYTES => Ok(bytes),
        length => {
            let error = format!(
                "the answer has {length} bytes and a message at most {REPLY_MAX_BYTES}: read the job's events from the \
                 stream EVENTS, with `argosy watch`"
            );
            Err(Refusal { code: 413, error, field: None })
        }
    });
    metrics::ROUTER_REQUESTS.of([endpoint.into()]).increment(1);
    let mut headers = async_nats::HeaderMap::new();
    headers.insert(CONTENT_TYPE, encoding.content_type());
    let responded = match answered {
        Ok(bytes) => request.respond_with_headers(Ok(bytes), headers).await,
        Err(refusal) => {
            // The body of a service error is empty by protocol; its words go into the status header.
            let body = ApiError { error: refusal.error.clone(), field: refusal.field };
            let status = match &body.field {
                Some(field) => format!("{field}: {}", body.error),
                None => body.error,
            };
            request.respond(Err(ServiceError { status, code: refusal.code })).await
        }
    };
    if let Err(error) = responded {
        tracing::debug!(%error, endpoint, "answering");
    }
}

fn read<T: DeserializeOwned>(encoding: Encoding, payload: &[u8]) -> Result<T, Refusal> {
    encoding.decode(payload).map_err(|error| {
        let field = match &error {
            schemas::DecodeError::Malformed { field, .. } => Some(field.clone()),
            schemas::DecodeError::ContentType(_) => None,
        };
        Refusal { code: 400, error: error.to_string(), field }
    })
}

fn write<T: Serialize>(encoding: Encoding, reply: &T) -> Bytes {
    encoding.encode(reply).into()
}

/// The tenant that a subject names; none of the operator's form.
fn tenant_of(subject: &str) -> Result<Option<Tenant>, Refusal> {
    let token = subjects::api_tenant(subject);
    let parsed = token.map(|token| (token, token.parse::<Tenant>()));
    parsed.map(|(token, parsed)| parsed.map_err(|error| unreadable(token, &error))).transpose()
}

fn unreadable(token: &str, error: &IdError) -> Refusal {
    let error = format!("the subject names the tenant `{token}`: {error}");
    Refusal { code: 400, error, field: None }
}

/// A tenant's request is about that tenant, in its body too.
fn is_own(whose: Option<&Tenant>, field: &str, named: &Tenant) -> Result<(), Refusal> {
    match whose {
        Some(whose) if whose != named => {
            let cure = subjects::api(Some(named), "…");
            let words = format!("it is {named} and the subject names {whose}: ask {cure} with it");
            Err(Refusal::forbidden(Some(field), words))
        }
        _ => Ok(()),
    }
}

/// A question about one job, with the tenant to whom the answer is confined: the subject's, or in the operator's form the
/// one that the question names.
fn question(encoding: Encoding, payload: &[u8], whose: Option<&Tenant>) -> Result<JobRequest, Refusal> {
    let mut request: JobRequest = read(encoding, payload)?;
    match &request.tenant {
        Some(named) => is_own(whose, "tenant", named)?,
        None => request.tenant = whose.cloned(),
    }
    Ok(request)
}

/// What is known of a job.
struct FoundJob {
    job: JobId,
    history: History,
    waiting: Option<JobWait>,
    /// More lies in the lanes than was looked at, where this is false.
    is_all_looked_at: bool,
}

impl FoundJob {
    async fn of(router: &Router, request: &JobRequest) -> Result<Self, Refusal> {
        let found = Self::read(router, request).await?.with_wait(router, request).await?;
        if found.is_known() {
            return Ok(found);
        }
        // It may have left its lane while the lanes were looked at: what it became was stored before.
        let again = Self::read(router, request).await?;
        if again.is_known() { again.with_wait(router, request).await } else { Ok(again) }
    }

    async fn read(router: &Router, request: &JobRequest) -> Result<Self, Refusal> {
        let read = history::read_first(router, request.tenant.as_ref(), request.job).await;
        let (job, history) = read.map_err(Refusal::broker)?;
        Ok(Self { job, history, waiting: None, is_all_looked_at: true })
    }

    async fn with_wait(self, router: &Router, request: &JobRequest) -> Result<Self, Refusal> {
        let waiting = waiting::of(router, request.tenant.as_ref(), self.job, &self.history).await;
        let (waiting, is_all_looked_at) = match waiting.map_err(Refusal::broker)? {
            Look::Waits(wait) => (Some(wait), true),
            Look::WaitsNowhere => (None, true),
            Look::NotFound => (None, false),
        };
        Ok(Self { waiting, is_all_looked_at, ..self })
    }

    const fn is_known(&self) -> bool {
        self.waiting.is_some() || !self.history.events.is_empty()
    }
}

async fn status(router: &Router, request: JobRequest) -> Result<StatusReply, Refusal> {
    let known = FoundJob::of(router, &request).await?;
    let (state, is_known) = (known.history.state(), known.is_known());
    let FoundJob { job, history, waiting, .. } = known;
    Ok(StatusReply { job, state, known: is_known, events: history.events, waiting })
}

async fn explain(router: &Router, request: JobRequest) -> Result<ExplainReply, Refusal> {
    let found = FoundJob::of(router, &request).await?;
    let known = found.is_known();
    let FoundJob { job, history, waiting, .. } = found;
    // A job that was put aside and sent on its way again was refused once, and has its own end.
    let end = history.ended().and_then(|event| match &event.fact {
        Fact::Ended { failure, .. } => Some(failure.clone()),
        _ => None,
    });
    let refused = history.events.iter().rev().find_map(|event| match &event.fact {
        Fact::Refused { failure } => Some(failure.clone()),
        _ => None,
    });
    let failure = end.unwrap_or(refused);
    let (state, decisions, warnings) = (history.state(), history.decisions(), history.warnings());
    Ok(ExplainReply { job, state, known, decisions, failure, warnings, waiting })
}

fn estimate(router: &Router, request: &EstimateRequest, payload_bytes: usize) -> EstimateReply {
    let (job, config) = (&request.job, router.config());
    let now_ms = clock::now_ms();
    let reply =
        |decision, failure| EstimateReply { decision, failure, warnings: policy::admit::warnings(job) };
    let checked = match router.schemas.check(job.schema_version.into()) {
        Some(failure) => Err(failure),
        None => check_request(&request.unknown).and_then(|()| check_unknown(job)),
    };
    let admitted = checked
        .and_then(|()| admit_tenant(&job.tenant, &config.tenants))
        .and_then(|()| admit(job, &config.catalog, &config.policy, payload_bytes, now_ms));
    let admitted = match admitted {
        Ok(admitted) => admitted,
        Err(failure) => return reply(None, Some(failure)),
    };
    let placement = Placement {
        job,
        admitted: &admitted,
        submitted_at_ms: now_ms,
        attempt: 1,
        counted_attempts: 0,
        history: &[],
    };
    match place::weigh(router, &placement, &[]) {
        Plan::Assign(assign) => reply(Some(assign.decision), None),
        Plan::Defer { decision, .. } => reply(Some(*decision), None),
        Plan::Refuse { decision, failure } => reply(Some(*decision), Some(failure)),
    }
}

fn backends(router: &Router) -> BackendsReply {
    let (config, now_ms) = (router.config(), clock::now_ms());
    let (policy, catalog) = (&config.policy, &config.catalog);
    BackendsReply {
        time_ms: now_ms,
        backends: router.with_fleet(|fleet| policy::status::backends(fleet, policy, catalog, now_ms)),
        ledger_available: router.reserver.is_available(),
        lanes: router.lanes.read().unwrap_or_else(PoisonError::into_inner).clone(),
        stalled: router.stalled.read().unwrap_or_else(PoisonError::into_inner).clone(),
        clock_skew_ms: clock::skew_ms(),
    }
}

fn too_many_cancels(tenant: Option<&Tenant>, limit: u64) -> Refusal {
    let whose = match tenant {
        Some(tenant) => {
            format!("tenant {tenant} has {limit} requests to cancel, as many as a tenant may have at a time")
        }
        None => {
            format!("nothing is known of it, and {limit} requests name no tenant, as many as may at a time")
        }
    };
    let error = format!(
        "{whose}: wait until old ones are removed (router.cancels_kept_ms), or raise router.cancels_per_tenant"
    );
    Refusal { code: 429, error, field: Some("tenant".to_owned()) }
}

async fn cancel(router: &Router, request: JobRequest) -> Result<CancelReply, Refusal> {
    // Before the request ends what waits.
    let found = FoundJob::of(router, &request).await?;
    let (job, known) = (found.job, found.is_known());
    // Behind more than was looked at it may lie in its lane.
    let may_come = may_be_on_its_way(job, clock::now_ms()) || !found.is_all_looked_at;
    if !known && !may_come {
        let effect = "nothing is known of it: nothing was done".to_owned();
        return Ok(CancelReply { job, state: found.history.state(), effect, known });
    }
    let whose = request.tenant.as_ref();
    // The operator's requests about jobs that are known are bounded by these jobs.
    if whose.is_some() || !known {
        let taken = router.quotas.take_cancel(&router.broker.jetstream, whose).await;
        taken.map_err(|limit| too_many_cancels(whose, limit))?;
    }
    let cancelled = protocol::router::cancel::cancel(router, whose, request.job).await;
    let Cancelled { job, state, effect } = cancelled.map_err(Refusal::broker)?;
    let effect =
        if known { effect.to_owned() } else { format!("nothing is known of it; should it come, {effect}") };
    Ok(CancelReply { job, state, effect, known })
}
