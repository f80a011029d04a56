//! The command: its line, its port file, its admin routes, and that a killed one comes back on the same address.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{ask, client, until, workflow};

/// A child that does not outlive the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Starts a simulator and returns it with its URL, read from the line it prints.
fn start(kind: &str, listen: &str, dir: &Path) -> (Process, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_simulators"))
        .args([kind, "--listen", listen, "--time-scale", "0.001", "--seed", "7"])
        .arg("--port-file")
        .arg(dir.join("port"))
        .arg("--state-dir")
        .arg(dir.join("state"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let wanted = format!("simulated {kind} listening on ");
    let url = line.trim().strip_prefix(&wanted).unwrap_or_else(|| panic!("{line:?}")).to_owned();
    let port = std::fs::read_to_string(dir.join("port")).expect("the port file is there before the line");
    assert!(url.ends_with(&format!(":{}", port.trim())), "{url} {port}");
    (Process(child), url)
}

#[tokio::test]
async fn a_killed_provider_comes_back_on_its_address_with_its_bill() {
    let dir = tempfile::tempdir().unwrap();
    let (mut process, url) = start("runpod", "127.0.0.1:0", dir.path());
    let key = ("authorization", "Bearer sim-runpod-key");
    let body = json!({"input": {"workflow": workflow("x", 1)}});
    let run = client().post(format!("{url}/v2/sim-endpoint/run")).header(key.0, key.1).json(&body);
    let id = ask(run).await.1["id"].as_str().unwrap().to_owned();
    let status = format!("{url}/v2/sim-endpoint/status/{id}");
    until(&client(), &status, key, "the end", |body| body["status"] == "COMPLETED").await;
    let (_, invoice) = ask(client().get(format!("{url}/_admin/invoice"))).await;
    process.0.kill().unwrap();
    process.0.wait().unwrap();
    let (_process, again) = start("runpod", url.strip_prefix("http://").unwrap(), dir.path());
    assert_eq!(again, url);
    assert_eq!(ask(client().get(format!("{url}/_admin/invoice"))).await.1, invoice);
    assert_eq!(invoice["currency_unit"], "micro_usd");
    assert!(invoice["total_micro_usd"].as_u64().unwrap() > 0);
    until(&client(), &status, key, "the job", |body| body["status"] == "COMPLETED").await;
}

#[tokio::test]
async fn the_admin_routes_work_over_http() {
    let dir = tempfile::tempdir().unwrap();
    let (_process, url) = start("comfyui", "127.0.0.1:0", dir.path());
    let page = client().get(format!("{url}/")).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("simulator of comfyui"), "{page}");
    let faults = format!("{url}/_admin/faults");
    let (status, body) = ask(client().put(&faults).json(&json!([{"name": "oom", "times": 2}]))).await;
    assert_eq!((status, &body["faults"]), (StatusCode::OK, &json!([{"name": "oom", "times": 2}])));
    let (status, body) = ask(client().put(&faults).json(&json!([{"name": "nonsense"}]))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body["error"].as_str().unwrap().contains("unknown fault `nonsense`"));
    let (status, _) = ask(client().post(format!("{url}/_admin/offline")).json(&json!({"for_ms": 200}))).await;
    assert_eq!(status, StatusCode::OK, "the answer leaves before the lights go out");
    let stats = format!("{url}/_admin/stats");
    let back = crate::support::eventually("the server to go and come back", || async {
        let answer = client().get(&stats).send().await.ok()?;
        answer.json::<Value>().await.ok()
    });
    assert_eq!(back.await["simulator"], "comfyui");
}
