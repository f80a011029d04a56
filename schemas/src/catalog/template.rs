//! A prompt becomes a workflow: the template of a model, filled.

use serde_json::Value;

use super::Model;
use crate::workflow::seed_of;
use crate::{Body, JobId};

impl Model {
    /// Puts a prompt into the model's template.
    ///
    /// Placeholders are whole string values: `{{prompt}}`, `{{negative_prompt}}`, `{{width}}`, `{{height}}`,
    /// `{{steps}}`, `{{seed}}`, `{{frames}}`, `{{prefix}}`. Numbers replace the string, so the graph keeps
    /// ComfyUI's types. The seed is the job's, else derived from its id: a repeat gives the same picture.
    #[must_use]
    pub fn render(&self, body: &Body, job: JobId, prefix: &str) -> Value {
        let seed = body.seed.unwrap_or_else(|| seed_of(job));
        let duration_ms = body.duration_ms.unwrap_or(self.duration_ms);
        let mut graph = self.template.clone();
        fill(&mut graph, &|name| {
            Some(match name {
                "prompt" => Value::from(body.prompt.clone().unwrap_or_default()),
                "negative_prompt" => Value::from(body.negative_prompt.clone().unwrap_or_default()),
                "width" => Value::from(body.width.unwrap_or(self.width)),
                "height" => Value::from(body.height.unwrap_or(self.height)),
                "steps" => Value::from(body.steps.unwrap_or(self.steps)),
                "seed" => Value::from(seed),
                "frames" => Value::from(frames(duration_ms)),
                "prefix" => Value::from(prefix),
                _ => return None,
            })
        });
        graph
    }
}

/// Frames at 16 a second, in the form 4n+1 that video models want.
#[must_use]
pub const fn frames(duration_ms: u32) -> u32 {
    (duration_ms / 1000 * 16 + duration_ms % 1000 * 16 / 1000) / 4 * 4 + 1
}

fn fill(value: &mut Value, lookup: &impl Fn(&str) -> Option<Value>) {
    match value {
        Value::String(text) => {
            let name = text.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
            if let Some(filled) = name.and_then(lookup) {
                *value = filled;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, lookup)),
        Value::Object(map) => map.values_mut().for_each(|item| fill(item, lookup)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
