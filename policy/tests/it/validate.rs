//! Configuration that would decide badly is refused with its field.

use policy::{defaults, validate};
use schemas::*;
use serde_json::{Value, json};

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
fn budgets_below_nothing_are_refused() {
    let refuse = |change: fn(&mut TenantsConfig)| {
        let mut tenants = defaults::tenants();
        change(&mut tenants);
        validate::tenants(&tenants).expect_err("refused").to_string()
    };
    let cure = "is below 0: write 0 to spend nothing, or leave it out";
    assert_eq!(
        refuse(|tenants| tenants.fleet_monthly_micro_usd = Some(MicroUsd(-1))),
        format!("fleet_monthly_micro_usd: -1 {cure}")
    );
    assert_eq!(
        refuse(|tenants| tenants.default.daily_micro_usd = Some(MicroUsd(-2))),
        format!("default.daily_micro_usd: -2 {cure}")
    );
    for weight in [0, 1_001] {
        let mut tenants = defaults::tenants();
        tenants.default.weight = Some(weight);
        let words = validate::tenants(&tenants).expect_err("refused").to_string();
        assert_eq!(words, "default.weight: must be 1 to 1000, or absent, which means 1");
    }
    let named = |tenants: &mut TenantsConfig| {
        let mut config = tenants.default.clone();
        config.monthly_micro_usd = Some(MicroUsd(i64::MIN));
        tenants.tenants.insert(name("studio-a"), config);
    };
    assert_eq!(refuse(named), format!("tenants.studio-a.monthly_micro_usd: {} {cure}", i64::MIN));
    let mut nothing = defaults::tenants();
    nothing.fleet_daily_micro_usd = Some(MicroUsd::ZERO);
    validate::tenants(&nothing).expect("0 is a budget");
}

/// A shipped document, changed as JSON.
fn changed(shipped: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut document: Value = serde_json::from_str(shipped).expect("JSON");
    change(&mut document);
    document.to_string()
}

#[test]
fn words_that_would_remove_a_guard_are_refused_when_set_and_not_believed_where_stored() {
    let service = |catalog: &Value, backend: &str| {
        let services = catalog["services"].as_array().expect("a list");
        services.iter().position(|service| service["backend"] == backend).expect("shipped")
    };
    let refused = |key: &str, text: &str, words: &str| {
        let error = validate::check(key, text.as_bytes()).expect_err(words).to_string();
        assert!(error.starts_with(&format!("document {key}: ")) && error.contains(words), "{words}: {error}");
        validate::check_stored(key, text.as_bytes()).expect("it is used without that word");
    };
    for at in [1, 2] {
        let text = changed(defaults::POLICY_JSON, |policy| policy["backends"][at]["paid"] = json!(false));
        refused("policy", &text, &format!("backends[{at}].paid"));
    }
    let of = |backend: &'static str, part: &'static str, value: Value| {
        changed(defaults::CATALOG_JSON, |catalog| {
            let at = service(catalog, backend);
            catalog["services"][at][part] = value;
        })
    };
    refused("catalog", &of("gemini", "stops_at_reservation", json!(true)), "stops_at_reservation");
    refused("catalog", &of("gemini", "maximum_usage", json!([])), "maximum_usage");
    refused(
        "catalog",
        &of("cloud", "maximum_usage", json!([{"unit": "execution_ms", "quantity": 0}])),
        "maximum_usage",
    );
    refused(
        "catalog",
        &of("cloud", "expected_usage", json!([{"unit": "execution_ms", "quantity": 120_001}])),
        "120001",
    );
    refused(
        "catalog",
        &of("cloud", "expected_usage", json!([{"unit": "text_token", "quantity": 1}])),
        "TextToken",
    );
    let short = changed(defaults::CATALOG_JSON, |catalog| {
        let at = service(catalog, "cloud");
        catalog["services"][at]["expected_usage"] = json!([]);
        catalog["services"][at]["maximum_usage"] = json!([{"unit": "execution_ms", "quantity": 4_999}]);
    });
    refused("catalog", &short, "5000");
    for (key, text) in [
        ("policy", defaults::POLICY_JSON),
        ("catalog", defaults::CATALOG_JSON),
        ("prices", defaults::PRICES_JSON),
        ("tenants", defaults::TENANTS_JSON),
    ] {
        validate::check(key, text.as_bytes()).expect("shipped");
    }
}

#[test]
fn what_cannot_be_used_is_refused_by_readers_too() {
    let cases = [
        (
            "policy",
            changed(defaults::POLICY_JSON, |policy| policy["max_attempts"] = json!(0)),
            "max_attempts",
        ),
        (
            "prices",
            changed(defaults::PRICES_JSON, |prices| prices["prices"][3]["micro_usd_per_million"] = json!(-1)),
            "prices[3]",
        ),
        (
            "tenants",
            changed(defaults::TENANTS_JSON, |tenants| tenants["fleet_daily_micro_usd"] = json!(-5)),
            "fleet_",
        ),
        (
            "catalog",
            changed(defaults::CATALOG_JSON, |catalog| catalog["services"][0]["timeout_ms"] = json!(0)),
            "timeout",
        ),
        ("prices", "{".to_owned(), "prices"),
    ];
    for (key, text, words) in cases {
        for error in [validate::check_stored(key, text.as_bytes()), validate::check(key, text.as_bytes())] {
            let error = error.expect_err(words).to_string();
            assert!(error.contains(words), "{words}: {error}");
        }
    }
    assert!(
        validate::check("weights", b"{}")
            .expect_err("no such")
            .to_string()
            .contains("policy, catalog, prices")
    );
}

#[test]
fn documents_that_do_not_fit_are_named() {
    let (policy, catalog, prices) = (defaults::policy(), defaults::catalog(), defaults::prices());
    let found = |policy: &PolicyConfig, catalog: &Catalog, prices: &PriceList| -> Vec<String> {
        let misfits = validate::across(policy, catalog, prices, samples::TIME_MS);
        misfits.iter().map(ToString::to_string).collect()
    };
    assert_eq!(found(&policy, &catalog, &prices), Vec::<String>::new(), "as shipped");
    let mut without = policy.clone();
    without.backends.retain(|config| config.backend.as_str() != "gemini");
    let misfits = found(&without, &catalog, &prices);
    assert!(misfits.len() == 4 && misfits[0].contains("gemini is not in document policy"), "{misfits:?}");
    let mut unpriced = prices.clone();
    unpriced.prices.retain(|price| price.unit != Unit::VideoToken);
    let misfits = found(&policy, &catalog, &unpriced);
    assert!(misfits.len() == 1 && misfits[0].contains("gemini/video is not used"), "{misfits:?}");
    let mut unbounded = prices.clone();
    let coming =
        unbounded.prices.iter().find(|price| price.unit == Unit::ImageToken).expect("shipped").clone();
    unbounded.prices.push(Price {
        unit: Unit::VideoToken,
        valid_from_ms: samples::TIME_MS + 1_000_000_000,
        micro_usd_per_million: MicroUsd(coming.micro_usd_per_million.0 + 1),
        ..coming
    });
    let misfits = found(&policy, &catalog, &unbounded);
    assert!(
        misfits.len() == 3
            && misfits.iter().all(|words| words.contains("VideoToken has a price and no bound")),
        "{misfits:?}"
    );
    let mut free = prices.clone();
    free.prices[1].micro_usd_per_million = MicroUsd::ZERO;
    let misfits = found(&policy, &catalog, &free);
    assert!(
        misfits.len() == 1 && misfits[0].starts_with("prices: prices[1].micro_usd_per_million"),
        "{misfits:?}"
    );
    // A provider under a name of the operator's own bills by its protocol.
    let (mut renamed, mut elsewhere) = (policy.clone(), catalog.clone());
    renamed.backends[1].backend = name("cloud-eu");
    renamed.backends[1].paid = false;
    elsewhere.services.iter_mut().filter(|service| service.backend.as_str() == "cloud").for_each(|service| {
        service.backend = name("cloud-eu");
    });
    let misfits = found(&renamed, &elsewhere, &prices);
    assert!(
        misfits.iter().any(|words| words.starts_with("policy: backends[1].paid: cloud-eu bills")),
        "{misfits:?}"
    );
}
