//! The shipped configuration is valid, complete and sensible.

use policy::{admit, baseline, cost, defaults, validate};
use schemas::{Job, Kind, MicroUsd, PaidConsent, samples};

#[test]
fn they_are_valid() {
    validate::policy(&defaults::policy()).expect("policy.json");
    validate::catalog(&defaults::catalog()).expect("catalog.json");
    cost::validate(&defaults::prices()).expect("prices.json");
    let tenants = defaults::tenants();
    validate::tenants(&tenants).expect("tenants.json");
    assert_eq!(
        tenants.default.allow_paid,
        PaidConsent::Never,
        "money is spent only after an operator's word"
    );
    assert!(tenants.tenants.is_empty());
}

#[test]
fn every_service_belongs_to_a_backend_and_has_a_price() {
    let (policy, catalog, prices) = (defaults::policy(), defaults::catalog(), defaults::prices());
    for service in &catalog.services {
        let config = policy.backends.iter().find(|config| config.backend == service.backend);
        let config = config.unwrap_or_else(|| panic!("{} is not in policy.json", service.backend));
        let price =
            |usage| cost::price_of(usage, &service.backend, &service.model, &prices, samples::TIME_MS);
        let expected = price(&service.expected_usage).expect("a price");
        let most = price(&service.maximum_usage).expect("a price");
        assert!(expected <= most, "{} {}", service.backend, service.class);
        assert_eq!(most > MicroUsd::ZERO, config.paid, "{} {}", service.backend, service.class);
    }
}

#[test]
fn an_image_costs_what_providers_list() {
    let (catalog, prices) = (defaults::catalog(), defaults::prices());
    let cost = |class: &str, backend: &str| {
        let (class, backend) = (class.parse().expect("a name"), backend.parse().expect("a name"));
        baseline::baseline(&class, &backend, &catalog, &prices, samples::TIME_MS)
    };
    assert_eq!(cost("image-large", "local"), Some(MicroUsd::ZERO));
    assert_eq!(cost("image-large", "cloud"), Some(MicroUsd(6_840)));
    assert_eq!(cost("image-large", "gemini"), Some(MicroUsd(68_150)));
    assert_eq!(cost("image-large", "elsewhere"), None, "not free, but unknown");
}

#[test]
fn every_model_makes_a_workflow_of_a_prompt_that_uses_its_own_files() {
    let (policy, catalog) = (defaults::policy(), defaults::catalog());
    for model in &catalog.models {
        let kind = catalog.class(&model.class).expect("a class").kind;
        let mut job: Job = samples::job();
        job.constraints.deadline_ms = None;
        job.body = schemas::Body {
            kind,
            prompt: Some("a lighthouse".to_owned()),
            model: Some(model.model.clone()),
            ..schemas::Body::default()
        };
        let admitted = admit::admit(&job, &catalog, &policy, 0, samples::TIME_MS).expect("admitted");
        assert_eq!(admitted.class, model.class);
        assert!(!admitted.requirements.models.is_empty(), "{} names no file", model.model);
        for file in &admitted.requirements.models {
            assert!(model.files.contains(file), "{} uses {file}", model.model);
        }
        let graph = model.render(&job.body, job.id, "test/0");
        assert!(!graph.to_string().contains("{{"), "{}: a placeholder is left in {graph}", model.model);
        let as_workflow =
            Job { body: schemas::Body { workflow: Some(graph), model: None, ..job.body.clone() }, ..job };
        let again = admit::admit(&as_workflow, &catalog, &policy, 0, samples::TIME_MS).expect("admitted");
        assert_eq!(again.class, admitted.class, "the rendered workflow is of the same class");
        assert_eq!(again.requirements, admitted.requirements);
    }
    for kind in [Kind::Image, Kind::Video] {
        assert!(catalog.default_models.contains_key(&kind) && catalog.default_classes.contains_key(&kind));
    }
}
