//! Where addresses of results may lead, on real sockets.

use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{self, HeaderMap as Headers};
use axum::response::{IntoResponse, Response as Answer};
use axum::routing::get;

use super::*;

const MAX_BYTES: u64 = 1_000;

/// A server on loopback that counts its visits and redirects to what stands in `to`.
struct Host {
    port: u16,
    visits: Arc<AtomicU32>,
    to: Arc<std::sync::Mutex<String>>,
    _task: tokio::task::JoinSet<()>,
}

type Shared = (Arc<AtomicU32>, Arc<std::sync::Mutex<String>>);

async fn answer(State((visits, to)): State<Shared>, Path(what): Path<String>, headers: Headers) -> Answer {
    visits.fetch_add(1, Ordering::SeqCst);
    let to = to.lock().expect("no panic").clone();
    match what.as_str() {
        "file" => "the file".into_response(),
        "large" => vec![0_u8; 2_000].into_response(),
        "key" => headers.contains_key(AUTHORIZATION).to_string().into_response(),
        "moved" => (http::StatusCode::MOVED_PERMANENTLY, [("location", to)]).into_response(),
        "found" => (http::StatusCode::FOUND, [("location", to)]).into_response(),
        "other" => (http::StatusCode::SEE_OTHER, [("location", to)]).into_response(),
        "temporary" => (http::StatusCode::TEMPORARY_REDIRECT, [("location", to)]).into_response(),
        "round" => (http::StatusCode::FOUND, [("location", "/round")]).into_response(),
        "nowhere" => http::StatusCode::FOUND.into_response(),
        _ => http::StatusCode::NOT_FOUND.into_response(),
    }
}

impl Host {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let shared: Shared = Shared::default();
        let router = Router::new().route("/{what}", get(answer)).with_state(shared.clone());
        let mut task = tokio::task::JoinSet::new();
        task.spawn(async move { axum::serve(listener, router).await.expect("serves") });
        Self { port, visits: shared.0, to: shared.1, _task: task }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    fn send_to(&self, address: &str) {
        address.clone_into(&mut self.to.lock().expect("no panic"));
    }

    fn visits(&self) -> u32 {
        self.visits.load(Ordering::SeqCst)
    }
}

/// Name servers that say what the test says.
struct Names(&'static [(&'static str, &'static [&'static str])]);

#[async_trait]
impl Lookup for Names {
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let known = self.0.iter().find(|(name, _)| *name == host);
        let (_, addresses) = known.ok_or_else(|| io::Error::other("no such name"))?;
        Ok(addresses.iter().map(|address| address.parse().expect("an address")).collect())
    }
}

/// Trusts one host at one port, as a configured base URL does.
fn fetcher(trusted: &Host, names: Names) -> Fetcher {
    crate::tls::install();
    let base = trusted.url("").parse().expect("a URL");
    let allowed = AllowedHosts::new(&base, &[]).expect("no entries");
    Fetcher::with_lookup("test", allowed, Arc::new(names)).expect("a client")
}

async fn fetched(fetcher: &Fetcher, address: &str) -> Result<Bytes, FetchError> {
    fetcher.get(address, MAX_BYTES, |_| HeaderMap::new()).await
}

#[tokio::test]
async fn a_redirect_leads_where_an_address_may_lead_and_nowhere_else() {
    let (trusted, victim) = (Host::start().await, Host::start().await);
    let fetcher = fetcher(
        &trusted,
        Names(&[
            ("metadata.example", &["169.254.169.254"]),
            ("rebinding.example", &["127.0.0.1", "10.0.0.1"]),
            ("six.example", &["::ffff:127.0.0.1", "fd00::1"]),
        ]),
    );
    let port = victim.port;
    let forbidden = [
        victim.url("file"),
        format!("http://localhost:{port}/file"),
        format!("https://2130706433:{port}/file"),
        format!("https://0177.0.0.1:{port}/file"),
        format!("https://0x7f.1:{port}/file"),
        format!("https://127.1:{port}/file"),
        format!("https://[::1]:{port}/file"),
        format!("https://[::ffff:127.0.0.1]:{port}/file"),
        format!("https://[::ffff:7f00:1]:{port}/file"),
        "https://169.254.169.254/latest/meta-data/".to_owned(),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "https://metadata.example/latest/meta-data/".to_owned(),
        format!("https://rebinding.example:{port}/file"),
        format!("https://six.example:{port}/file"),
        "https://user:secret@1.1.1.1/file".to_owned(),
        "http://1.1.1.1/file".to_owned(),
        format!("//127.0.0.1:{port}/file"),
    ];
    for address in &forbidden {
        trusted.send_to(address);
        for way in ["moved", "found", "other", "temporary"] {
            let error = fetched(&fetcher, &trusted.url(way)).await.expect_err(address);
            assert!(matches!(error, FetchError::Forbidden { .. }), "{address}: {error:?}");
            assert!(!error.may_pass(), "{address}");
        }
        if !address.starts_with("//") {
            let direct = fetched(&fetcher, address).await.expect_err(address);
            assert!(matches!(direct, FetchError::Forbidden { .. }), "{address}: {direct:?}");
        }
    }
    assert_eq!(victim.visits(), 0, "nothing was asked of the private host");

    for address in ["file:///etc/passwd", "ftp://1.1.1.1/x", "data:,x", "no address"] {
        let error = fetched(&fetcher, address).await.expect_err(address);
        assert!(matches!(error, FetchError::BadAddress(_)), "{address}: {error:?}");
        assert_eq!(error.failure("x").code, FailureCode::UnusableResult);
    }

    trusted.send_to("/file");
    assert_eq!(fetched(&fetcher, &trusted.url("found")).await.expect("found"), &b"the file"[..]);
}

#[tokio::test]
async fn what_the_operator_names_is_reached_through_redirects_too() {
    let (trusted, second) = (Host::start().await, Host::start().await);
    crate::tls::install();
    let base = trusted.url("").parse().expect("a URL");
    let allowed = AllowedHosts::new(&base, &[format!("127.0.0.1:{}", second.port)]).expect("a host");
    let fetcher = Fetcher::with_lookup("test", allowed, Arc::new(Names(&[]))).expect("a client");
    trusted.send_to(&second.url("file"));
    assert_eq!(fetched(&fetcher, &trusted.url("moved")).await.expect("moved"), &b"the file"[..]);
    assert_eq!(second.visits(), 1);
}

#[tokio::test]
async fn headers_are_decided_for_each_address() {
    let (trusted, second) = (Host::start().await, Host::start().await);
    crate::tls::install();
    let base = trusted.url("").parse().expect("a URL");
    let allowed = AllowedHosts::new(&base, &["127.0.0.1".to_owned()]).expect("a host");
    let fetcher = Fetcher::with_lookup("test", allowed, Arc::new(Names(&[]))).expect("a client");
    trusted.send_to(&second.url("key"));
    let port = trusted.port;
    let key = |url: &Url| {
        let ours = url.port() == Some(port);
        ours.then(|| (AUTHORIZATION, http::HeaderValue::from_static("k"))).into_iter().collect()
    };
    let bytes = fetcher.get(&trusted.url("key"), MAX_BYTES, key).await;
    assert_eq!(bytes.expect("delivered"), &b"true"[..]);
    let bytes = fetcher.get(&trusted.url("found"), MAX_BYTES, key).await;
    assert_eq!(bytes.expect("delivered"), &b"false"[..]);
}

#[tokio::test]
async fn what_does_not_come_is_told_without_its_address() {
    let trusted = Host::start().await;
    let fetcher = fetcher(&trusted, Names(&[]));
    let cases = [
        ("large", FetchError::TooLarge(MAX_BYTES), FailureCode::NotStored),
        ("round", FetchError::BadAddress("it redirects too often"), FailureCode::UnusableResult),
        ("nowhere", FetchError::BadAddress("it redirects nowhere"), FailureCode::UnusableResult),
        ("gone", FetchError::Status { host: "127.0.0.1".to_owned(), status: 404 }, FailureCode::NotStored),
    ];
    for (path, error, code) in cases {
        let met = fetched(&fetcher, &trusted.url(path)).await;
        assert_eq!(met.expect_err(path).to_string(), error.to_string(), "{path}");
        assert_eq!(error.failure("x").code, code, "{path}");
        assert!(!error.may_pass());
    }
    let address = "https://unknown.example/path?X-Amz-Signature=hush";
    let error = fetched(&fetcher, address).await.expect_err("no such name");
    assert!(error.may_pass() && matches!(error, FetchError::Lost { .. }), "{error:?}");
    assert!(std::error::Error::source(&error).is_some(), "its cause is kept");
    let failure = error.failure("x");
    assert!(failure.message.contains("unknown.example") && !failure.message.contains("hush"), "{failure:?}");
    let address = "https://127.0.0.1/path?X-Amz-Signature=hush";
    let failure =
        fetched(&fetcher, address).await.expect_err("loopback").failure("runpod.allowed_result_hosts");
    assert!(failure.message.contains("runpod.allowed_result_hosts"), "{failure:?}");
    assert!(!failure.message.contains("hush"), "{failure:?}");
    assert!(FetchError::Status { host: String::new(), status: 503 }.may_pass());
}

#[test]
fn a_redirect_never_leaves_https() {
    let from = "https://files.example/a".parse().expect("a URL");
    let redirect = |to: &str| {
        let answer = http::Response::builder().status(302).header("location", to);
        target(&from, &Response::from(answer.body("").expect("an answer")))
    };
    for to in ["http://files.example/a", "http://1.1.1.1/", "ftp://files.example/", "file:///etc/passwd"] {
        assert!(matches!(redirect(to), Err(FetchError::Forbidden { .. })), "{to}");
    }
    assert_eq!(String::from(redirect("//other.example/b").expect("it leads on")), "https://other.example/b");
    assert_eq!(String::from(redirect("b").expect("it leads on")), "https://files.example/b");
}
