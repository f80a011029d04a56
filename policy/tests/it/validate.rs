//! Configuration that would decide badly is refused with its field.

use policy::{defaults, validate};
use schemas::{Catalog, PolicyConfig, Profile};

use crate::world::name;

#[test]
fn a_policy_that_would_decide_badly_is_refused() {
    let refuse = |change: fn(&mut PolicyConfig)| {
        let mut policy = defaults::policy();
        change(&mut policy);
        validate::policy(&policy).expect_err("refused").to_string()
    };
    let balanced = |policy: &mut PolicyConfig, weight| {
        policy.profiles.get_mut(&Profile::Balanced).expect("shipped").cost = weight;
    };
    assert_eq!(refuse(|policy| policy.backends.clear()), "backends: name at least one backend");
    assert_eq!(refuse(|policy| policy.backends[0].rank = 0), "backends[0].rank: ranks count from 1");
    assert_eq!(
        refuse(|policy| policy.backends[1] = policy.backends[0].clone()),
        "backends[1].backend: local is there twice"
    );
    assert_eq!(
        refuse(|policy| policy.backends[2].backlog_per_slot = 0),
        "backends[2].backlog_per_slot: 0 would let nothing through: use 1 or more"
    );
    assert_eq!(refuse(|policy| policy.max_attempts = 0), "max_attempts: must be 1 or more");
    assert_eq!(
        refuse(|policy| policy.backoff_max_ms = 10),
        "backoff_min_ms: backoff_max_ms is 10: it must be backoff_min_ms (1000) or more"
    );
    for weight in [f64::NAN, f64::INFINITY, -0.1] {
        let mut policy = defaults::policy();
        balanced(&mut policy, weight);
        let error = validate::policy(&policy).expect_err("refused").to_string();
        assert_eq!(error, "profiles.balanced: weights must be numbers of 0 or more");
    }
}

#[test]
fn a_catalog_with_loose_ends_is_refused() {
    let refuse = |change: fn(&mut Catalog)| {
        let mut catalog = defaults::catalog();
        change(&mut catalog);
        validate::catalog(&catalog).expect_err("refused").to_string()
    };
    assert_eq!(
        refuse(|catalog| catalog.models[0].class = name("huge")),
        "models[0].class: huge is not in classes"
    );
    assert_eq!(
        refuse(|catalog| catalog.services[3].class = name("huge")),
        "services[3].class: huge is not in classes"
    );
    assert_eq!(
        refuse(|catalog| catalog.services[1] = catalog.services[0].clone()),
        "services[1].class: local makes image-small twice"
    );
    assert_eq!(
        refuse(|catalog| catalog.models[1].template = serde_json::json!({"nodes": []})),
        "models[1].template: the workflow is in ComfyUI's editor format: export it with Workflow > Export (API) and \
         send that file"
    );
    assert_eq!(
        refuse(|catalog| catalog.models.retain(|model| model.model != "wan")),
        "default_models.video: wan is not in models"
    );
}

#[test]
fn a_budget_below_nothing_is_refused_wherever_it_is() {
    let refuse = |document: &str| {
        let tenants = serde_json::from_str(document).expect("it can be read");
        validate::tenants(&tenants).expect_err("refused").to_string()
    };
    assert_eq!(
        refuse(r#"{"default": {"allow_paid": "never", "daily_micro_usd": -1}}"#),
        "default.daily_micro_usd: -1 is negative: use 0 for no money, or leave it out for no limit"
    );
    let own = r#"{"default": {"allow_paid": "never"}, "tenants": {"x": {"allow_paid": "always", "monthly_micro_usd": -5}}}"#;
    assert!(refuse(own).starts_with("tenants.x.monthly_micro_usd: -5 is negative"));
    let fleet = r#"{"default": {"allow_paid": false}, "fleet_monthly_micro_usd": -5}"#;
    assert!(refuse(fleet).starts_with("fleet_monthly_micro_usd: -5 is negative"));
}
