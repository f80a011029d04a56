//! `tests/tables/admit.txt`: what is refused, with which words.

use policy::admit::{admit, admit_tenant};
use policy::defaults;
use schemas::{FailureCode, Job, Kind, TenantsConfig, Unlisted};
use serde_json::Value;

use crate::table::{cases, patch};
use crate::world::{NOW_MS, name, plain_job};

#[test]
fn bad_input_is_refused_with_field_limit_and_cure() {
    let (policy, mut catalog) = (defaults::policy(), defaults::catalog());
    // Known to the catalog, and made by nobody.
    catalog.models.push(schemas::catalog::Model {
        needs: schemas::catalog::Needs::default(),
        model: "orphan".to_owned(),
        class: "image-orphan".parse().expect("a name"),
        ..catalog.models[0].clone()
    });
    catalog.classes.push(schemas::catalog::ClassSpec {
        class: "image-orphan".parse().expect("a name"),
        kind: Kind::Image,
        vram_bytes: 0,
    });
    let mut wrong = Vec::new();
    for case in cases(include_str!("../tables/admit.txt")) {
        let (mut job, mut bytes, mut wanted) = (plain_job(), 500, String::new());
        for line in &case.lines {
            match line.split_once(' ').expect("key and rest") {
                ("job", change) => patch(&mut job, &serde_json::from_str::<Value>(change).expect(change)),
                ("bytes", count) => bytes = count.parse().expect("a size"),
                ("=>", text) => text.clone_into(&mut wanted),
                _ => panic!("{}: {line}", case.title),
            }
        }
        let job: Job = serde_json::from_value(job).unwrap_or_else(|error| panic!("{}: {error}", case.title));
        let found = match admit(&job, &catalog, &policy, bytes, NOW_MS) {
            Ok(admitted) => format!("ok {} {}", admitted.class, admitted.form.as_str()),
            Err(failure) => {
                format!(
                    "{} [{}] {}",
                    failure.code.as_str(),
                    failure.field.unwrap_or_default(),
                    failure.message
                )
            }
        };
        if found != wanted {
            wrong.push(format!("{}\n  wanted {wanted}\n  found  {found}", case.title));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unlisted_tenants_are_taken_in_or_refused_with_the_cure() {
    let shared = r#"{"default": {"allow_paid": "never"}, "tenants": {"studio-a": {"allow_paid": "always"}}}"#;
    let mut tenants: TenantsConfig = serde_json::from_str(shared).expect("a document");
    let (listed, invented) = (name("studio-a"), name("studio-a2"));
    assert_eq!(admit_tenant(&listed, &tenants).and(admit_tenant(&invented, &tenants)), Ok(()));
    tenants.unlisted = Unlisted::Refuse;
    assert_eq!(admit_tenant(&listed, &tenants), Ok(()));
    let failure = admit_tenant(&invented, &tenants).expect_err("refused");
    assert_eq!((failure.code, failure.field.as_deref()), (FailureCode::InvalidJob, Some("tenant")));
    assert!(
        failure.message.ends_with("or list it: argosy tenants set studio-a2 --paid never"),
        "{}",
        failure.message
    );
}

#[test]
fn a_publish_is_refused_that_is_older_than_the_memory_of_what_has_ended() {
    use policy::admit::{ID_BEHIND_MAX_MS, check_age};
    let made_ms = schemas::samples::TIME_MS;
    let job = |id, time_ms| schemas::Job { id, time_ms, ..schemas::samples::job() };
    let dated = job(schemas::JobId::from_parts(made_ms, [7; 10]), 5);
    assert_eq!(check_age(&dated, made_ms + ID_BEHIND_MAX_MS), Ok(()));
    let refused = check_age(&dated, made_ms + ID_BEHIND_MAX_MS + 1).expect_err("too old");
    assert_eq!(refused.field.as_deref(), Some("id"));
    assert!(refused.message.contains("at most 7") && refused.message.contains("new UUIDv7"), "{refused:?}");
    // An id without a time: a repeat says the same time as the first publish did.
    let undated =
        job(schemas::JobId("67e55044-10b1-426f-9247-bb680e5fe0c8".parse().expect("a UUID")), made_ms);
    assert_eq!(check_age(&undated, made_ms + 1), Ok(()));
    let refused = check_age(&undated, made_ms + ID_BEHIND_MAX_MS + 1).expect_err("too old");
    assert_eq!(refused.field.as_deref(), Some("time_ms"));
    assert!(check_age(&undated, made_ms - 2 * 86_400_000).is_err(), "a time that never becomes old");
    assert_eq!(check_age(&dated, made_ms - 1), Ok(()), "ahead");
}
