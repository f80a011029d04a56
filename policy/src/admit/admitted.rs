//! What admission finds out about a job.

use std::sync::Arc;

use schemas::Class;
use schemas::workflow::Requirements;

/// How a job says what to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// Words; a catalog template makes a workflow of them where one is needed.
    Prompt,
    /// A ComfyUI graph. A prompt beside it only describes.
    Workflow,
}

impl Form {
    /// Its token in events and SQL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Workflow => "workflow",
        }
    }
}

/// What is known of a job that may be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// What it needs of a machine.
    pub class: Class,
    /// How it says what to make.
    pub form: Form,
    /// What it needs of a ComfyUI server: the workflow's nodes and files, or the template's.
    pub requirements: Arc<Requirements>,
}
