//! What can be made, where, and with which model: the key `catalog` of the `CONFIG` bucket.
//!
//! Model ids, sizes, durations and retirement dates are data here and appear in no code.

mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::workflow::{Requirements, WorkflowError, requirements};
use crate::{Backend, Class, Kind, Usage};

pub use self::template::frames;

/// Everything the fleet can make.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// The resource classes.
    pub classes: Vec<ClassSpec>,
    /// The models a job may name.
    pub models: Vec<Model>,
    /// The model of a prompt that names none, by kind.
    pub default_models: BTreeMap<Kind, String>,
    /// The class of a workflow whose files are in no model, by kind.
    pub default_classes: BTreeMap<Kind, Class>,
    /// Who makes what.
    pub services: Vec<Service>,
    /// Files of the ComfyUI servers' input folders that every job may use without bringing them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub server_inputs: BTreeSet<String>,
}

/// What a job needs of a machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClassSpec {
    /// Its name.
    pub class: Class,
    /// What it makes.
    pub kind: Kind,
    /// GPU memory it needs, bytes.
    pub vram_bytes: u64,
}

/// A model family that a job may name, and how a prompt becomes a workflow for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Its name in `body.model`.
    pub model: String,
    /// What it needs.
    pub class: Class,
    /// Its files as ComfyUI names them. A workflow that uses one of them is of this class.
    pub files: Vec<String>,
    /// Pixels, where a job does not say.
    pub width: u32,
    /// Pixels, where a job does not say.
    pub height: u32,
    /// Sampling steps, where a job does not say.
    pub steps: u32,
    /// Length of a video, where a job does not say, milliseconds; 0 for images.
    #[serde(default)]
    pub duration_ms: u32,
    /// The API-format workflow that a prompt is put into; see [`Model::render`].
    pub template: serde_json::Value,
    /// What the template asks of a server; no part of the document.
    #[serde(skip)]
    #[schemars(skip)]
    pub needs: Needs,
}

/// What a template asks of a server: read when first asked for, and remembered.
#[derive(Debug, Clone, Default)]
pub struct Needs(OnceLock<Result<Arc<Requirements>, WorkflowError>>);

impl PartialEq for Needs {
    /// It follows from the template.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Model {
    /// What a prompt for this model asks of a ComfyUI server: what its template does. Nothing without one.
    ///
    /// # Errors
    /// The template is no workflow.
    pub fn requirements(&self) -> Result<Arc<Requirements>, WorkflowError> {
        let read = || {
            if self.template.is_object() { requirements(&self.template) } else { Ok(Requirements::default()) }
        };
        self.needs.0.get_or_init(|| read().map(Arc::new)).clone()
    }
}

/// One backend's way of making one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Where.
    pub backend: Backend,
    /// What.
    pub class: Class,
    /// The model's id at the provider, which is also the price list's; for ComfyUI the GPU class.
    pub model: String,
    /// The protocol family at the provider: `comfyui`, `serverless`, `generate_content`, `interactions`.
    pub family: String,
    /// It takes prompts.
    pub prompts: bool,
    /// It takes ComfyUI workflows.
    pub workflows: bool,
    /// It takes input files.
    pub inputs: bool,
    /// What an attempt is expected to use.
    #[serde(default)]
    pub expected_usage: Vec<Usage>,
    /// The most an attempt can use; this is reserved.
    #[serde(default)]
    pub maximum_usage: Vec<Usage>,
    /// The provider stops the work when the reserved money is used up (we tell it the time), so a
    /// reservation may be smaller than the maximum.
    #[serde(default)]
    pub stops_at_reservation: bool,
    /// Start-up before the work, milliseconds, where nothing is learned.
    pub startup_ms: u64,
    /// The work itself, milliseconds, where nothing is learned.
    pub expected_ms: u64,
    /// The longest an attempt may take in all, milliseconds.
    pub timeout_ms: u64,
    /// When the provider turns the model off, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retires_at_ms: Option<i64>,
}

impl Catalog {
    /// The model by name.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.model == name)
    }

    /// The class by name.
    #[must_use]
    pub fn class(&self, class: &Class) -> Option<&ClassSpec> {
        self.classes.iter().find(|spec| spec.class == *class)
    }

    /// How a backend makes a class.
    #[must_use]
    pub fn service(&self, backend: &Backend, class: &Class) -> Option<&Service> {
        self.services.iter().find(|service| service.backend == *backend && service.class == *class)
    }

    /// Everything a backend makes.
    pub fn services_of<'a>(&'a self, backend: &'a Backend) -> impl Iterator<Item = &'a Service> {
        self.services.iter().filter(move |service| service.backend == *backend)
    }
}
