//! The key goes to its own hosts and nowhere else.

use worker_gemini::gemini::client::Client;
use worker_gemini::gemini::download::{file_id, may_have_key};
use worker_host::Backend as _;

use crate::world::{World, run, video};

#[test]
fn hosts_that_may_see_it() {
    let base = "https://generativelanguage.googleapis.com".parse().expect("a URL");
    let proxy = "http://127.0.0.1:4000".parse().expect("a URL");
    let cases = [
        ("https://generativelanguage.googleapis.com/v1beta/files/a", &base, true),
        ("https://storage.googleapis.com/x", &base, true),
        ("https://google.com/x", &base, true),
        ("https://eu.google.com/x", &base, true),
        ("http://storage.googleapis.com/x", &base, false),
        ("https://evilgoogleapis.com/x", &base, false),
        ("https://googleapis.com.evil.example/x", &base, false),
        ("https://lh3.googleusercontent.com/x", &base, false),
        ("http://127.0.0.1:4000/x", &proxy, true),
        ("http://127.0.0.1:4001/x", &proxy, false),
        ("https://127.0.0.1:4000/x", &proxy, false),
    ];
    for (url, base, allowed) in cases {
        assert_eq!(may_have_key(&url.parse().expect("a URL"), base), allowed, "{url}");
    }
}

#[test]
fn file_ids_are_found_in_addresses() {
    let id = |uri| file_id(uri);
    assert_eq!(id("https://x.example/v1beta/files/abc:download?alt=media"), Some("abc".to_owned()));
    assert_eq!(id("https://x.example/v1beta/files/abc"), Some("abc".to_owned()));
    assert_eq!(id("https://x.example/v1beta/files/"), None);
    assert_eq!(id("https://x.example/elsewhere/abc"), None);
    assert_eq!(id("no address"), None);
}

#[tokio::test]
async fn the_download_host_never_sees_it() {
    let world = World::start().await;
    let outcome = run(&world.backend(), &video(), None).await;
    assert_eq!(outcome.failure, None);
    assert!(outcome.artifacts[0].bytes > 0);
    assert_eq!(world.admin().stats().key_leaks, 0);
}

#[tokio::test]
async fn a_redirect_into_the_private_network_is_not_followed() {
    let mut world = World::start().await;
    world.config.allowed_result_hosts.clear();
    let outcome = run(&world.backend(), &video(), None).await;
    let words = outcome.failure.and_then(|failure| failure.provider_words).expect("refused");
    assert!(words.contains("127.0.0.1, a loopback address"), "{words}");
    assert!(outcome.artifacts.is_empty());
    assert_eq!(world.admin().stats().key_leaks, 0);
}

#[tokio::test]
async fn a_download_has_bounds() {
    let world = World::start().await;
    let (attempt, io, _stopper) = crate::world::attempt(&video(), None);
    assert_eq!(world.backend().run(&attempt).await.failure, None);
    let id = io.started.lock().expect("no panic").values().next().cloned().expect("recorded");
    let client = Client::new(&world.config).expect("a good configuration");
    let shown = client.interaction(&id).await.expect("completed");
    let files = shown.steps.iter().flat_map(|step| &step.content).filter_map(|part| part.blob.clone());
    let uri = files.filter_map(|file| file.uri).next().expect("a file");
    assert!(client.download(&uri, 10_000_000).await.is_ok());
    assert!(client.download(&uri, 10).await.is_err());
}
