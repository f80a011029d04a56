//! An attempt as the body of `/run`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use schemas::workflow::files::{Files, server_inputs, upload_name, use_by_table};
use schemas::{Assignment, Catalog, Failure, FailureCode, PriceList, Service, Unit, workflow};
use serde_json::{Value, json};
use worker_host::funds;
use worker_host::inputs::InputLimit;

/// The largest body that `/run` takes, bytes. An attempt holds one such body and the files in it, which are
/// smaller: so a worker's memory for requests is bounded by its slots times twice this.
pub const BODY_MAX_BYTES: usize = 10_000_000;
/// What of the body the inputs may take, as base64.
pub const INPUT_LIMIT: InputLimit =
    InputLimit { max_bytes: BODY_MAX_BYTES as u64, is_base64: true, of: "RunPod's request" };
/// The smallest execution time that can be asked for, milliseconds.
const EXECUTION_MIN_MS: u64 = funds::SHORTEST_LIMIT.quantity;
/// The smallest time to live that can be asked for, milliseconds.
const TTL_MIN_MS: u64 = 10_000;
/// The largest of either, milliseconds: seven days.
const LIMIT_MAX_MS: u64 = 7 * 24 * 3_600_000;

/// The limits that the provider itself keeps, so that even work we lost sight of ends, and costs no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the moment a worker takes it, milliseconds.
    pub execution_ms: u64,
    /// From submission, queue included, milliseconds.
    pub ttl_ms: u64,
}

/// Execution: what the service may use at most, what the attempt may take at most, and what the reserved money buys
/// at the dearest price until the attempt has ended, whichever is least. Time to live: a queue as long as the whole
/// attempt, then the execution.
#[must_use]
pub fn limits(assignment: &Assignment, service: &Service, prices: &PriceList, now_ms: i64) -> Limits {
    let timeout_ms = assignment.timeout_ms.max(EXECUTION_MIN_MS);
    let mut maximum = service.maximum_usage.iter().filter(|usage| usage.unit == Unit::ExecutionMs);
    let most_ms = maximum.next().map_or(timeout_ms, |usage| usage.quantity.min(timeout_ms));
    let bought_ms = funds::bought(Unit::ExecutionMs, assignment, service, prices, now_ms);
    let execution_ms = most_ms.clamp(EXECUTION_MIN_MS, LIMIT_MAX_MS).min(bought_ms);
    let ttl_ms = timeout_ms.saturating_add(execution_ms).clamp(TTL_MIN_MS, LIMIT_MAX_MS);
    Limits { execution_ms, ttl_ms }
}

/// Refuses limits that the endpoint does not take: a shorter one than its shortest would be lengthened, past what is
/// reserved.
///
/// # Errors
/// The attempt is to be handed back unstarted: another plan may reserve more, or another backend do it.
pub fn check_limits(assignment: &Assignment, limits: Limits) -> Result<(), Failure> {
    if limits.execution_ms >= EXECUTION_MIN_MS {
        return Ok(());
    }
    let words = format!(
        "the reserved {} buys {} ms of execution at the prices until it ends, and RunPod's shortest limit is \
         {EXECUTION_MIN_MS} ms",
        assignment.reserved_micro_usd, limits.execution_ms
    );
    Err(funds::handed_back(assignment, &words))
}

/// The graph to run: the job's own, or the catalog's template with the prompt in it. Saved files carry the
/// attempt's id, so that a repeat is never answered from a cache.
///
/// # Errors
/// The job names a model that the catalog does not have.
pub fn graph(assignment: &Assignment, catalog: &Catalog) -> Result<Value, Failure> {
    let body = &assignment.job.body;
    let prefix = format!("argosy/{}", assignment.id());
    if let Some(own) = &body.workflow {
        let mut graph = own.clone();
        workflow::set_prefix(&mut graph, &prefix);
        return Ok(graph);
    }
    let name = body.model.as_ref().or_else(|| catalog.default_models.get(&body.kind));
    let Some(model) = name.and_then(|name| catalog.model(name)) else {
        let name = name.cloned().unwrap_or_else(|| format!("a default for {}", body.kind.as_str()));
        let message = format!("the catalog has no model `{name}`: name one of the catalog's in body.model");
        return Err(Failure::new(FailureCode::CapabilityMissing, message).with_missing(vec![name]));
    };
    Ok(model.render(body, assignment.job.id, &prefix))
}

/// The name that each of the attempt's files has at the endpoint, in the order of the job's inputs. A container keeps
/// what earlier jobs sent to it, so no two attempts may share a name.
#[must_use]
pub fn input_names(assignment: &Assignment) -> Vec<String> {
    let names = assignment.job.body.inputs.iter().enumerate();
    // No folder: the handler's upload cannot make one.
    names
        .map(|(index, input)| format!("argosy-{}-{}", assignment.id(), upload_name(index, &input.name)))
        .collect()
}

/// Puts these names in the place of the job's own, in every form that ComfyUI reads.
///
/// # Errors
/// The workflow names a file that the job did not bring: nothing is sent, and nothing is paid.
pub fn place_inputs(graph: &mut Value, assignment: &Assignment, catalog: &Catalog) -> Result<(), Failure> {
    let body = &assignment.job.body;
    let server = server_inputs(body, catalog);
    let is_servers = |name: &str| server.contains(name);
    let own = body.inputs.iter().map(|input| input.name.as_str()).zip(input_names(assignment)).collect();
    let files = Files { own, server: &is_servers, uses: &use_by_table, uploads: None };
    files.rewrite(graph).map_err(|error| error.failure())
}

/// The body of `/run`. The webhook gets the job when it ended.
///
/// # Errors
/// Larger than the provider takes: `invalid_job` that names the inputs.
pub fn body(
    graph: &Value,
    inputs: &[(&str, Bytes)],
    limits: Limits,
    webhook: Option<&str>,
) -> Result<Vec<u8>, Failure> {
    // Written straight into the body: files are neither copied nor encoded twice.
    let graph = graph.to_string();
    let files: usize = inputs.iter().map(|(name, bytes)| name.len() + 64 + bytes.len().div_ceil(3) * 4).sum();
    let mut body = String::with_capacity(graph.len() + files + 1_024);
    body.push_str(r#"{"input":{"workflow":"#);
    body.push_str(&graph);
    for (index, (name, bytes)) in inputs.iter().enumerate() {
        body.push_str(if index == 0 { r#","images":[{"name":"# } else { r#",{"name":"# });
        body.push_str(&Value::from(*name).to_string());
        body.push_str(r#","image":""#);
        STANDARD.encode_string(bytes, &mut body);
        body.push_str(r#""}"#);
    }
    body.push_str(if inputs.is_empty() { "}" } else { "]}" });
    let policy = json!({"executionTimeout": limits.execution_ms, "ttl": limits.ttl_ms});
    body.push_str(&format!(r#","policy":{policy}"#));
    if let Some(webhook) = webhook {
        body.push_str(&format!(r#","webhook":{}"#, Value::from(webhook)));
    }
    body.push('}');
    let body = body.into_bytes();
    if body.len() > BODY_MAX_BYTES {
        let message = format!(
            "workflow and inputs make a request of {} bytes and the endpoint takes {BODY_MAX_BYTES}: \
             use smaller input files",
            body.len()
        );
        return Err(Failure::invalid("body.inputs", message));
    }
    Ok(body)
}
