//! One backend, weighed: its figures, everything that speaks against it, and its score.

use std::borrow::Cow;

use schemas::config::BackendConfig;
use schemas::{Candidate, FilterReason, Rejection, Service, Terms};

use super::exhausted::{Verdict, verdict};
use super::queue::{self, Over};
use super::{PlanInput, capability, money, score};
use crate::admit::Form;

/// A candidate, with what its message form does not tell.
pub(super) struct Weighed {
    pub(super) candidate: Candidate,
    /// Models and nodes that its closest worker lacks.
    pub(super) missing: Vec<String>,
    /// Without a queue it would be done before the deadline.
    deadline_passing: bool,
    /// The job found it out of order; that time is over.
    back_again: bool,
}

impl Weighed {
    /// What speaks against it for good; waiting would not help.
    pub(super) fn lasting(&self) -> impl Iterator<Item = &Rejection> {
        self.candidate.rejections.iter().filter(|rejection| {
            let waits = rejection.reason == FilterReason::DeadlineUnreachable && self.deadline_passing;
            !rejection.reason.is_passing() && !waits
        })
    }
}

/// Weighs one backend.
pub(super) fn weigh(input: &PlanInput<'_>, config: &BackendConfig, consent: bool) -> Weighed {
    let backend = &config.backend;
    let view = input.fleet.view(backend);
    let service = input.catalog.service(backend, &input.admitted.class);
    let capacity = capability::capacity(input, view, service);
    let quote = money::quote(input, config, service, consent);
    let queue = queue::queue(input, config, service, view, &capacity);

    let mut rejections = Vec::new();
    rejections.extend(unsupported(input, service));
    rejections.extend(not_allowed(input, config));
    rejections.extend(quote.rejections);
    rejections.extend(capacity.rejections);
    if let Some(view) = view.filter(|view| view.breaker.is_open(input.now_ms)) {
        let reason = view.breaker.reason.clone().unwrap_or_else(|| "it failed too often".to_owned());
        rejections.push(rejected(FilterReason::BreakerOpen, reason));
    }
    let verdict = verdict(input, backend);
    let back_again = matches!(verdict, Verdict::Away { until_ms, .. } if until_ms <= input.now_ms);
    match verdict {
        Verdict::Open => {}
        Verdict::Away { words, .. } => rejections.push(rejected(FilterReason::BreakerOpen, words)),
        Verdict::Exhausted { words } => rejections.push(rejected(FilterReason::Exhausted, words)),
    }
    if let Some(Over { jobs, room }) = queue.over {
        rejections.push(rejected(FilterReason::BacklogFull, format!("{jobs} jobs wait there, {room} may")));
    }
    let late = input.time_left_ms().filter(|left_ms| queue.completion_ms > *left_ms);
    if let Some(left_ms) = late {
        let words = format!("it takes {} ms and {left_ms} ms are left", queue.completion_ms);
        rejections.push(rejected(FilterReason::DeadlineUnreachable, words));
    }

    let mut candidate = Candidate {
        backend: backend.clone(),
        rejections,
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
    candidate.terms = score::terms(input, config, &candidate);
    candidate.score = score::score(&candidate.terms, &score::weights(input));
    Weighed {
        candidate,
        missing: capacity.missing,
        deadline_passing: late.is_some_and(|left_ms| queue.completion_ms - queue.wait_ms <= left_ms),
        back_again,
    }
}

/// Lets a job return to a backend that was out of order when nothing else will have it: a moment's
/// outage must not end a job that may run nowhere else.
pub(super) fn readmit(weighed: &mut [Weighed]) {
    if weighed.iter().any(|weighed| weighed.candidate.is_eligible()) {
        return;
    }
    for weighed in weighed.iter_mut().filter(|weighed| weighed.back_again) {
        if let [only] = &weighed.candidate.rejections[..]
            && only.reason == FilterReason::BreakerOpen
        {
            weighed.candidate.rejections.clear();
        }
    }
}

pub(super) fn rejected(reason: FilterReason, detail: impl Into<Cow<'static, str>>) -> Rejection {
    Rejection { reason, detail: detail.into() }
}

fn unsupported(input: &PlanInput<'_>, service: Option<&Service>) -> Option<Rejection> {
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
                return None;
            }
        }
    };
    Some(rejected(FilterReason::Unsupported, words))
}

fn not_allowed(input: &PlanInput<'_>, config: &BackendConfig) -> Vec<Rejection> {
    let (backend, constraints) = (&config.backend, &input.job.constraints);
    let mut rejections = Vec::new();
    if constraints.exclude_backends.contains(backend) {
        rejections.push(rejected(FilterReason::NotAllowedByJob, "constraints.exclude_backends names it"));
    } else if constraints.backends.as_ref().is_some_and(|only| !only.contains(backend)) {
        rejections.push(rejected(FilterReason::NotAllowedByJob, "constraints.backends does not name it"));
    }
    if input.tenant.backends.as_ref().is_some_and(|only| !only.contains(backend)) {
        let words = format!("tenant {} may not use it", input.job.tenant);
        rejections.push(rejected(FilterReason::NotAllowedByTenant, words));
    }
    rejections
}
