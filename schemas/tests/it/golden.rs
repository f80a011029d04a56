//! Golden bytes: every message's MessagePack (as hex) and JSON is locked by a file.
//!
//! `UPDATE_GOLDEN=1 cargo test -p schemas` rewrites them; the diff is then the change to the wire.
//! Those of releases are frozen, see `frozen`.
//! Cases considered: old bytes are read by today's code (decode the golden file), today's bytes are the
//! golden ones (encode), and newer bytes are read by today's code (an added field, see `codec`).

use std::fmt::Write as _;
use std::path::PathBuf;

use schemas::{Encoding, samples};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn check_file(relative: &str, now: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(relative);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, now).expect("written");
    }
    let golden = std::fs::read_to_string(&path)
        .unwrap_or_else(|_| panic!("{relative} is missing: run with UPDATE_GOLDEN=1"));
    assert_eq!(golden, now, "{relative} changed: if you mean it, run with UPDATE_GOLDEN=1");
    golden
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(32) {
        for byte in line {
            write!(text, "{byte:02x}").expect("a string");
        }
        text.push('\n');
    }
    text
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ascii"), 16).expect("hex"))
        .collect()
}

fn locked<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(name: &str, sample: &T) {
    let packed =
        check_file(&format!("golden/v1/{name}.msgpack.hex"), &hex(&Encoding::MessagePack.encode(sample)));
    let json = serde_json::to_string_pretty(sample).expect("plain data") + "\n";
    let json = check_file(&format!("golden/v1/{name}.json"), &json);
    let from_packed: T = Encoding::MessagePack.decode(&unhex(&packed)).expect("golden bytes decode");
    let from_json: T = Encoding::Json.decode(json.as_bytes()).expect("golden JSON decodes");
    assert_eq!(&from_packed, sample);
    assert_eq!(&from_json, sample);
}

#[test]
fn messages_are_locked_by_their_bytes() {
    locked("job", &samples::job());
    locked("assignment", &samples::assignment());
    locked("first_assignment", &samples::first_assignment());
    locked("dead_letter", &samples::dead_letter());
    locked("parked", &samples::parked());
    locked("progress", &samples::progress());
    locked("offer", &samples::offer());
    locked("attempt_record", &samples::attempt_record());
    locked("key_record", &samples::key_record());
    locked("digest", &samples::digest());
    locked("endpoint_bill", &samples::endpoint_bill());
    locked("breaker", &samples::breaker());
    let (request, reply) = samples::reserve();
    locked("reserve_request", &request);
    locked("reserve_reply", &reply);
    for event in samples::events() {
        locked(&format!("event_{}", event.fact.kind()), &event);
    }
}

#[test]
fn json_schemas_are_current() {
    for (name, schema) in schemas::json_schema::all() {
        let text = serde_json::to_string_pretty(&schema).expect("plain data") + "\n";
        check_file(&format!("json-schema/{name}.json"), &text);
    }
}
