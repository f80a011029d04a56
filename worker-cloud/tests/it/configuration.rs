//! The section `[runpod]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use runtime::config::Source;
use serde::Deserialize;
use worker_cloud::RunPodConfig;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Own {
    runpod: RunPodConfig,
}

fn load(file: &str) -> Result<RunPodConfig, String> {
    let file = Some((PathBuf::from("argosy.toml"), file.to_owned()));
    let source = Source { file, env: BTreeMap::new() };
    source.load::<Own>(&["runpod"]).map(|(_, own)| own.runpod).map_err(|fault| fault.message)
}

#[test]
fn what_is_wrong_is_named() {
    let cases = [
        ("[runpod]\nendpoint = \"e\"\n", "runpod.api_key"),
        ("[runpod]\napi_key = \"k\"\n", "runpod.endpoint"),
        ("[runpod]\napi_key = \"k\"\nendpoint = \"e\"\nbase_url = \"ftp://x\"\n", "runpod.base_url"),
        ("[runpod]\napi_key = \"k\"\nendpoint = \"e\"\nbase_url = \"nowhere\"\n", "runpod.base_url"),
        ("[runpod]\napi_key = \"a\\nb\"\nendpoint = \"e\"\n", "runpod.api_key"),
        ("[runpod]\napi_key = \"k\"\nendpoint = \"e\"\npoll_min_ms = 9000\n", "runpod.poll_min_ms"),
        (
            "[runpod]\napi_key = \"k\"\nendpoint = \"e\"\nrequest_timeout_ms = 0\n",
            "runpod.request_timeout_ms",
        ),
    ];
    for (file, words) in cases {
        let error = load(file).expect("well formed").check().expect_err(words);
        assert!(error.to_string().contains(words), "{error} / {words}");
    }
    let error = load("[runpod]\nendpiont = \"e\"\n").expect_err("an unknown key");
    assert!(error.contains("runpod"), "{error}");
    assert!(load("[runpod]\napi_key = \"k\"\nendpoint = \"e\"\n").expect("well formed").check().is_ok());
}

#[test]
fn the_key_is_not_printed() {
    let config = load("[runpod]\napi_key = \"rpa_hush\"\nendpoint = \"e\"\n").expect("well formed");
    assert!(!format!("{config:?}").contains("hush"));
}
