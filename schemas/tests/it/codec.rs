//! Both encodings, both ways, with what a newer or a careless writer sends.

use schemas::{DecodeError, Encoding, Event, Fact, Job, Kind, codec, samples};

#[test]
fn the_header_decides_and_without_one_the_first_byte() {
    let job = samples::job();
    for encoding in [Encoding::MessagePack, Encoding::Json] {
        let bytes = encoding.encode(&job);
        assert_eq!(codec::decode::<Job>(Some(encoding.content_type()), &bytes).expect("decodes"), job);
        assert_eq!(codec::decode::<Job>(None, &bytes).expect("decodes"), job);
    }
    assert_eq!(
        codec::decode::<Job>(Some("text/plain"), b"{}"),
        Err(DecodeError::ContentType("text/plain".to_owned()))
    );
}

#[test]
fn unknown_fields_pass_and_unknown_values_become_unknown() {
    let mut json = serde_json::to_value(samples::job()).expect("plain data");
    json["added_in_v9"] = serde_json::json!({"deep": [1, 2]});
    json["body"]["kind"] = "hologram".into();
    json["lane"] = "whenever".into();
    for encoding in [Encoding::MessagePack, Encoding::Json] {
        let job: Job = encoding.decode(&encoding.encode(&json)).expect("tolerated");
        assert_eq!(job.body.kind, Kind::Unknown);
        assert_eq!(job.lane, schemas::Lane::Unknown);
    }
    let mut event = serde_json::to_value(&samples::events()[0]).expect("plain data");
    event["fact"] = serde_json::json!({"kind": "teleported", "where": {"x": 1}});
    for encoding in [Encoding::MessagePack, Encoding::Json] {
        let event: Event = encoding.decode(&encoding.encode(&event)).expect("tolerated");
        assert_eq!(event.fact, Fact::Unknown);
    }
}

#[test]
fn errors_name_the_field() {
    let mut json = serde_json::to_value(samples::job()).expect("plain data");
    json["body"]["width"] = "wide".into();
    for encoding in [Encoding::MessagePack, Encoding::Json] {
        let error = encoding.decode::<Job>(&encoding.encode(&json)).expect_err("refused");
        assert!(error.to_string().starts_with("field `body.width`:"), "{error}");
    }
    json["body"]["width"] = 512.into();
    json["tenant"] = "Studio.A".into();
    let error = Encoding::Json.decode::<Job>(&Encoding::Json.encode(&json)).expect_err("refused");
    assert!(error.to_string().contains("field `tenant`: `Studio.A` is not a valid name"), "{error}");
}

#[test]
fn a_minimal_job_is_enough() {
    let json = br#"{"schema_version":1,"id":"019ab0e0-3a00-7000-8000-000000000001","time_ms":0,
        "tenant":"t","body":{"kind":"image","prompt":"a fox"}}"#;
    let job: Job = codec::decode(None, json).expect("decodes");
    assert_eq!(job.lane, schemas::Lane::Standard);
    assert_eq!(job.constraints, schemas::Constraints::default());
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..512)) {
        let _ = codec::decode::<Job>(None, &bytes);
        let _ = Encoding::MessagePack.decode::<Event>(&bytes);
        let _ = Encoding::Json.decode::<Event>(&bytes);
    }
}

#[test]
fn depth_is_bounded_in_both_encodings() {
    let packed = |depth: usize| [vec![0x91; depth], vec![0xc0]].concat();
    let text = |depth: usize| format!("{}null{}", "[".repeat(depth), "]".repeat(depth)).into_bytes();
    let reads = |encoding: Encoding, bytes: &[u8]| encoding.decode::<serde_json::Value>(bytes).is_ok();
    assert!(reads(Encoding::MessagePack, &packed(codec::DEPTH_MAX - 1)));
    assert!(reads(Encoding::Json, &text(codec::DEPTH_MAX - 1)));
    for depth in [codec::DEPTH_MAX + 1, 1_000, 1_000_000] {
        assert!(!reads(Encoding::MessagePack, &packed(depth)), "{depth}");
        assert!(!reads(Encoding::Json, &text(depth)), "{depth}");
    }
}
