//! Supervised children: they stop, wake, come back, and end with their parent.

#[cfg(target_os = "linux")]
use crate::doomed::{doomed_dir, kill_the_parent, lives, settle_and_wait_for_death, state, wait_until};
use crate::scratch;
use servers::process::{ProcessError, Spec, Supervised};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const WITHIN: Duration = Duration::from_secs(20);

fn shell(script: &str, dir: &Path) -> Spec {
    Spec::new("shell", "/bin/sh", dir.join("shell.log")).args(["-c", script])
}

#[tokio::test]
async fn asked_to_stop_it_may_finish_and_is_killed_only_after_the_grace() {
    let (_scratch, dir) = scratch();
    let polite = "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done";
    let mut child = Supervised::spawn(shell(polite, &dir)).unwrap();
    assert_eq!(child.wait_for_log("up", WITHIN).await.unwrap(), "up");
    assert_eq!(child.terminate(WITHIN).await.unwrap().code(), Some(7));
    assert!(child.log_tail().contains("bye"));

    let deaf = "trap '' TERM; echo deaf; while :; do sleep 0.05; done";
    let mut child = Supervised::spawn(shell(deaf, &dir)).unwrap();
    child.wait_for_log("deaf", WITHIN).await.unwrap();
    let status = child.terminate(Duration::from_millis(100)).await.unwrap();
    assert_eq!(status.code(), None, "killed: {status}");
}

#[tokio::test]
async fn a_restart_is_a_new_process_with_its_own_part_of_the_log() {
    let (_scratch, dir) = scratch();
    let mut child = Supervised::spawn(shell("echo start $$; exec sleep 600", &dir)).unwrap();
    let first = child.wait_for_log("start", WITHIN).await.unwrap();
    assert_eq!(first, format!("start {}", child.pid()));
    child.restart().unwrap();
    let second = child.wait_for_log("start", WITHIN).await.unwrap();
    assert_eq!(second, format!("start {}", child.pid()));
    assert_ne!(first, second);
    assert_eq!(child.kill9().unwrap().code(), None);
    assert!(!child.is_running());
}

#[tokio::test]
async fn waits_end_with_the_child_or_the_deadline_and_show_the_log() {
    let (_scratch, dir) = scratch();
    let mut child = Supervised::spawn(shell("echo no such table >&2; exit 3", &dir)).unwrap();
    let error = child.wait_for_log("ready", WITHIN).await.unwrap_err();
    assert!(matches!(error, ProcessError::Ended { .. }), "{error}");
    assert!(error.to_string().contains("no such table"), "{error}");

    let mut child = Supervised::spawn(shell("echo thinking; exec sleep 600", &dir)).unwrap();
    child.wait_for_log("thinking", WITHIN).await.unwrap();
    let error = child.wait_for_file(&dir.join("port"), Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, ProcessError::Deadline { .. }), "{error}");
    assert!(error.to_string().contains("thinking"), "{error}");

    let missing = Supervised::spawn(Spec::new("ghost", "/no/such/program", dir.join("ghost.log")));
    assert!(matches!(missing, Err(ProcessError::Spawn { .. })), "{missing:?}");
}

#[tokio::test]
async fn readiness_is_a_port_file_then_a_200() {
    let (_scratch, dir) = scratch();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let port_file = dir.join("port");
    let script = format!("echo {} > {}; exec sleep 600", address.port(), port_file.display());
    let mut child = Supervised::spawn(shell(&script, &dir)).unwrap();
    let text = child.wait_for_file(&port_file, WITHIN).await.unwrap();
    assert_eq!(text.trim(), address.port().to_string());

    // Not ready at first, then ready: the wait has to look more than once.
    let server = async {
        for answer in ["HTTP/1.1 503 Service Unavailable\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0_u8; 512];
            let length = stream.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /readyz HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    };
    let (ready, ()) = tokio::join!(child.wait_for_http(address, "/readyz", WITHIN), server);
    ready.unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_stopped_child_sleeps_until_it_is_continued_and_can_still_be_asked_to_leave() {
    let (_scratch, dir) = scratch();
    let script = "trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done";
    let mut child = Supervised::spawn(shell(script, &dir)).unwrap();
    child.wait_for_log("up", WITHIN).await.unwrap();
    child.stop().unwrap();
    wait_until("stopped", || state(child.pid()) == Some('T'));
    assert!(child.is_running());
    child.cont().unwrap();
    wait_until("running", || state(child.pid()) != Some('T'));
    child.stop().unwrap();
    assert_eq!(child.terminate(WITHIN).await.unwrap().code(), Some(5));
}

/// Not a test of its own: run by the one below in a process that is then killed.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "the parent that children_of_a_killed_parent_end kills"]
fn parent_to_be_killed() {
    let Some(dir) = doomed_dir() else { return };
    // From a thread that ends at once: the child must outlive the thread and end with the process.
    let spec = shell("echo up; exec sleep 600", &dir);
    let child = std::thread::spawn(move || Supervised::spawn(spec).unwrap()).join().unwrap();
    wait_until("the child is up", || child.log_tail().contains("up"));
    assert!(lives(child.pid()), "the child ended with the thread that asked for it");
    settle_and_wait_for_death(&dir, &[child.pid()]);
}

#[cfg(target_os = "linux")]
#[test]
fn children_of_a_killed_parent_end() {
    kill_the_parent("children::parent_to_be_killed");
}
