//! Faults of the simulated ComfyUI that a run must survive or name, beyond the common suite.

use schemas::FailureCode;
use simulators::Fault;
use simulators::comfyui::{Mode, Server};
use worker_host::Stop;
use worker_host::conformance::until;
use worker_local::ComfyConfig;

use crate::conformance::simulator;
use crate::jobs::{Case, assignment, config, prompt};

async fn server(mode: Mode, faults: &[&str]) -> Server {
    let server = Server::start(simulator(mode)).await.expect("a simulator");
    arm(&server, faults);
    server
}

fn arm(server: &Server, faults: &[&str]) {
    let faults = faults.iter().map(|name| Fault::times(name, 1)).collect();
    server.admin().set_faults(faults).expect("known faults");
}

fn case(server: &Server) -> Case {
    Case::new(config(&server.url()), assignment(prompt()))
}

fn running(server: &Server) -> bool {
    server.admin().stats().running_now > 0
}

#[tokio::test]
async fn a_dropped_socket_and_a_late_history_cost_nothing() {
    let server = server(Mode::New, &["drop_ws", "late_history"]).await;
    let outcome =
        Case::new(ComfyConfig { history_grace_ms: 10_000, ..config(&server.url()) }, assignment(prompt()))
            .run()
            .await;
    assert_eq!((outcome.failure, outcome.artifacts.len()), (None, 1));
    let fired = server.admin().stats().faults_fired;
    assert!(fired.contains_key("drop_ws") && fired.contains_key("late_history"), "{fired:?}");
}

#[tokio::test]
async fn a_hanging_server_is_noticed() {
    let server = server(Mode::New, &["hang"]).await;
    let config = ComfyConfig { stall_ms: 400, cancel_wait_ms: 200, ..config(&server.url()) };
    let failure = Case::new(config, assignment(prompt())).run().await.failure.expect("a failure");
    assert_eq!(failure.code, FailureCode::BackendDown, "{failure:?}");
    assert!(failure.message.contains("no sign of life"), "{failure:?}");
}

#[tokio::test]
async fn memory_is_freed_after_it_ran_out() {
    let server = server(Mode::New, &["oom"]).await;
    let case = case(&server);
    let failure = case.run().await.failure.expect("a failure");
    assert_eq!(failure.code, FailureCode::OutOfMemory);
    assert!(failure.provider_words.is_some());
    // The next attempt of the job has another id and works.
    let mut next = schemas::Assignment::clone(&case.attempt.assignment);
    next.attempt += 1;
    let outcome = Case::new(config(&server.url()), next).run().await;
    assert_eq!((outcome.failure, outcome.artifacts.len()), (None, 1));
}

#[tokio::test]
async fn a_drained_job_leaves_the_gpu_and_runs_when_it_comes_again() {
    let server = server(Mode::Recorded, &[]).await;
    let case = case(&server);
    let stop = async {
        until("working", || running(&server)).await;
        case.stopper.stop(Stop::Drain);
    };
    let (outcome, ()) = tokio::join!(case.run(), stop);
    assert_eq!(outcome.failure.map(|failure| failure.code), Some(FailureCode::Interrupted));
    assert!(!running(&server), "the GPU is free for others");
    // The same attempt again: its history says interrupted, which was us.
    let again = Case::new(config(&server.url()), case.attempt.assignment.clone()).run().await;
    assert_eq!((again.failure, again.artifacts.len()), (None, 1));
}

#[tokio::test]
async fn a_slow_interrupt_does_not_hold_the_worker() {
    let server = server(Mode::New, &["slow_interrupt"]).await;
    let config = ComfyConfig { cancel_wait_ms: 100, ..config(&server.url()) };
    let case = Case::new(config, assignment(prompt()));
    let stop = async {
        until("working", || running(&server)).await;
        case.stopper.stop(Stop::Cancelled);
    };
    let (outcome, ()) = tokio::join!(case.run(), stop);
    assert_eq!(outcome.failure.map(|failure| failure.code), Some(FailureCode::Cancelled));
    until("stopped", || !running(&server)).await;
}

#[tokio::test]
async fn cancelling_one_job_leaves_the_others() {
    let server = server(Mode::Old, &[]).await;
    let (first, second) = (case(&server), case(&server));
    let stop = async {
        until("both queued", || server.admin().stats().posts == 2).await;
        // The second waits behind the first: a careless interrupt would hit the first.
        second.stopper.stop(Stop::Cancelled);
    };
    let submit_second = async {
        until("the first works", || running(&server)).await;
        second.run().await
    };
    let (one, two, ()) = tokio::join!(first.run(), submit_second, stop);
    assert_eq!(one.failure, None);
    assert_eq!(two.failure.map(|failure| failure.code), Some(FailureCode::Cancelled));
}

#[tokio::test]
async fn an_offline_server_is_down() {
    let server = server(Mode::New, &[]).await;
    let case = case(&server);
    let away = async {
        until("working", || running(&server)).await;
        server.admin().offline(60_000);
    };
    let (outcome, ()) = tokio::join!(case.run(), away);
    let failure = outcome.failure.expect("a failure");
    assert_eq!(failure.code, FailureCode::BackendDown, "{failure:?}");
}
