//! Names and subjects: what is built is parsed back, and nothing else is.

use schemas::subjects::{self, Subject};
use schemas::{AttemptId, Backend, Encoding, FailureCode, JobId, Lane, Queue, Tenant, samples};

#[test]
fn subjects_round_trip() {
    let (job, tenant) = (samples::job_id(), samples::job().tenant);
    let (backend, class) = (samples::offer().backend, samples::decision().class);
    let queue = Queue::of_class(class.clone());
    let unlike = Queue { class, capability: "0123abcd".parse().ok() };
    let cases = [
        (subjects::jobs(Lane::Batch, &tenant), Subject::Jobs(Lane::Batch, tenant.clone())),
        (subjects::work(&backend, &queue, job), Subject::Work(backend.clone(), queue.clone(), job)),
        (subjects::work(&backend, &unlike, job), Subject::Work(backend.clone(), unlike, job)),
        (subjects::dead(&backend, job), Subject::Dead(backend, job)),
        (subjects::event(&tenant, job, "ended"), Subject::Event(tenant.clone(), job, "ended".to_owned())),
        (subjects::progress(&tenant, job), Subject::Progress(tenant, job)),
        (
            subjects::parked(None, FailureCode::InvalidJob, None),
            Subject::Parked("unknown".to_owned(), "invalid_job".to_owned(), "unknown".to_owned()),
        ),
    ];
    for (text, subject) in cases {
        assert_eq!(subjects::parse(&text), Some(subject), "{text}");
    }
    for queue in [queue.clone(), Queue { capability: "ffffffff".parse().ok(), ..queue }] {
        let backend: Backend = "local".parse().expect("a name");
        let filter = subjects::work_filter(&backend, &queue);
        assert_eq!(subjects::work_filter_parts(&filter), Some((backend, queue)), "{filter}");
    }
    for filter in
        ["argosy.work.*.*.*", "argosy.work.local.image-large", "argosy.dead.>", "argosy.work.local.a+b.*"]
    {
        assert_eq!(subjects::work_filter_parts(filter), None, "{filter}");
    }
    for foreign in ["", "argosy", "argosy.jobs.urgent.t", "argosy.jobs.batch", "other.jobs.batch.t"] {
        assert_eq!(subjects::parse(foreign), None, "{foreign}");
    }
}

#[test]
fn requests_name_their_tenant_where_one_permission_can() {
    let tenant = |name: &str| -> Tenant { name.parse().expect("a name") };
    // Whatever a tenant is called, its form has a token more than the operator's.
    for name in ["studio-a", "status", "backends", "api", "-", "_", &"x".repeat(64)] {
        for endpoint in ["status", "explain", "cancel", "estimate", "backends"] {
            let subject = subjects::api(Some(&tenant(name)), endpoint);
            assert_eq!(subject, format!("argosy.api.{name}.{endpoint}"));
            assert_eq!(subject.split('.').count(), 4);
            assert_eq!(subjects::api_tenant(&subject), Some(name));
        }
    }
    for endpoint in ["status", "explain", "cancel", "estimate", "backends"] {
        let subject = subjects::api(None, endpoint);
        assert_eq!(subject, format!("argosy.api.{endpoint}"));
        assert_eq!(subjects::api_tenant(&subject), None);
    }
    assert_eq!(subjects::api_of_tenants("status"), "*.status");
    assert_eq!(subjects::api_tenant("argosy.api.ACME.status"), Some("ACME"), "as it stands");
    assert_eq!(subjects::api_tenant("argosy.apis.a.status"), None);
}

#[test]
fn what_only_the_fleet_asks_lies_under_one_prefix() {
    let internal =
        [subjects::FLEET_RESERVE, subjects::FLEET_WAITING, subjects::FLEET_PRESENCE, subjects::FLEET_DIGEST];
    let names = ["reserve", "waiting", "presence", "digest"].map(|name| format!("argosy.fleet.{name}"));
    assert_eq!(internal, names.each_ref().map(String::as_str));
    for subject in internal {
        assert!(subject.starts_with(subjects::FLEET_FILTER.trim_end_matches('>')), "{subject}");
    }
    assert_eq!(subjects::FLEET_RESERVE_BEFORE, "argosy.ledger.reserve", "what release 0.1.0 asks");
}

#[test]
fn names_that_would_break_a_subject_are_refused() {
    for bad in ["", "a.b", "a b", "*", ">", "Tenant", &"x".repeat(65)] {
        assert!(Tenant::new(bad).is_err(), "{bad}");
        assert!(Backend::new(bad).is_err(), "{bad}");
    }
    assert!(Tenant::new(&"x".repeat(64)).is_ok());
}

#[test]
fn ids_have_one_spelling() {
    let text = "019ab0e0-3a00-7000-8000-000000000001";
    assert_eq!(text.parse::<JobId>().expect("an id").to_string(), text);
    for other in [text.to_uppercase(), text.replace('-', ""), format!("{{{text}}}"), "7".to_owned()] {
        assert!(other.parse::<JobId>().is_err(), "{other}");
    }
}

#[test]
fn an_attempts_uuid_is_its_own_and_stays() {
    let first = AttemptId { job: samples::job_id(), attempt: 1 };
    let second = AttemptId { attempt: 2, ..first };
    assert_eq!(first.derived_uuid(), first.derived_uuid());
    assert_ne!(first.derived_uuid(), second.derived_uuid());
    assert_eq!(first.to_string().parse::<AttemptId>(), Ok(first));
}

#[test]
fn names_are_read_from_texts_and_from_their_bytes_and_from_nothing_else() {
    let id = "0190b5a0-0000-7000-8000-000000000001";
    let packed = |head: &[u8], text: &str| [head, text.as_bytes()].concat();
    for (bytes, tenant) in [
        (packed(&[0xa6], "studio"), true),
        (packed(&[0xc4, 6], "studio"), true),
        (packed(&[0xa6], "Studio"), false),
        (vec![0xc4, 1, 0xff], false),
        (vec![7], false),
    ] {
        let read: Result<Tenant, _> = Encoding::MessagePack.decode(&bytes);
        assert_eq!(read.is_ok(), tenant, "{bytes:?}: {read:?}");
    }
    for (bytes, job) in [
        (packed(&[0xd9, 36], id), true),
        (packed(&[0xc4, 36], id), true),
        (packed(&[0xd9, 36], &id.to_uppercase()), false),
        (vec![0xc0], false),
    ] {
        let read: Result<JobId, _> = Encoding::MessagePack.decode(&bytes);
        assert_eq!(read.is_ok(), job, "{bytes:?}: {read:?}");
    }
    assert!(serde_json::from_str::<JobId>(&format!("\"{id}\"")).is_ok());
    let error = serde_json::from_str::<JobId>("7").expect_err("a number is no id");
    assert!(error.to_string().contains("expected a string"), "{error}");
}
