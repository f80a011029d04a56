//! Frozen goldens: what a release wrote is read by every later version. The releases are listed in `releases.toml`.
//!
//! No environment variable rewrites these files. The list of their hashes is beside them, and the hash of that list is
//! in `releases.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use schemas::bill::EndpointBill;
use schemas::reserve::{ReserveReply, ReserveRequest};
use schemas::{
    Assignment, AttemptRecord, Catalog, DeadLetter, Encoding, Event, Fact, Job, KeyRecord, Offer, Parked,
    PolicyConfig, PriceList, Progress, TenantsConfig,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

#[derive(Deserialize)]
struct Releases {
    release: Vec<Release>,
}

#[derive(Deserialize)]
struct Release {
    version: String,
    commit: String,
    goldens: PathBuf,
    goldens_sha256: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn releases() -> Vec<Release> {
    let text = std::fs::read_to_string(root().join("releases.toml")).expect("releases.toml");
    let releases: Releases = toml::from_str(&text).expect("releases.toml is a list of releases");
    releases.release
}

fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { _ = found.insert(path) }
    }
    found
}

#[test]
fn what_is_frozen_stays_byte_for_byte() {
    let releases = releases();
    let recorded: BTreeSet<PathBuf> = releases.iter().map(|release| root().join(&release.goldens)).collect();
    let frozen = std::fs::read_dir(root().join("schemas/golden/frozen")).expect("frozen goldens").flatten();
    let frozen: BTreeSet<PathBuf> =
        frozen.map(|entry| root().join("schemas/golden/frozen").join(entry.file_name())).collect();
    assert_eq!(frozen, recorded, "left: the folders, right: releases.toml");
    for Release { version, commit, goldens, goldens_sha256 } in releases {
        assert!(
            commit.len() == 40 && commit.bytes().all(|c| c.is_ascii_hexdigit()),
            "{version}: a whole commit id"
        );
        let folder = root().join(goldens);
        let list = std::fs::read(folder.join("SHA256SUMS")).expect("SHA256SUMS");
        assert_eq!(
            sha256_hex(&list),
            goldens_sha256,
            "{version}: SHA256SUMS is not the one that was recorded"
        );
        let mut listed = BTreeSet::from([folder.join("SHA256SUMS")]);
        for line in String::from_utf8(list).expect("text").lines() {
            let (hash, name) = line.split_once("  ").expect("a hash and a name");
            let bytes =
                std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{version}: {name}: {error}"));
            assert_eq!(sha256_hex(&bytes), hash, "{version}: {name} is frozen: undo the change");
            listed.insert(folder.join(name));
        }
        assert_eq!(files(&folder), listed, "{version}: left: the files, right: SHA256SUMS");
    }
}

/// Decodes a message in both encodings; nothing that it says may be lost.
fn decode<T: Serialize + DeserializeOwned>(file: &str, packed: &[u8], json: &[u8]) -> [T; 2] {
    let was: Value = serde_json::from_slice(json).expect("JSON");
    let from_packed = Encoding::MessagePack.decode::<T>(packed);
    let from_json = Encoding::Json.decode::<T>(json);
    [from_packed, from_json].map(|decoded| {
        let decoded = decoded.unwrap_or_else(|error| panic!("{file} is no longer read: {error:?}"));
        let now = serde_json::to_value(&decoded).expect("plain data");
        keeps(file, &was, &now);
        decoded
    })
}

/// Everything that was said is still said; more may be said beside it.
fn keeps(place: &str, was: &Value, now: &Value) {
    match (was, now) {
        (Value::Object(was), Value::Object(now)) => {
            for (name, value) in was {
                let place = format!("{place}.{name}");
                keeps(&place, value, now.get(name).unwrap_or_else(|| panic!("{place} is lost")));
            }
        }
        (Value::Array(was), Value::Array(now)) if was.len() == now.len() => {
            for (index, (was, now)) in was.iter().zip(now).enumerate() {
                keeps(&format!("{place}[{index}]"), was, now);
            }
        }
        _ => assert_eq!(was, now, "{place} is read as something else"),
    }
}

fn document<T: Serialize + DeserializeOwned>(file: &str, json: &[u8]) {
    let was: Value = serde_json::from_slice(json).expect("JSON");
    let read: T =
        serde_json::from_slice(json).unwrap_or_else(|error| panic!("{file} is no longer read: {error}"));
    keeps(file, &was, &serde_json::to_value(&read).expect("plain data"));
}

#[test]
fn what_a_release_wrote_is_read_for_ever() {
    for Release { goldens, .. } in releases() {
        let folder = root().join(&goldens);
        let mut messages: BTreeMap<String, [Vec<u8>; 2]> = BTreeMap::new();
        for path in files(&folder) {
            let bytes = std::fs::read(&path).expect("readable");
            let name = path.strip_prefix(&folder).expect("inside").to_string_lossy().into_owned();
            let file = format!("{}/{name}", goldens.display());
            if let Some(name) = name.strip_suffix(".msgpack.hex") {
                messages.entry(name.to_owned()).or_default()[0] = unhex(&bytes);
            } else if let Some(name) = name.strip_suffix(".json").filter(|name| !name.contains('/')) {
                messages.entry(name.to_owned()).or_default()[1] = bytes;
            } else {
                match name.as_str() {
                    "documents/policy.json" => document::<PolicyConfig>(&file, &bytes),
                    "documents/catalog.json" => document::<Catalog>(&file, &bytes),
                    "documents/prices.json" => document::<PriceList>(&file, &bytes),
                    "documents/tenants.json" => document::<TenantsConfig>(&file, &bytes),
                    "SHA256SUMS" => {}
                    _ => panic!("{file}: no test decodes it"),
                }
            }
        }
        assert!(messages.len() > 10, "{}: {} messages", goldens.display(), messages.len());
        for (name, [packed, json]) in messages {
            message(&format!("{}/{name}", goldens.display()), &name, &packed, &json);
        }
    }
}

fn message(file: &str, name: &str, packed: &[u8], json: &[u8]) {
    match name {
        "job" => _ = decode::<Job>(file, packed, json),
        "assignment" | "first_assignment" => _ = decode::<Assignment>(file, packed, json),
        "dead_letter" => _ = decode::<DeadLetter>(file, packed, json),
        "parked" => _ = decode::<Parked>(file, packed, json),
        "progress" => _ = decode::<Progress>(file, packed, json),
        "offer" => _ = decode::<Offer>(file, packed, json),
        "attempt_record" => _ = decode::<AttemptRecord>(file, packed, json),
        "key_record" => _ = decode::<KeyRecord>(file, packed, json),
        "endpoint_bill" => _ = decode::<EndpointBill>(file, packed, json),
        "reserve_request" => _ = decode::<ReserveRequest>(file, packed, json),
        "reserve_reply" => _ = decode::<ReserveReply>(file, packed, json),
        _ => {
            let kind = name.strip_prefix("event_").unwrap_or_else(|| panic!("{file}: no test decodes it"));
            for Event { fact, .. } in decode::<Event>(file, packed, json) {
                assert!(fact != Fact::Unknown && fact.kind() == kind, "{file} is read as {}", fact.kind());
            }
        }
    }
}

fn unhex(text: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = text.iter().copied().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ascii"), 16).expect("hex");
    digits.chunks(2).map(byte).collect()
}
