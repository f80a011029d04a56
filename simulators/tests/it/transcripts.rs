//! The simulated ComfyUI against transcripts of a real one: statuses, bodies, and the order and kinds of messages.

use std::collections::BTreeSet;

use crate::replay::{Scope, folder, replay};
use crate::tokens::Strictness;

const EXACT: Scope = Scope { strictness: Strictness::Exact, until: None, skip: &[], shapes: false };
/// Something happens in the middle of a node.
const LOOSE: Scope = Scope { strictness: Strictness::Progress, ..EXACT };
/// More than one output node.
const BRANCHES: Scope = Scope { strictness: Strictness::Branches, ..EXACT };

macro_rules! transcripts {
    ($($name:ident: $scope:expr;)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            replay(stringify!($name), $scope).await;
        })*

        /// Transcripts that are replayed, by name.
        const COVERED: &[&str] = &[$(stringify!($name)),*];
    };
}

transcripts! {
    cached_rerun: BRANCHES;
    client_supplied_prompt_id: EXACT;
    delete_pending: EXACT;
    empty_prompt: EXACT;
    error_bad_value: EXACT;
    error_missing_input: EXACT;
    // From line 5 on, a broken checkpoint is put onto the disk: the simulator loads none.
    error_missing_model: Scope { until: Some(5), ..EXACT };
    error_unknown_node: EXACT;
    feature_flags: EXACT;
    history_api: EXACT;
    interrupt_no_client_id: LOOSE;
    interrupt_running: LOOSE;
    interrupt_uninterruptible: LOOSE;
    malformed_json: Scope { skip: &[19, 20, 21], ..EXACT };
    // Lines 5 and 6 are routes under /experiment, 7 and 8 read metadata out of model files.
    models_list: Scope { until: Some(5), ..EXACT };
    no_client_id: EXACT;
    ok_image: EXACT;
    ok_text_output: BRANCHES;
    // 37 and 38 view previews, whose names differ from start to start.
    ok_two_outputs: Scope { skip: &[37, 38], ..BRANCHES };
    partly_invalid: EXACT;
    progress_ksampler_no_preview: EXACT;
    progress_slow: EXACT;
    queue_order: EXACT;
    queued_two_jobs: EXACT;
    // Line 5 counts front-end extensions.
    system_stats: Scope { until: Some(5), shapes: true, ..EXACT };
    two_clients: EXACT;
    // 16 to 18 are hand-made multipart headers; from 48 on it is about masks.
    upload_image: Scope { skip: &[16, 17, 18], until: Some(48), ..BRANCHES };
    // Conversions (`preview`, `channel`), ranges and conditional requests are not simulated.
    view_image: Scope { skip: &[5, 6, 7, 8, 9, 11, 12], ..EXACT };
    ws_duplicate_client_id: LOOSE;
    ws_reconnect_midjob: LOOSE;
}

/// Transcripts that are not replayed, and why.
const NOT_COVERED: &[(&str, &str)] = &[
    (
        "body_too_large",
        "recorded on a server with another limit; the default of 100 MB is enforced by the framework",
    ),
    (
        "duplicate_prompt_id",
        "history is looked up by an id that two jobs share, which the replay cannot tell apart",
    ),
    ("error_at_execution", "starts with a regular-expression node; the rest is in comfyui_faults"),
    (
        "free_memory",
        "whether /free takes effect before or after the next job starts is a race in the real server",
    ),
    (
        "object_info_subset",
        "descriptions differ where the transcripts leave texts out; lists are in comfyui_faults",
    ),
    ("ok_media_outputs", "needs WebM, animated PNG and audio; MP4 and WebP are in comfyui_faults"),
    ("ok_websocket_image", "a node that no workflow of ours uses"),
    ("progress_ksampler", "previews are PNG, not JPEG, so the frames differ by nature"),
    ("progress_ksampler_preview_metadata", "as progress_ksampler"),
    ("races", "counts only"),
    ("server_killed_midjob_and_restarted", "a kill, not a request; the restart is in comfyui_faults"),
    ("server_terminated", "signals, not requests"),
    (
        "ws_connect_after_submit",
        "what the late socket still hears is a matter of time; ws_reconnect_midjob is not",
    ),
    (
        "ws_reconnect_after_job",
        "the transcript closes its socket before a history that it waits for only by time",
    ),
];

#[test]
fn every_transcript_is_covered_or_has_a_reason() {
    let listed: BTreeSet<String> =
        COVERED.iter().copied().chain(NOT_COVERED.iter().map(|(name, _)| *name)).map(str::to_owned).collect();
    let files = std::fs::read_dir(folder()).expect("the transcripts are in the repository");
    let found: BTreeSet<String> = files
        .filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.strip_suffix(".jsonl")?.to_owned()))
        .collect();
    assert_eq!(listed, found);
    assert_eq!(COVERED.len() + NOT_COVERED.len(), found.len(), "listed once each");
}
