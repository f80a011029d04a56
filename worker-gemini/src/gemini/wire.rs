//! The API's answers, read leniently. `generateContent` speaks camelCase, Interactions snake_case; both
//! add fields and values at any time, so what is not known is ignored, and an unknown state still runs.

use serde::Deserialize;
use serde_json::Value;

/// The answer of `generateContent`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GenerateReply {
    /// What was made.
    pub candidates: Vec<Candidate>,
    /// Why nothing was, when the prompt itself was refused.
    pub prompt_feedback: Option<PromptFeedback>,
    /// The bill.
    pub usage_metadata: Option<UsageMetadata>,
    /// The answer's id.
    pub response_id: Option<String>,
}

/// One answer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Candidate {
    /// Its parts.
    pub content: Option<Content>,
    /// Why it ended.
    pub finish_reason: Option<String>,
    /// The same in words.
    pub finish_message: Option<String>,
}

/// A list of parts.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Content {
    /// Text and data, in order.
    pub parts: Vec<Part>,
}

/// Text or data.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Part {
    /// Words.
    pub text: Option<String>,
    /// A thought or a draft, not the answer.
    pub thought: bool,
    /// A file.
    pub inline_data: Option<Blob>,
}

/// A file in base64.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Blob {
    /// Its media type.
    pub mime_type: String,
    /// Its bytes in base64.
    pub data: String,
}

/// Why a prompt was refused.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PromptFeedback {
    /// The reason's token.
    pub block_reason: Option<String>,
    /// The same in words.
    pub block_reason_message: Option<String>,
}

/// Tokens of a `generateContent` call.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UsageMetadata {
    /// Of the request.
    pub prompt_token_count: u64,
    /// Of the answer, pictures included.
    pub candidates_token_count: u64,
    /// Of the thoughts.
    pub thoughts_token_count: u64,
    /// Of the answer by modality.
    pub candidates_tokens_details: Vec<ModalityTokens>,
}

/// Tokens of one modality; the two families name the count differently.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ModalityTokens {
    /// `TEXT`, `IMAGE`, `VIDEO`, in either case.
    pub modality: String,
    /// How many.
    #[serde(alias = "tokenCount")]
    pub tokens: u64,
}

/// Where an interaction is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits.
    Queued,
    /// At work.
    InProgress,
    /// Wants something of us.
    RequiresAction,
    /// Ended well, as far as the API knows.
    Completed,
    /// Ended badly.
    Failed,
    /// Was cancelled.
    Cancelled,
    /// Ended before it was done.
    Incomplete,
    /// Ended for lack of money.
    BudgetExceeded,
    /// A state we do not know: still running.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Status {
    /// Whether it has ended for us.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::InProgress | Self::Unknown)
    }
}

/// An interaction.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Interaction {
    /// Its id.
    pub id: String,
    /// Where it is.
    pub status: Status,
    /// What was said and made; a GET shows our own input too.
    pub steps: Vec<Step>,
    /// What went wrong.
    pub errors: Vec<ErrorDetail>,
    /// The bill.
    pub usage: Option<InteractionUsage>,
}

/// One step of an interaction.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Step {
    /// `user_input`, `thought`, `model_output`, others.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its parts. Our own input is not decoded.
    pub content: Value,
    /// What went wrong in it.
    pub error: Option<ErrorDetail>,
}

/// An error inside a success: the code is a number in one place and a word in another.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ErrorDetail {
    /// `google.rpc.Code`, or a token.
    pub code: Value,
    /// In words.
    pub message: String,
}

/// A part of a step.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct StepContent {
    /// `text`, `image`, `video`, others.
    #[serde(rename = "type")]
    pub kind: String,
    /// Words.
    pub text: Option<String>,
    /// Media type of data or file.
    pub mime_type: Option<String>,
    /// Bytes in base64.
    pub data: Option<String>,
    /// A file to fetch.
    pub uri: Option<String>,
}

/// Tokens of an interaction.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct InteractionUsage {
    /// Of the request.
    pub total_input_tokens: u64,
    /// Of the answer.
    pub total_output_tokens: u64,
    /// Of the thoughts.
    pub total_thought_tokens: u64,
    /// Of the answer by modality.
    pub output_tokens_by_modality: Vec<ModalityTokens>,
}

/// A page of the list of models.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelsPage {
    /// The models.
    pub models: Vec<ModelEntry>,
    /// Where to go on.
    pub next_page_token: Option<String>,
}

/// A model of the list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ModelEntry {
    /// `models/<id>`.
    pub name: String,
}

/// A stored file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct FileReply {
    /// `PROCESSING`, `ACTIVE`, `FAILED`.
    pub state: String,
}
