//! One backend, weighed: its figures, everything that speaks against it, and its score.

use std::borrow::Cow;

use schemas::config::BackendConfig;
use schemas::{Candidate, FilterReason, Rejection, Service, Terms};

use super::consent::Consent;
use super::exhausted::{Verdict, verdict};
use super::queue::{self, Over};
use super::rejections::Rejections;
use super::score::Scale;
use super::{PlanInput, capability, money};
use crate::admit::Form;
use crate::fleet::BackendView;

/// Weighs one backend.
pub(super) fn weigh(
    input: &PlanInput<'_>,
    scale: &Scale,
    config: &BackendConfig,
    consent: Consent,
) -> Candidate {
    let backend = &config.backend;
    let view = input.fleet.view(backend);
    let service = input.catalog.service(backend, &input.admitted.class);

    let mut rejections = Rejections::default();
    unsupported(input, service, &mut rejections);
    not_allowed(input, config, &mut rejections);
    let quote = money::quote(input, config, service, view, consent, &mut rejections);
    let capacity = capability::capacity(input, view, service, &mut rejections);
    let queue = queue::queue(input, config, service, view, &capacity);
    let model = service.map(|service| service.model.as_str());
    if let Some(view) = view {
        out_of_order(input, view, model, &mut rejections);
    }
    match verdict(input, backend) {
        Verdict::Open => {}
        Verdict::Away { words, .. } => rejections.add(FilterReason::BreakerOpen, words),
        Verdict::Exhausted { words } => rejections.add(FilterReason::Exhausted, words),
    }
    if let Some(Over { jobs, room }) = queue.over.filter(|_| input.choice.bounds_queues()) {
        rejections.add(FilterReason::BacklogFull, format!("{jobs} jobs wait there, {room} may"));
    }
    // A schedule sees the queues by itself.
    let queued_ms = if input.choice.bounds_queues() { 0 } else { queue.wait_ms };
    let takes_ms = queue.completion_ms - queued_ms;
    if let Some(left_ms) = input.time_left_ms().filter(|left_ms| takes_ms > *left_ms) {
        let words = format!("it takes {takes_ms} ms and {left_ms} ms are left");
        rejections.add(FilterReason::DeadlineUnreachable, words);
    }

    let mut candidate = Candidate {
        backend: backend.clone(),
        rejections: rejections.into_list(),
        terms: Terms::default(),
        score: 0.0,
        expected_micro_usd: quote.expected,
        reserve_micro_usd: quote.reserve,
        wait_ms: queue.wait_ms,
        completion_ms: queue.completion_ms,
        backlog: queue.backlog,
        slots: capacity.slots,
        simulated: capacity.simulated,
    };
    candidate.terms = scale.terms(config, &candidate);
    candidate.score = scale.score(&candidate.terms);
    candidate
}

/// A breaker keeps the backend out, or the model that the job needs there.
fn out_of_order(input: &PlanInput<'_>, view: &BackendView, model: Option<&str>, rejections: &mut Rejections) {
    if let Some(breaker) = view.breakers.open(model, input.now_ms) {
        let reason = breaker.reason.clone().map_or("it failed too often".into(), Cow::Owned);
        return rejections.add(FilterReason::BreakerOpen, reason);
    }
    let is_tried = || view.backlog_of(&input.admitted.class) > 0;
    if model.is_some_and(|model| view.breakers.is_half_open(model, input.now_ms)) && is_tried() {
        rejections.add(FilterReason::BreakerOpen, "it failed, and another job tries whether it works again");
    }
}

/// Lets a job return to a backend that was out of order when nothing else will have it: a moment's
/// outage must not end a job that may run nowhere else.
pub(super) fn readmit(input: &PlanInput<'_>, candidates: &mut [Candidate]) {
    if candidates.iter().any(Candidate::is_eligible) {
        return;
    }
    for candidate in candidates {
        if let [only] = &candidate.rejections[..]
            && only.reason == FilterReason::BreakerOpen
            && is_back_again(input, candidate)
        {
            candidate.rejections.clear();
        }
    }
}

/// The job found it out of order; that time is over.
fn is_back_again(input: &PlanInput<'_>, candidate: &Candidate) -> bool {
    matches!(verdict(input, &candidate.backend), Verdict::Away { until_ms, .. } if until_ms <= input.now_ms)
}

/// What speaks against a backend for good; waiting would not help.
pub(super) fn lasting<'a>(
    input: &PlanInput<'_>,
    candidate: &'a Candidate,
) -> impl Iterator<Item = &'a Rejection> + use<'a> {
    // Late for its queue only: without one it would be done before the deadline.
    let alone_ms = candidate.completion_ms - candidate.wait_ms;
    let late_by_queue = input.time_left_ms().is_some_and(|left_ms| alone_ms <= left_ms);
    candidate.rejections.iter().filter(move |rejection| {
        let waits = rejection.reason == FilterReason::DeadlineUnreachable && late_by_queue;
        !rejection.reason.is_passing() && !waits
    })
}

fn unsupported(input: &PlanInput<'_>, service: Option<&Service>, rejections: &mut Rejections) {
    let class = &input.admitted.class;
    let words: Cow<'static, str> = match service {
        None => format!("it does not make class {class}").into(),
        Some(service) => {
            let (form, form_taken) = match input.admitted.form {
                Form::Prompt => ("prompts", service.prompts),
                Form::Workflow => ("workflows", service.workflows),
            };
            if !form_taken {
                format!("it takes no {form} for class {class}").into()
            } else if !input.job.body.inputs.is_empty() && !service.inputs {
                format!("it takes no input files for class {class}").into()
            } else if service.retires_at_ms.is_some_and(|retires_at_ms| retires_at_ms <= input.now_ms) {
                format!("its model {} is retired", service.model).into()
            } else if input.admitted.form == Form::Prompt
                && service.workflows
                && input.admitted.requirements.nodes.is_empty()
            {
                "the job's model has no workflow template, which it would need".into()
            } else {
                return;
            }
        }
    };
    rejections.add(FilterReason::Unsupported, words);
}

fn not_allowed(input: &PlanInput<'_>, config: &BackendConfig, rejections: &mut Rejections) {
    let (backend, constraints) = (&config.backend, &input.job.constraints);
    if constraints.exclude_backends.contains(backend) {
        rejections.add(FilterReason::NotAllowedByJob, "constraints.exclude_backends names it");
    } else if constraints.backends.as_ref().is_some_and(|only| !only.contains(backend)) {
        rejections.add(FilterReason::NotAllowedByJob, "constraints.backends does not name it");
    }
    if input.tenant.config.backends.as_ref().is_some_and(|only| !only.contains(backend)) {
        let words = format!("tenant {} may not use it", input.job.tenant);
        rejections.add(FilterReason::NotAllowedByTenant, words);
    }
}
