//! What is wrong with a graph that is no workflow.

/// How deep a workflow may nest: far beyond what people draw, and far enough below
/// [`crate::codec::DEPTH_MAX`] that every message that carries the job can be read.
pub const DEPTH_MAX: usize = 64;

/// Why a graph is not a workflow that can run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkflowError {
    /// The editor's own format.
    #[error(
        "the workflow is in ComfyUI's editor format: export it with Workflow > Export (API) and send that file"
    )]
    UiFormat,
    /// Not a map of nodes.
    #[error("the workflow must be a JSON object from node id to {{\"class_type\", \"inputs\"}}")]
    NotAGraph,
    /// No node at all.
    #[error("the workflow has no nodes")]
    Empty,
    /// A node without its class.
    #[error("node `{0}` has no class_type: export the workflow again with Workflow > Export (API)")]
    NoClassType(String),
    /// Lists in lists in lists.
    #[error("the workflow nests more than {DEPTH_MAX} deep: flatten the values of its inputs")]
    TooDeep,
}
