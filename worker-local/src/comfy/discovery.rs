//! What a server can do: node classes, model files, memory.

use std::collections::BTreeSet;

use schemas::{Backend, Catalog, Class, Gpu};
use serde_json::Value;

use crate::comfy::wire::SystemStats;

/// Endings by which a list of options is known to be one of model files.
const MODEL_ENDINGS: [&str; 7] = [".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".gguf", ".bin"];

/// What `/object_info` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Node classes.
    pub nodes: BTreeSet<String>,
    /// Model files, as the nodes that load them name them.
    pub models: BTreeSet<String>,
}

/// Reads `/object_info`. Model files are the options of the nodes' inputs: a file that no node offers
/// cannot be used, so `/models/*` would say nothing more.
#[must_use]
pub fn abilities(object_info: &Value) -> Abilities {
    let mut abilities = Abilities::default();
    for (class, info) in object_info.as_object().into_iter().flatten() {
        abilities.nodes.insert(class.clone());
        let groups =
            info.get("input").and_then(Value::as_object).into_iter().flat_map(|input| input.values());
        for input in groups.filter_map(Value::as_object).flat_map(|group| group.values()) {
            let files = options(input).into_iter().flatten().filter_map(Value::as_str);
            abilities.models.extend(files.filter(|name| is_model_file(name)).map(str::to_owned));
        }
    }
    abilities
}

/// The options of an input, old style `[[…], {…}]` or new style `["COMBO", {"options": […]}]`.
fn options(input: &Value) -> Option<&Vec<Value>> {
    input.get(0)?.as_array().or_else(|| input.get(1)?.get("options")?.as_array())
}

fn is_model_file(name: &str) -> bool {
    MODEL_ENDINGS.iter().any(|ending| name.to_ascii_lowercase().ends_with(ending))
}

/// The server's devices as GPUs, where no driver tells more. A CPU's memory is the machine's.
#[must_use]
pub fn devices(stats: &SystemStats) -> Vec<Gpu> {
    let gpu = |device: &crate::comfy::wire::Device| Gpu {
        name: device.name.clone(),
        vram_total_bytes: device.vram_total,
        vram_free_bytes: device.vram_free,
        utilisation_percent: None,
        temperature_celsius: None,
        power_mw: None,
        energy_mj: None,
    };
    stats.devices.iter().map(gpu).collect()
}

/// The catalog's classes of a backend that fit into the memory of the GPU in use, which is the first.
#[must_use]
pub fn classes(catalog: &Catalog, backend: &Backend, gpus: &[Gpu]) -> Vec<Class> {
    let vram_bytes = gpus.first().map_or(0, |gpu| gpu.vram_total_bytes);
    let fits = |class: &Class| catalog.class(class).is_some_and(|spec| spec.vram_bytes <= vram_bytes);
    catalog.services_of(backend).map(|service| service.class.clone()).filter(fits).collect()
}
