//! Three pages: `/livez` (the process runs), `/readyz` (it can do its work, or why not), `/metrics`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

use crate::bounded::{BoundedListener, Bounds, Lifetime};
use crate::config::HttpConfig;
use crate::exit::{Exit, Fault};
use crate::reports::Inbox;

/// What the pages let in: a supervisor and a few collectors, which reconnect when a connection's time is over.
const BOUNDS: Bounds = Bounds { connections: 128, unknown: Duration::from_secs(60) };

/// What a process needs to do its work, and whether it has it.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// Each with what is wrong; none where it holds.
    conditions: Arc<Mutex<BTreeMap<&'static str, Option<String>>>>,
}

/// A process cannot do its work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{condition}: {why}")]
pub struct NotReady {
    /// What it needs.
    pub condition: &'static str,
    /// Why that does not hold.
    pub why: String,
}

impl Health {
    /// A condition holds.
    pub fn good(&self, condition: &'static str) {
        self.set(condition, None);
    }

    /// A condition does not hold.
    pub fn bad(&self, condition: &'static str, why: impl Into<String>) {
        self.set(condition, Some(why.into()));
    }

    /// All conditions hold; else the first that does not.
    ///
    /// # Errors
    /// The condition and why.
    pub fn ready(&self) -> Result<(), NotReady> {
        let conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        let bad = conditions.iter().find_map(|(condition, wrong)| Some((*condition, wrong.clone()?)));
        bad.map_or(Ok(()), |(condition, why)| Err(NotReady { condition, why }))
    }

    fn set(&self, condition: &'static str, wrong: Option<String>) {
        let mut conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        conditions.insert(condition, wrong);
    }
}

/// A bound listener for the pages.
pub struct Pages {
    listener: tokio::net::TcpListener,
}

impl Pages {
    /// Binds, and writes the port file.
    ///
    /// # Errors
    /// [`Exit::PortOccupied`], or the port file cannot be written.
    pub async fn bind(config: &HttpConfig) -> Result<Self, Fault> {
        let listener = tokio::net::TcpListener::bind(config.listen).await.map_err(|error| {
            let cure = "set ARGOSY_HTTP__LISTEN to a free address (port 0 takes any)";
            Fault::new(Exit::PortOccupied, format!("cannot listen on {}: {error}; {cure}", config.listen))
        })?;
        if let (Some(path), Ok(address)) = (&config.port_file, listener.local_addr()) {
            let temporary = path.with_extension("tmp");
            let written = std::fs::write(&temporary, format!("{}\n", address.port()))
                .and_then(|()| std::fs::rename(&temporary, path));
            written.map_err(|error| {
                Fault::new(Exit::Config, format!("configuration key `http.port_file`: {error}"))
            })?;
        }
        Ok(Self { listener })
    }

    /// Serves until the token fires; reports of providers go to the inbox.
    ///
    /// # Errors
    /// The listener failed.
    pub async fn serve(
        self,
        health: Health,
        metrics: PrometheusHandle,
        inbox: Inbox,
        stop: CancellationToken,
    ) -> Result<(), std::io::Error> {
        let ready = move || {
            let health = health.clone();
            async move {
                match health.ready() {
                    Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
                    Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
                }
            }
        };
        let scrape = move || {
            let metrics = metrics.clone();
            async move {
                metrics.run_upkeep();
                metrics.render()
            }
        };
        let pages = Router::new()
            .route("/livez", get(|| async { "alive\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(scrape))
            .merge(inbox.page());
        let listener = BoundedListener::new(self.listener, BOUNDS);
        let pages = pages.into_make_service_with_connect_info::<Lifetime>();
        axum::serve(listener, pages).with_graceful_shutdown(stop.cancelled_owned()).await
    }
}
