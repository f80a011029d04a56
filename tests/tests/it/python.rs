//! Python beside us: the example client publishes in both encodings and gets its picture, and whatever Python's `json`
//! writes is read.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tests::fleet::{TestFleet, root};
use worker_local::comfy::python_json;

/// Writes documents of all that `json.dumps` writes, one a line.
const DOCUMENTS: &str = r#"
import json, random, sys
random.seed(int(sys.argv[1]))
TEXT = ['\ud800', '\udfff', '\udce9', '\U0001f600', '\ud83d\ude00', '"', '\\', '\\u', 'd800', '\0', '\n', '\x7f', '\u2028', 'NaN', 'e', ']', '{']
NUMBERS = [float('nan'), float('inf'), float('-inf'), -0.0, 5e-324, sys.float_info.max, -sys.float_info.max, True, None]

def text():
    return ''.join(random.choice(TEXT) for _ in range(random.randrange(6)))

def number():
    return random.choice(NUMBERS + [random.randrange(-10, 10) ** random.randrange(500), random.uniform(-1e300, 1e300)])

def key():
    return random.choice([text(), number(), random.randrange(3), str(random.randrange(3))])

def value(depth):
    if depth == 0 or random.random() < 0.3:
        return random.choice([text, number])()
    if random.random() < 0.02:
        deep = value(0)
        for _ in range(random.randrange(900)):
            deep = random.choice([[deep], {text(): deep}])
        return deep
    if random.random() < 0.5:
        return [value(depth - 1) for _ in range(random.randrange(5))]
    return {key(): value(depth - 1) for _ in range(random.randrange(5))}

for _ in range(2000):
    document = {'odd': value(6), 'kept': ['all', 1.5], 'more': value(3)}
    written = json.dumps(document, ensure_ascii=random.random() < 0.7, separators=random.choice([None, (',', ':')]))
    sys.stdout.buffer.write(written.encode('utf-8', 'surrogatepass') + b'\n')
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_python_client_gets_its_picture() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        options.comfyui.truncate(1);
        (options.runpod, options.gemini) = (None, None);
    })
    .await?;
    let libraries = root().join(".argosy/python");
    ensure!(libraries.is_dir(), "run `ops/scripts/obtain --with-python-client` first (make test does)");
    for encoding in ["msgpack", "json"] {
        let out = tempfile::tempdir()?;
        let run = tokio::process::Command::new("python3")
            .arg(root().join("examples/python/publish.py"))
            .args(["--nats", &fleet.stack.nats_url(), "--encoding", encoding, "--out"])
            .arg(out.path())
            .arg("a harbour in the morning")
            .env("PYTHONPATH", &libraries)
            .output()
            .await
            .context("python3 runs")?;
        let (said, wrong) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        ensure!(run.status.success(), "{encoding}: {said}{wrong}");
        let pictures: Vec<_> = std::fs::read_dir(out.path())?.flatten().collect();
        ensure!(pictures.len() == 1, "{encoding}: {said}");
        let bytes = std::fs::read(pictures[0].path())?;
        ensure!(bytes.starts_with(b"\x89PNG"), "{encoding}: no PNG");
    }
    Ok(())
}

#[tokio::test]
async fn a_python_client_without_a_broker_says_so_soon_with_a_code_of_its_own() -> anyhow::Result<()> {
    // Nobody listens, and somebody listens who is no broker.
    let silent = std::net::TcpListener::bind("127.0.0.1:0")?;
    for url in ["nats://127.0.0.1:1".to_owned(), format!("nats://{}", silent.local_addr()?)] {
        let run = tokio::process::Command::new("python3")
            .arg(root().join("examples/python/publish.py"))
            .args(["--nats", &url, "a harbour in the morning"])
            .env("PYTHONPATH", root().join(".argosy/python"))
            .output();
        // Far less than the minutes for which the library tries by itself.
        let run = tokio::time::timeout(Duration::from_secs(30), run).await??;
        let wrong = String::from_utf8_lossy(&run.stderr);
        ensure!(run.status.code() == Some(69), "{url}: {:?} {wrong}", run.status);
        ensure!(wrong.starts_with("no broker answers at") && wrong.contains("make up"), "{url}: {wrong}");
        ensure!(wrong.trim_end().lines().count() == 1, "{url}: {wrong}");
    }
    Ok(())
}

#[test]
fn whatever_pythons_json_writes_is_read() -> anyhow::Result<()> {
    let (mut read, mut strict) = (0, 0);
    for seed in ["1", "2", "3"] {
        let run = std::process::Command::new("python3").args(["-c", DOCUMENTS, seed]).output()?;
        ensure!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        for document in run.stdout.split(|byte| *byte == b'\n').filter(|document| !document.is_empty()) {
            let shown = || String::from_utf8_lossy(document).chars().take(2_000).collect::<String>();
            let value: Value = python_json::from_slice(document).with_context(shown)?;
            ensure!(value["kept"] == serde_json::json!(["all", 1.5]), "{}", shown());
            read += 1;
            strict += usize::from(serde_json::from_slice::<Value>(document).is_ok());
        }
    }
    ensure!(read == 6_000 && strict < 4_000, "{read} are read, {strict} of them by the strict reader");
    Ok(())
}
