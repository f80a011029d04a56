//! `/_admin/…` and the `/` page that says what this is.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Admin, Fault};

/// The admin routes and the front page; merged into each simulator's own routes. Also counts requests.
pub(crate) fn router(admin: Admin, provider: Router) -> Router {
    let counted = provider.layer(axum::middleware::from_fn_with_state(admin.clone(), count));
    Router::new()
        .route("/", get(front_page))
        .route("/_admin/invoice", get(invoice))
        .route("/_admin/faults", get(list_faults).put(set_faults))
        .route("/_admin/offline", post(offline))
        .route("/_admin/stats", get(stats))
        .with_state(admin)
        .merge(counted)
}

async fn count(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    admin.count_request();
    next.run(request).await
}

async fn front_page(State(admin): State<Admin>) -> Html<String> {
    let name = admin.simulator();
    Html(format!(
        "<!doctype html><title>simulator: {name}</title><h1>This is a simulator of {name}</h1>\
         <p>Nothing here is real: pictures are drawn by a program and the money is imaginary.</p>\
         <ul><li><a href=\"/_admin/invoice\">invoice</a><li><a href=\"/_admin/stats\">stats</a>\
         <li><a href=\"/_admin/faults\">faults</a></ul>"
    ))
}

async fn invoice(State(admin): State<Admin>) -> Response {
    Json(admin.invoice()).into_response()
}

async fn stats(State(admin): State<Admin>) -> Response {
    Json(admin.stats()).into_response()
}

async fn list_faults(State(admin): State<Admin>) -> Json<Value> {
    Json(
        json!({"simulator": admin.simulator(), "faults": admin.faults(), "known_faults": admin.known_faults()}),
    )
}

#[derive(Deserialize)]
#[serde(untagged)]
enum FaultsBody {
    List(Vec<Fault>),
    Wrapped { faults: Vec<Fault> },
}

async fn set_faults(State(admin): State<Admin>, Json(body): Json<FaultsBody>) -> Response {
    let (FaultsBody::List(faults) | FaultsBody::Wrapped { faults }) = body;
    match admin.set_faults(faults) {
        Ok(()) => list_faults(State(admin)).await.into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, Json(json!({"error": error.to_string()}))).into_response(),
    }
}

#[derive(Deserialize)]
struct Offline {
    for_ms: u64,
}

async fn offline(State(admin): State<Admin>, Json(body): Json<Offline>) -> Json<Value> {
    // Not at once: the cut also hits the connection that this answer travels on.
    admin.offline_soon(body.for_ms);
    Json(json!({"simulator": admin.simulator(), "offline_for_ms": body.for_ms}))
}
