//! What a simulated ComfyUI has installed: nodes and model files, and how `/object_info` describes them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

const NODES: &str = include_str!("nodes.txt");

const SAMPLERS: &[&str] = &[
    "euler",
    "euler_cfg_pp",
    "euler_ancestral",
    "heun",
    "dpm_2",
    "dpm_2_ancestral",
    "lms",
    "dpm_fast",
    "dpmpp_2s_ancestral",
    "dpmpp_sde",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "dpmpp_3m_sde",
    "ddpm",
    "lcm",
    "ipndm",
    "deis",
    "res_multistep",
    "gradient_estimation",
    "er_sde",
    "sa_solver",
    "ddim",
    "uni_pc",
    "uni_pc_bh2",
];
const SCHEDULERS: &[&str] = &[
    "simple",
    "sgm_uniform",
    "karras",
    "exponential",
    "ddim_uniform",
    "beta",
    "normal",
    "linear_quadratic",
    "kl_optimal",
];

/// Folders of `/models`, in the server's order.
const FOLDERS: &[&str] = &[
    "checkpoints",
    "configs",
    "loras",
    "vae",
    "text_encoders",
    "diffusion_models",
    "clip_vision",
    "style_models",
    "embeddings",
    "diffusers",
    "vae_approx",
    "controlnet",
    "gligen",
    "upscale_models",
    "custom_nodes",
    "hypernetworks",
    "photomaker",
    "classifiers",
    "model_patches",
    "audio_encoders",
];

/// Model files by folder.
pub type Models = BTreeMap<String, Vec<String>>;

/// The models that the common workflows need (SD 1.5, SDXL, Flux, Wan 2.1).
pub fn default_models() -> Models {
    let files: &[(&str, &[&str])] = &[
        (
            "checkpoints",
            &[
                "flux1-dev-fp8.safetensors",
                "flux1-schnell-fp8.safetensors",
                "sd_xl_base_1.0.safetensors",
                "sd_xl_refiner_1.0.safetensors",
                "v1-5-pruned-emaonly-fp16.safetensors",
                "v1-5-pruned-emaonly.safetensors",
            ],
        ),
        ("loras", &["lcm-lora-sdv1-5.safetensors", "sd_xl_offset_example-lora_1.0.safetensors"]),
        (
            "vae",
            &[
                "ae.safetensors",
                "sdxl_vae.safetensors",
                "vae-ft-mse-840000-ema-pruned.safetensors",
                "wan_2.1_vae.safetensors",
            ],
        ),
        (
            "text_encoders",
            &[
                "clip_l.safetensors",
                "t5xxl_fp16.safetensors",
                "t5xxl_fp8_e4m3fn.safetensors",
                "umt5_xxl_fp16.safetensors",
                "umt5_xxl_fp8_e4m3fn_scaled.safetensors",
            ],
        ),
        (
            "diffusion_models",
            &[
                "flux1-dev.safetensors",
                "flux1-schnell.safetensors",
                "wan2.1_i2v_480p_14B_fp16.safetensors",
                "wan2.1_t2v_1.3B_fp16.safetensors",
                "wan2.1_t2v_14B_fp16.safetensors",
            ],
        ),
        ("clip_vision", &["clip_vision_h.safetensors"]),
        ("controlnet", &["control_v11p_sd15_canny.safetensors"]),
        ("upscale_models", &["RealESRGAN_x4plus.pth"]),
    ];
    files
        .iter()
        .map(|(folder, names)| ((*folder).to_owned(), names.iter().map(|n| (*n).to_owned()).collect()))
        .collect()
}

/// What an input accepts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// Only a link, of this type.
    Link(String),
    Int {
        default: i128,
        min: i128,
        max: i128,
        step: Option<i128>,
    },
    Float {
        default: f64,
        min: f64,
        max: f64,
        step: Option<f64>,
    },
    Text {
        default: Option<String>,
    },
    Bool {
        default: bool,
    },
    Choice(Vec<String>),
    /// A file of the input folder.
    InputFile,
}

#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(crate) name: String,
    pub(crate) required: bool,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) class: String,
    category: String,
    display: String,
    pub(crate) output_node: bool,
    v3: bool,
    pub(crate) inputs: Vec<Input>,
    pub(crate) outputs: Vec<String>,
}

/// Nodes by class, and the model files their lists show.
#[derive(Debug, Clone)]
pub(crate) struct Catalog {
    nodes: BTreeMap<String, Node>,
    models: Models,
}

impl Catalog {
    pub(crate) fn new(models: &Models, acceptance_nodes: bool) -> Self {
        let nodes = NODES
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .filter_map(|line| parse(line, models, acceptance_nodes))
            .map(|node| (node.class.clone(), node))
            .collect();
        Self { nodes, models: models.clone() }
    }

    /// The same without some node classes.
    pub(crate) fn without(&self, lacking: &[&str]) -> Self {
        let mut catalog = self.clone();
        catalog.nodes.retain(|class, _| !lacking.contains(&class.as_str()));
        catalog
    }

    pub(crate) fn node(&self, class: &str) -> Option<&Node> {
        self.nodes.get(class)
    }

    pub(crate) fn folders(&self) -> &'static [&'static str] {
        FOLDERS
    }

    /// Files of a model folder; `None` for a folder that does not exist. The old names still work.
    pub(crate) fn files(&self, folder: &str) -> Option<&[String]> {
        let folder = match folder {
            "unet" => "diffusion_models",
            "clip" => "text_encoders",
            other => other,
        };
        FOLDERS.contains(&folder).then(|| self.models.get(folder).map_or(&[][..], Vec::as_slice))
    }

    /// `/object_info`, or one class of it. `images` are the files of the input folder.
    pub(crate) fn describe(&self, class: Option<&str>, images: &[String]) -> Value {
        let wanted = self.nodes.values().filter(|node| class.is_none_or(|class| class == node.class));
        wanted.map(|node| (node.class.clone(), node.describe(images))).collect::<Map<_, _>>().into()
    }
}

impl Node {
    fn describe(&self, images: &[String]) -> Value {
        let group = |required: bool| self.inputs.iter().filter(move |input| input.required == required);
        let mut input = Map::new();
        let mut order = Map::new();
        for (name, required) in [("required", true), ("optional", false)] {
            if required || group(required).next().is_some() {
                let specs: Map<_, _> = group(required)
                    .map(|input| (input.name.clone(), input.kind.spec(self.v3, images)))
                    .collect();
                input.insert(name.to_owned(), specs.into());
                let names: Vec<_> = group(required).map(|input| input.name.clone()).collect();
                order.insert(name.to_owned(), names.into());
            }
        }
        json!({
            "input": input, "input_order": order, "output": self.outputs, "output_name": self.outputs,
            "output_is_list": vec![false; self.outputs.len()], "name": self.class, "display_name": self.display,
            "description": "", "python_module": "nodes", "category": self.category, "output_node": self.output_node,
        })
    }
}

impl Kind {
    /// The type's name, as links and errors use it.
    pub(crate) fn type_name(&self) -> &str {
        match self {
            Self::Link(name) => name,
            Self::Int { .. } => "INT",
            Self::Float { .. } => "FLOAT",
            Self::Text { .. } => "STRING",
            Self::Bool { .. } => "BOOLEAN",
            Self::Choice(_) | Self::InputFile => "COMBO",
        }
    }

    /// Type and options, as errors repeat them: always a pair.
    pub(crate) fn config(&self) -> Value {
        match self {
            Self::Choice(options) => json!([options, {}]),
            other => json!([other.type_name(), other.options()]),
        }
    }

    fn spec(&self, v3: bool, images: &[String]) -> Value {
        match self {
            Self::Choice(options) if v3 => json!(["COMBO", {"multiselect": false, "options": options}]),
            Self::Choice(options) => json!([options]),
            Self::InputFile => json!([images, {"image_upload": true}]),
            Self::Link(name) => json!([name]),
            other => json!([other.type_name(), other.options()]),
        }
    }

    fn options(&self) -> Value {
        let stepped = |mut options: Value, step: Option<Value>| {
            if let Some(step) = step {
                options["step"] = step;
            }
            options
        };
        let int = |value: i128| {
            Value::from(value as i64)
                .as_i64()
                .filter(|v| i128::from(*v) == value)
                .map_or_else(|| Value::from(value as u64), Value::from)
        };
        match self {
            Self::Int { default, min, max, step } => {
                stepped(json!({"default": int(*default), "min": int(*min), "max": int(*max)}), step.map(int))
            }
            Self::Float { default, min, max, step } => {
                stepped(json!({"default": default, "min": min, "max": max}), step.map(Value::from))
            }
            Self::Text { default: Some(text) } => json!({"default": text}),
            Self::Text { default: None } => json!({"multiline": true}),
            Self::Bool { default } => json!({"default": default}),
            Self::Link(_) | Self::Choice(_) | Self::InputFile => json!({}),
        }
    }
}

fn parse(line: &str, models: &Models, acceptance_nodes: bool) -> Option<Node> {
    let fields: Vec<&str> = line.split('|').collect();
    let [class, category, display, flags, required, optional, outputs] = fields[..] else { return None };
    let flag = |name: &str| flags.split(' ').any(|flag| flag == name);
    if flag("test") && !acceptance_nodes {
        return None;
    }
    let inputs = [(required, true), (optional, false)]
        .into_iter()
        .flat_map(|(list, required)| {
            list.split(' ').filter(|part| !part.is_empty()).map(move |part| (part, required))
        })
        .filter_map(|(part, required)| {
            let (name, kind) = part.split_once(':')?;
            Some(Input { name: name.to_owned(), required, kind: parse_kind(kind, models)? })
        })
        .collect();
    Some(Node {
        class: class.to_owned(),
        category: category.to_owned(),
        display: display.to_owned(),
        output_node: flag("out"),
        v3: flag("v3"),
        inputs,
        outputs: outputs.split_whitespace().map(str::to_owned).collect(),
    })
}

fn parse_kind(text: &str, models: &Models) -> Option<Kind> {
    let owned = |list: &[&str]| list.iter().map(|item| (*item).to_owned()).collect();
    if let Some(list) = text.strip_prefix('@') {
        return Some(match list {
            "images" => Kind::InputFile,
            "samplers" => Kind::Choice(owned(SAMPLERS)),
            "schedulers" => Kind::Choice(owned(SCHEDULERS)),
            folder => Kind::Choice(models.get(folder).cloned().unwrap_or_default()),
        });
    }
    if let Some(list) = text.strip_prefix('[') {
        return Some(Kind::Choice(list.trim_end_matches(']').split(',').map(str::to_owned).collect()));
    }
    let (name, arguments) = text.split_once('(').unwrap_or((text, ""));
    let arguments: Vec<&str> = arguments.trim_end_matches(')').split(',').collect();
    let int = |at: usize| arguments.get(at).and_then(|text| text.parse::<i128>().ok());
    let float = |at: usize| arguments.get(at).and_then(|text| text.parse::<f64>().ok());
    Some(match name {
        "INT" => Kind::Int { default: int(0)?, min: int(1)?, max: int(2)?, step: int(3) },
        "FLOAT" => Kind::Float { default: float(0)?, min: float(1)?, max: float(2)?, step: float(3) },
        "STRING" => Kind::Text { default: text.contains('(').then(|| arguments[0].to_owned()) },
        "BOOLEAN" => Kind::Bool { default: arguments[0] == "true" },
        link => Kind::Link(link.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_node_and_every_input_has_a_kind() {
        let catalog = Catalog::new(&default_models(), true);
        let lines = NODES.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        for line in lines {
            let class = line.split('|').next().unwrap();
            let node = catalog.node(class).unwrap_or_else(|| panic!("{class} does not parse"));
            let wanted =
                line.split('|').skip(4).take(2).flat_map(|l| l.split(' ')).filter(|p| !p.is_empty()).count();
            assert_eq!(node.inputs.len(), wanted, "{class}");
        }
    }
}
