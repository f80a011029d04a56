//! The newer jobs API: one view over queue and history, and a cancel that is atomic.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use serde_json::{Value, json};

use super::Comfy;
use super::answers::{Shared, json_answer, json_status};
use super::queue::{Item, Past, Queue};

const STATES: [&str; 5] = ["pending", "in_progress", "completed", "failed", "cancelled"];

/// Written with `/api`, as the real server does: they exist at `/api/jobs` and `/api/api/jobs`.
pub(super) fn routes() -> Router<Arc<Comfy>> {
    Router::new()
        .route("/api/jobs", get(list))
        .route("/api/jobs/cancel", post(cancel_many))
        .route("/api/jobs/{id}", get(one))
        .route("/api/jobs/{id}/cancel", post(cancel))
}

fn queued(item: &Item, status: &str, started_ms: Option<u64>) -> Value {
    let mut job = json!({
        "id": item.id, "status": status, "priority": item.shown_number(),
        "create_time": item.extra_data["create_time"], "outputs_count": 0,
    });
    if let Some(started) = started_ms {
        job["execution_start_time"] = json!(started);
    }
    job
}

fn past_status(past: &Past) -> &'static str {
    if past.status["completed"] == Value::Bool(true) {
        return "completed";
    }
    let messages = past.status["messages"].as_array();
    let last = messages.and_then(|messages| messages.last()).map(|message| &message[0]);
    if last.is_some_and(|kind| kind == "execution_interrupted") { "cancelled" } else { "failed" }
}

fn ended(past: &Past) -> Value {
    let mut job = queued(&past.item, past_status(past), Some(past.started_ms));
    job["execution_end_time"] = json!(past.ended_ms);
    let files =
        past.outputs.values().filter_map(|node| node["images"].as_array().or(node["gifs"].as_array()));
    job["outputs_count"] = json!(files.map(Vec::len).sum::<usize>());
    if job["status"] == "failed"
        && let Some(message) = past.status["messages"].as_array().and_then(|messages| messages.last())
    {
        job["execution_error"] = message[1].clone();
    }
    job
}

fn all(queue: &Queue) -> Vec<Value> {
    let running = queue.running.iter().map(|run| queued(&run.item, "in_progress", Some(run.started_ms)));
    let pending = queue.pending.iter().map(|item| queued(item, "pending", None));
    running.chain(pending).chain(queue.history.iter().map(ended)).collect()
}

fn bad(text: &str) -> Response {
    json_status(StatusCode::BAD_REQUEST, &json!({"error": text}))
}

async fn list(State(comfy): Shared, Query(query): Query<HashMap<String, String>>) -> Response {
    let wanted: Option<Vec<&str>> = query.get("status").map(|list| list.split(',').collect());
    if wanted.as_ref().is_some_and(|wanted| wanted.iter().any(|state| !STATES.contains(state))) {
        return bad("status must be one or more of: pending, in_progress, completed, failed, cancelled");
    }
    let number = |name: &str| query.get(name).map(|text| text.parse::<usize>()).transpose();
    let (Ok(limit), Ok(offset)) = (number("limit"), number("offset")) else {
        return bad("limit and offset must be numbers");
    };
    if limit == Some(0) {
        return bad("limit must be positive");
    }
    let mut jobs = all(&comfy.queue());
    jobs.retain(|job| {
        wanted.as_ref().is_none_or(|wanted| wanted.iter().any(|state| job["status"] == *state))
    });
    jobs.sort_by_key(|job| job["create_time"].as_u64());
    if query.get("sort_order").is_none_or(|order| order != "asc") {
        jobs.reverse();
    }
    let (total, offset) = (jobs.len(), offset.unwrap_or(0));
    let page: Vec<_> = jobs.into_iter().skip(offset).take(limit.unwrap_or(total)).collect();
    let has_more = offset + page.len() < total;
    json_answer(&json!({
        "jobs": page,
        "pagination": {"offset": offset, "limit": limit, "total": total, "has_more": has_more},
    }))
}

async fn one(State(comfy): Shared, Path(id): Path<String>) -> Response {
    let queue = comfy.queue();
    let Some(mut job) = all(&queue).into_iter().find(|job| job["id"] == id.as_str()) else {
        return json_status(StatusCode::NOT_FOUND, &json!({"error": "Job not found"}));
    };
    if let Some(past) = queue.past(&id) {
        job["outputs"] = json!(past.outputs);
        job["execution_status"] = past.status.clone();
    }
    json_answer(&job)
}

impl Comfy {
    /// Removes a pending job or interrupts the running one.
    fn cancel_job(&self, id: &str) -> bool {
        let removed = self.queue().delete_pending(&[id.to_owned()]);
        if removed {
            self.admin.count_state("deleted");
            self.status();
        }
        removed || self.interrupt(Some(id))
    }
}

async fn cancel(State(comfy): Shared, Path(id): Path<String>) -> Response {
    json_answer(&json!({"cancelled": comfy.cancel_job(&id)}))
}

async fn cancel_many(State(comfy): Shared, body: Bytes) -> Response {
    let body = serde_json::from_slice::<Value>(&body).unwrap_or_default();
    let Some(ids) = body["job_ids"].as_array() else { return bad("job_ids must be a list") };
    let parsed = |id: &&Value| id.as_str().is_none_or(|id| uuid::Uuid::try_parse(id).is_err());
    let invalid: Vec<_> = ids.iter().filter(parsed).collect();
    if !invalid.is_empty() {
        let error = json!({"error": "job_ids contains invalid id(s)", "invalid_ids": invalid});
        return json_status(StatusCode::BAD_REQUEST, &error);
    }
    let mut any = false;
    for id in ids.iter().filter_map(Value::as_str) {
        any |= comfy.cancel_job(id);
    }
    json_answer(&json!({"cancelled": any}))
}
