//! What a server can do: node classes, what their inputs are, model files, memory.

use std::collections::{BTreeMap, BTreeSet};

use schemas::workflow::files::{InputUse, use_by_table};
use schemas::workflow::needs::file_name;
use schemas::workflow::nodes::{self, FileUse};
use schemas::{Backend, Catalog, Class, Gpu};
use serde_json::Value;

use crate::comfy::wire::SystemStats;

/// Endings by which a list of options is known to be one of model files.
const MODEL_ENDINGS: [&str; 7] = [".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".gguf", ".bin"];
/// Options of an input by which its node takes uploads.
const UPLOAD_FLAGS: [&str; 7] = [
    "image_upload",
    "animated_image_upload",
    "video_upload",
    "audio_upload",
    "file_upload",
    "image_folder",
    "upload",
];
/// Options of an input by which it is a path of the server's disk.
const PATH_FLAGS: [&str; 1] = ["vhs_path_extensions"];
/// Where a server lists the files of its input, output and temporary folder.
const FILES_ROUTE: &str = "/internal/files/";

/// What `/object_info` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Node classes.
    pub nodes: BTreeSet<String>,
    /// Everything that can be chosen where model files are chosen, with `/` between folder and name.
    pub models: BTreeSet<String>,
    /// Inputs that are choices of model files, by node class, beyond the table of well-known nodes.
    pub file_choices: BTreeMap<String, BTreeSet<String>>,
    /// Node classes that leave something: files or texts.
    pub outputs: BTreeSet<String>,
    /// Inputs that name other files or are words, by node class and name, beyond that table.
    uses: BTreeMap<String, BTreeMap<String, InputUse>>,
    /// Model files that the server spells in another way: with a backslash, on Windows.
    spellings: BTreeMap<String, String>,
}

impl Abilities {
    /// What an input is for: what the server says where it says so, else what is known of its class.
    #[must_use]
    pub fn use_of(&self, class: &str, input: &str) -> InputUse {
        let said = self.uses.get(class).and_then(|inputs| inputs.get(input)).copied();
        match (use_by_table(class, input), said) {
            (InputUse::Other, Some(said)) => said,
            (known, _) => known,
        }
    }

    /// An input is a choice of model files.
    #[must_use]
    pub fn is_file_choice(&self, class: &str, input: &str) -> bool {
        nodes::model_inputs(class).is_some_and(|inputs| inputs.contains(&input))
            || self.file_choices.get(class).is_some_and(|inputs| inputs.contains(input))
    }

    /// Spells the model files of a graph as the server does: a workflow from a Windows machine has backslashes.
    pub fn spell(&self, graph: &mut Value) {
        for node in graph.as_object_mut().into_iter().flat_map(|nodes| nodes.values_mut()) {
            let class = node.get("class_type").and_then(Value::as_str).unwrap_or_default().to_owned();
            let inputs = node.get_mut("inputs").and_then(Value::as_object_mut);
            for (input, value) in inputs.into_iter().flatten() {
                if let Value::String(text) = value
                    && self.is_file_choice(&class, input)
                {
                    let name = file_name(text);
                    *text = self.spellings.get(&name).cloned().unwrap_or(name);
                }
            }
        }
    }
}

/// Reads `/object_info`. Model files are the options of the nodes' inputs: a file that no node offers
/// cannot be used, so `/models/*` would say nothing more.
#[must_use]
pub fn abilities(object_info: &Value) -> Abilities {
    let mut abilities = Abilities::default();
    let input_files = input_files(object_info);
    for (class, input, spec) in inputs(object_info) {
        let is_choice =
            options(spec).is_some_and(|options| options.iter().filter_map(Value::as_str).any(is_model_file));
        if is_choice && nodes::file_use(class, input).is_none() && flagged(spec).is_none() {
            for option in options(spec).into_iter().flatten().filter_map(Value::as_str) {
                let name = file_name(option);
                if name != option {
                    abilities.spellings.insert(name.clone(), option.to_owned());
                }
                abilities.models.insert(name);
            }
            if !nodes::model_inputs(class).is_some_and(|inputs| inputs.contains(&input)) {
                abilities.file_choices.entry(class.to_owned()).or_default().insert(input.to_owned());
            }
        } else if let Some(used) = use_of(spec, &input_files) {
            abilities.uses.entry(class.to_owned()).or_default().insert(input.to_owned(), used);
        }
    }
    let leaves = |info: &Value| info.get("output_node").and_then(Value::as_bool) == Some(true);
    let classes = || object_info.as_object().into_iter().flatten();
    abilities.outputs.extend(classes().filter(|(_, info)| leaves(info)).map(|(class, _)| class.clone()));
    abilities.nodes.extend(classes().map(|(class, _)| class.clone()));
    abilities
}

/// Every input of every class: class, name, and how the server describes it.
fn inputs(object_info: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    object_info.as_object().into_iter().flatten().flat_map(|(class, info)| {
        let groups =
            info.get("input").and_then(Value::as_object).into_iter().flat_map(|input| input.values());
        let inputs = groups.filter_map(Value::as_object).flatten();
        inputs.map(move |(input, spec)| (class.as_str(), input.as_str(), spec))
    })
}

/// What an input is for by its own description, if it says.
fn use_of(spec: &Value, input_files: &BTreeSet<&str>) -> Option<InputUse> {
    if let Some(file) = flagged(spec) {
        return Some(InputUse::File(file));
    }
    if let Some(options) = options(spec) {
        // A node that lists the input folder without saying so.
        let lists = options.iter().filter_map(Value::as_str).any(|option| input_files.contains(option));
        return lists.then_some(InputUse::File(FileUse::Upload));
    }
    let is_words = spec.get(0).and_then(Value::as_str) == Some("STRING")
        && spec.pointer("/1/multiline").and_then(Value::as_bool) == Some(true);
    is_words.then_some(InputUse::Words)
}

/// The kind of file that an input's options say it names.
fn flagged(spec: &Value) -> Option<FileUse> {
    let options = spec.get(1)?.as_object()?;
    let has = |flags: &[&str]| {
        flags.iter().any(|flag| {
            options.get(*flag).is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false)))
        })
    };
    let route = options.get("remote").and_then(|remote| remote.get("route")).and_then(Value::as_str);
    if has(&UPLOAD_FLAGS) || route.is_some_and(|route| route.contains(FILES_ROUTE)) {
        return Some(FileUse::Upload);
    }
    has(&PATH_FLAGS).then_some(FileUse::Path)
}

/// Files of the server's input folder, as far as inputs that take uploads list them.
fn input_files(object_info: &Value) -> BTreeSet<&str> {
    inputs(object_info)
        .filter(|(class, input, spec)| {
            nodes::file_use(class, input) == Some(FileUse::Upload) || flagged(spec) == Some(FileUse::Upload)
        })
        .flat_map(|(_, _, spec)| options(spec).into_iter().flatten().filter_map(Value::as_str))
        .filter(|name| name.contains('.'))
        .collect()
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
