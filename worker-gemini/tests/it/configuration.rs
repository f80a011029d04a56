//! The section `[gemini]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use runtime::config::Source;
use serde::Deserialize;
use worker_gemini::GeminiConfig;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Own {
    gemini: GeminiConfig,
}

fn load(file: &str) -> Result<GeminiConfig, String> {
    let file = Some((PathBuf::from("argosy.toml"), file.to_owned()));
    let source = Source { file, env: BTreeMap::new() };
    source.load::<Own>(&["gemini"]).map(|(_, own)| own.gemini).map_err(|fault| fault.message)
}

#[test]
fn what_is_wrong_is_named() {
    let cases = [
        ("", "gemini.api_key"),
        ("[gemini]\napi_key = \"a\\nb\"\n", "gemini.api_key"),
        ("[gemini]\napi_key = \"k\"\nbase_url = \"ftp://x\"\n", "gemini.base_url"),
        ("[gemini]\napi_key = \"k\"\nbase_url = \"nowhere\"\n", "gemini.base_url"),
        ("[gemini]\napi_key = \"k\"\npoll_ms = 0\n", "gemini.poll_ms"),
        ("[gemini]\napi_key = \"k\"\ngenerate_timeout_ms = 0\n", "gemini.generate_timeout_ms"),
    ];
    for (file, words) in cases {
        let error = load(file).expect("well formed").check().expect_err(words);
        assert!(error.to_string().contains(words), "{error} / {words}");
    }
    assert!(load("[gemini]\napi_keys = \"k\"\n").is_err());
    assert!(load("[gemini]\napi_key = \"k\"\n").expect("well formed").check().is_ok());
}

#[test]
fn the_key_is_not_printed() {
    let config = load("[gemini]\napi_key = \"AIza-hush\"\n").expect("well formed");
    assert!(!format!("{config:?}").contains("hush"));
}
