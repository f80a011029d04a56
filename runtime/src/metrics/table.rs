//! The table of all metrics. To add one, add a row here, emit it through its handle, and run
//! `UPDATE_GOLDEN=1 cargo test -p runtime --lib metrics`; tests fail where a row is not emitted anywhere.

use super::{Counter, Emitter, Entry, Gauge, Histogram, Kind};

macro_rules! table {
    ($($kind:ident $handle:ident, $name:literal, $emitter:ident, $unit:literal, [$($label:literal),*], $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $handle: $kind<{ <[&str]>::len(&[$($label),*]) }> = $kind(Entry {
                kind: Kind::$kind,
                handle: stringify!($handle),
                name: $name,
                emitter: Emitter::$emitter,
                unit: $unit,
                labels: &[$($label),*],
                help: $help,
            });
        )*

        /// All metrics.
        pub static TABLE: &[&Entry] = &[$(&$handle.0),*];
    };
}

table! {
    Gauge CONFIG_REFUSED, "argosy_config_refused", All, "0 or 1", ["document"],
        "1 while the newest revision of this configuration document is refused, an earlier one is used and nothing new is paid, else 0.";
    Gauge CLOCK_SKEW, "argosy_clock_skew_seconds", All, "seconds", [],
        "How far the clock of this machine is ahead of the broker's; the process corrects it.";
    Counter PROVIDER_REQUESTS, "argosy_provider_requests_total", PaidWorkers, "requests", ["provider", "call", "status"],
        "HTTP requests to a paid provider, by call and by the status of the answer; status 0 is no answer.";

    Counter ROUTER_ASSIGNED, "argosy_router_assigned_total", Router, "attempts", ["backend"],
        "Attempts that were placed at a backend.";
    Counter ROUTER_DEFERRED, "argosy_router_deferred_total", Router, "jobs", [],
        "Times that a job had to wait because no backend had room for it.";
    Counter ROUTER_DISPOSITIONS, "argosy_router_dispositions_total", Router, "attempts", ["code", "disposition"],
        "Failed attempts, by failure code and by what was decided: retry, failover or an end.";
    Counter ROUTER_DUPLICATES, "argosy_router_duplicates_total", Router, "jobs", [],
        "Jobs that repeat an idempotency key with the same content, and therefore do not run.";
    Counter ROUTER_ENDED, "argosy_router_ended_total", Router, "jobs", ["state"],
        "Ends of jobs that this router published; a completed job is ended by its worker and is not counted here.";
    Counter ROUTER_GUARDS_REMOVED, "argosy_router_guards_removed_total", Router, "entries", ["bucket"],
        "Idempotency keys and cancel requests that were removed because their jobs are over.";
    Counter ROUTER_HANDED_BACK, "argosy_router_handed_back_total", Router, "messages", ["code"],
        "Messages that were handed back to the broker for a newer router to take.";
    Gauge INPUTS_LEFT, "argosy_inputs_left_seconds", Router, "seconds", [],
        "Shortest time for which an input file of a job that waits here is still kept; infinite if none goes.";
    Counter ROUTER_INPUTS_GONE, "argosy_router_inputs_gone_total", Router, "jobs", [],
        "Jobs that ended while they waited because an input file was about to go by its age.";
    Counter ROUTER_ORPHANS, "argosy_router_orphans_total", Router, "messages", ["stream"],
        "Messages that the broker no longer delivered and that were therefore published again.";
    Gauge STALLED, "argosy_stalled_messages", Router, "messages", ["stream"],
        "Messages that the broker delivered, that nobody has in hand, and that it does not deliver again.";
    Counter ROUTER_STEPPED_DOWN, "argosy_router_stepped_down_total", Router, "requests", ["stream"],
        "Requests to the broker to choose another leader for a consumer that does not deliver again.";
    Counter ROUTER_PARKED, "argosy_router_parked_total", Router, "messages", ["code"],
        "Messages that were parked for an operator, by failure code; `argosy parked list` shows them.";
    Counter ROUTER_NOT_PARKED, "argosy_router_not_parked_total", Router, "messages", ["code"],
        "Messages that could not be parked, by failure code: the inbox is full, or their tenant's share of it is used up. Their jobs end all the same.";
    Counter ROUTER_REFUSED, "argosy_router_refused_total", Router, "jobs", ["code"],
        "Jobs that were refused at intake, by failure code.";
    Counter ROUTER_REQUESTS, "argosy_router_requests_total", Router, "requests", ["endpoint"],
        "Requests to the service `argosy.api`, by endpoint.";
    Counter ROUTER_TAKEN_BACK, "argosy_router_taken_back_total", Router, "assignments", ["backend"],
        "Waiting assignments that were taken back from a backend that does not serve them.";
    Gauge ROUTER_LEDGER_AVAILABLE, "argosy_router_ledger_available", Router, "0 or 1", [],
        "1 if the ledger answers reservations, else 0; at 0 paid backends wait.";
    Gauge BACKLOG, "argosy_backlog_jobs", Router, "jobs", ["backend", "class"],
        "Assignments that wait for a worker.";
    Gauge LANE_JOBS, "argosy_lane_jobs", Router, "jobs", ["lane"],
        "Accepted jobs that lie in a lane because no router has placed them yet.";
    Gauge LANE_OLDEST_AGE, "argosy_lane_oldest_age_seconds", Router, "seconds", ["lane"],
        "For how long the oldest job of a lane has waited; 0 if the lane is empty.";
    Gauge EVENTS_ROOM, "argosy_events_room_bytes", Router, "bytes", [],
        "Room left in the stream of events.";

    Gauge ATTEMPTS_RUNNING, "argosy_worker_attempts_running", Workers, "attempts", [],
        "Attempts that this worker has in hand.";
    Histogram ATTEMPT_RUN, "argosy_attempt_run_seconds", Workers, "seconds", ["backend", "outcome"],
        "How long attempts ran, by outcome: `completed` or a failure code.";
    Counter WORKER_UNFUNDED, "argosy_worker_unfunded_total", Workers, "attempts", [],
        "Attempts that were handed back before they started because their reservation no longer covers them.";
    Counter CLAIMS_REFUSED, "argosy_claims_refused_total", Workers, "writes", [],
        "Writes of claims that the broker refused because bucket ATTEMPTS is full; the work waits or goes on.";
    Gauge CLAIMS_ROOM, "argosy_claims_room_bytes", Workers, "bytes", [],
        "Room left in the bucket of claims, ATTEMPTS; infinite if it has no limit.";
    Counter WORKER_REPORTS, "argosy_worker_reports_total", Workers, "reports", ["kind"],
        "Reports of providers about work of unknown start: `adopted`, `late` or `twice` (the provider ran it twice).";
    Counter ARTIFACT_STORE_REFUSALS, "argosy_artifact_store_refusals_total", Workers, "results", [],
        "Times that a finished result could not be stored; it is kept and stored later.";
    Gauge ARTIFACT_STORE_ROOM, "argosy_artifact_store_room_bytes", Workers, "bytes", [],
        "Room left in the artifact store; infinite if the store has no limit.";
    Gauge ARTIFACT_STORE_DAYS, "argosy_artifact_store_room_days", Workers, "days", [],
        "How many days the room in the artifact store lasts at the present rate; infinite if it does not shrink.";

    Gauge NVML_AVAILABLE, "argosy_nvml_available", WorkerLocal, "0 or 1", [],
        "1 if the NVIDIA driver answers, else 0.";
    Gauge GPU_MEMORY_USED, "argosy_gpu_memory_used_bytes", WorkerLocal, "bytes", ["gpu"],
        "Memory of the GPU that is in use.";
    Gauge GPU_MEMORY_TOTAL, "argosy_gpu_memory_total_bytes", WorkerLocal, "bytes", ["gpu"],
        "Memory of the GPU.";
    Gauge GPU_UTILISATION, "argosy_gpu_utilisation_ratio", WorkerLocal, "ratio", ["gpu"],
        "Share of time in which the GPU was busy, 0 to 1.";
    Gauge GPU_TEMPERATURE, "argosy_gpu_temperature_celsius", WorkerLocal, "celsius", ["gpu"],
        "Temperature of the GPU.";
    Gauge GPU_POWER, "argosy_gpu_power_watts", WorkerLocal, "watts", ["gpu"],
        "Power that the GPU draws.";
    Counter GPU_ENERGY, "argosy_gpu_energy_joules_total", WorkerLocal, "joules", ["gpu"],
        "Energy that the GPU has used since its driver was loaded.";

    Counter LEDGER_EVENTS_STORED, "argosy_ledger_events_stored_total", Ledger, "events", [],
        "Events that were committed to the database.";
    Counter LEDGER_EVENTS_REPEATED, "argosy_ledger_events_repeated_total", Ledger, "events", [],
        "Events that were in the database already; a repeat changes nothing.";
    Counter LEDGER_EVENTS_PARKED, "argosy_ledger_events_parked_total", Ledger, "events", [],
        "Events that could not be read and were parked; `argosy parked list` shows them.";
    Counter LEDGER_FACTS_REMOVED, "argosy_ledger_facts_removed_total", Ledger, "events", [],
        "Booked events that left the stream of events to make room.";
    Counter LEDGER_FACTS_KEPT, "argosy_ledger_facts_kept_total", Ledger, "events", [],
        "Events that were stored again before older ones were removed: markers of ended jobs, and what is known of open jobs.";
    Counter LEDGER_JOBS_ENDED, "argosy_ledger_jobs_ended_total", Ledger, "jobs", [],
        "Jobs whose end was committed to the database.";
    Counter LEDGER_RESERVATIONS, "argosy_ledger_reservations_total", Ledger, "reservations", ["outcome"],
        "Reservations that were asked for: `granted` or `refused`.";
    Counter LEDGER_DATABASE_ERRORS, "argosy_ledger_database_errors_total", Ledger, "errors", [],
        "Errors of the database; the ledger tries again.";
    Counter LEDGER_SPANS_SUMMED, "argosy_ledger_spans_summed_total", Ledger, "spans", [],
        "Spans of time whose sums behind the views were made.";
}
