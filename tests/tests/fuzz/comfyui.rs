//! ComfyUI's answers and websocket messages, taken as far as a worker takes them. Binary frames are not
//! decoded by anybody.

use std::collections::BTreeMap;

use schemas::workflow::files::Files;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tests::fuzz::corpus;
use worker_local::comfy::graph::Source;
use worker_local::comfy::message::Message;
use worker_local::comfy::wire::{
    End, History, HistoryEntry, PromptAnswer, Queue, SystemStats, Uploaded, item_client, item_id,
};
use worker_local::comfy::{discovery, errors, lookup, outputs, python_json};

use crate::target::{self, Target};

fn read<T: DeserializeOwned>(bytes: &[u8], then: impl FnOnce(T)) -> bool {
    python_json::from_slice(bytes).map(then).is_ok()
}

fn prompt(bytes: &[u8]) -> bool {
    read(bytes, |answer: PromptAnswer| {
        let _ = errors::refused(&answer, Source::Workflow, &|_, _| false);
        let _ = errors::refused(&answer, Source::Template, &|_, _| true);
    })
}

fn queue(bytes: &[u8]) -> bool {
    read(bytes, |queue: Queue| {
        let _ = lookup::in_queue(&queue, "x");
        for item in queue.queue_running.iter().chain(&queue.queue_pending) {
            let _ = (item_id(item), item_client(item));
        }
    })
}

fn history(bytes: &[u8]) -> bool {
    read(bytes, |history: History| history.0.values().for_each(ended))
}

fn ended(entry: &HistoryEntry) {
    let _ = (outputs::files(&entry.outputs, false), outputs::files(&entry.outputs, true));
    if let End::Error(error) = entry.end() {
        let _ = errors::raised(&error, Source::Workflow);
        let _ = errors::raised(&error, Source::Template);
    }
}

fn object_info(bytes: &[u8]) -> bool {
    read(bytes, |info: Value| {
        let abilities = discovery::abilities(&info);
        // The same bytes as a graph: whatever it is, it is checked and spelled without a panic.
        let mut graph = info;
        let files = Files {
            own: BTreeMap::from([("photo.png", "argosy/a/0-photo.png".to_owned())]),
            server: &|name| name == "server.png",
            uses: &|class, input| abilities.use_of(class, input),
            uploads: Some("argosy"),
        };
        let _ = files.rewrite(&mut graph);
        abilities.spell(&mut graph);
    })
}

fn system_stats(bytes: &[u8]) -> bool {
    read(bytes, |stats: SystemStats| {
        let gpus = discovery::devices(&stats);
        let _ = discovery::classes(&policy::defaults::catalog(), &"local".parse().expect("a name"), &gpus);
    })
}

fn uploaded(bytes: &[u8]) -> bool {
    read(bytes, |uploaded: Uploaded| drop(uploaded.reference()))
}

fn frame(bytes: &[u8]) -> bool {
    let Ok(message) = Message::decode(&String::from_utf8_lossy(bytes)) else { return false };
    let _ = message.prompt();
    if let Message::Failed(error) = &message {
        let _ = errors::raised(error, Source::Template);
    }
    true
}

/// What Python writes and JSON does not know.
const PYTHON: [&str; 4] = [
    r#"{"a": NaN, "b": [Infinity, -Infinity, -0.0], "c": {"1": 1, "1": 2}}"#,
    r#"["\ud800", "\udfff\ud83d\ude00", "x\\\udce9\"", 1e+400, 1.7976931348623157e+308]"#,
    r#"{"id": {"outputs": {"9": {"images": [{"filename": "\udce9.png"}], "score": [NaN]}}, "status": {"messages": [NaN]}}}"#,
    r#"[[[[[[{"a": [[[[[[Infinity]]]]]]}]]]]]]"#,
];

/// What strict JSON is reads alike; everything else is read or refused.
fn python(bytes: &[u8]) -> bool {
    let read = python_json::from_slice::<Value>(bytes);
    if let Ok(strict) = serde_json::from_slice::<Value>(bytes) {
        assert!(read.as_ref().is_ok_and(|read| *read == strict), "{read:?}");
    }
    if let Ok(value) = &read {
        let again = serde_json::to_vec(value).expect("plain data");
        assert!(serde_json::from_slice::<Value>(&again).is_ok(), "what was read is plain JSON");
    }
    read.is_ok()
}

#[test]
fn answers() {
    target::run(vec![
        Target::new("comfyui prompt", corpus::recorded("/prompt"), prompt),
        Target::new("comfyui queue", corpus::recorded("/queue"), queue),
        Target::new("comfyui history", corpus::recorded("/history"), history),
        Target::new("comfyui object info", corpus::recorded("/object_info"), object_info),
        Target::new("comfyui system stats", corpus::recorded("/system_stats"), system_stats),
        Target::new("comfyui upload", corpus::recorded("/upload"), uploaded),
        Target::new("comfyui python", PYTHON, python),
        Target::new("comfyui websocket", corpus::recorded("ws"), frame),
    ]);
}
