//! The API's answers, read leniently. `generateContent` speaks camelCase, Interactions snake_case; both
//! add fields and values at any time, so what is not known is ignored, and an unknown state still runs.
//!
//! Every JSON object is an answer: [`crate::gemini::lenient`] reads it field by field. What is no object (or
//! no list of objects, as a stream is written) is not one, and its outcome is unknown.

use serde::Deserialize;
use serde_json::Value;

use crate::gemini::lenient::{Count, count, flag, list, take, take_any, text};

/// Longest name of a part's kind that is quoted, characters.
const KIND_MAX_CHARS: usize = 40;

/// The answer of `generateContent`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "Value")]
pub struct GenerateReply {
    /// What was made.
    pub candidates: Vec<Candidate>,
    /// Why nothing was, when the prompt itself was refused.
    pub prompt_feedback: Option<PromptFeedback>,
    /// An error inside a success.
    pub errors: Vec<ErrorDetail>,
    /// The bill.
    pub tokens: Option<Tokens>,
    /// The answer's id.
    pub response_id: Option<String>,
}

impl TryFrom<Value> for GenerateReply {
    type Error = &'static str;

    fn try_from(answer: Value) -> Result<Self, Self::Error> {
        let mut whole = Self::default();
        for mut part in objects(answer)? {
            whole.candidates.extend(list(take(&mut part, "candidates")).into_iter().map(Candidate::from));
            let feedback = take(&mut part, "promptFeedback");
            whole.prompt_feedback = whole.prompt_feedback.or_else(|| PromptFeedback::of(feedback));
            whole.errors.extend(list(take(&mut part, "error")).into_iter().map(ErrorDetail::from));
            // A stream counts on: its last bill is the whole one.
            whole.tokens = Tokens::of(take(&mut part, "usageMetadata")).or(whole.tokens);
            whole.response_id = whole.response_id.or_else(|| text(take(&mut part, "responseId")));
        }
        Ok(whole)
    }
}

/// The objects of an answer: one, or a list of them.
fn objects(answer: Value) -> Result<Vec<Value>, &'static str> {
    let parts = list(answer);
    if parts.is_empty() || !parts.iter().all(Value::is_object) {
        return Err("the answer is no JSON object");
    }
    Ok(parts)
}

/// One answer.
#[derive(Debug, Clone, Default)]
pub struct Candidate {
    /// Text and data, in order.
    pub parts: Vec<Part>,
    /// Why it ended.
    pub finish_reason: Option<String>,
    /// The same in words.
    pub finish_message: Option<String>,
}

impl From<Value> for Candidate {
    fn from(mut value: Value) -> Self {
        let contents = list(take(&mut value, "content"));
        let parts = contents.into_iter().flat_map(|mut content| list(take(&mut content, "parts")));
        Self {
            parts: parts.map(Part::from).collect(),
            finish_reason: text(take(&mut value, "finishReason")).map(|reason| reason.to_ascii_uppercase()),
            finish_message: text(take(&mut value, "finishMessage")),
        }
    }
}

/// Text or data.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// What it is: the name of its first field that says so.
    pub kind: String,
    /// Words.
    pub text: Option<String>,
    /// A thought or a draft, not the answer.
    pub thought: bool,
    /// A file, here or elsewhere.
    pub blob: Option<Blob>,
}

impl From<Value> for Part {
    fn from(mut value: Value) -> Self {
        if let Value::String(words) = value {
            return Self { kind: "text".to_owned(), text: Some(words), ..Self::default() };
        }
        let about = |key: &&String| !key.to_ascii_lowercase().starts_with("thought");
        let kind = value.as_object().and_then(|fields| fields.keys().find(about));
        let kind = kind.map_or_else(|| "nothing".to_owned(), |kind| shortened(kind));
        let thought = flag(&take(&mut value, "thought"));
        let mut inline = take(&mut value, "inlineData");
        let mut stored = take(&mut value, "fileData");
        let blob = Blob {
            mime_type: text(take(&mut inline, "mimeType")).or_else(|| text(take(&mut stored, "mimeType"))),
            data: text(take(&mut inline, "data")),
            uri: text(take_any(&mut stored, &["fileUri", "uri"])),
        };
        let blob = (blob.data.is_some() || blob.uri.is_some()).then_some(blob);
        Self { kind, text: text(take(&mut value, "text")), thought, blob }
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(KIND_MAX_CHARS).collect()
}

/// A file: its bytes, or where they are.
#[derive(Debug, Clone, Default)]
pub struct Blob {
    /// Its media type.
    pub mime_type: Option<String>,
    /// Its bytes in base64.
    pub data: Option<String>,
    /// A file to fetch.
    pub uri: Option<String>,
}

/// Why a prompt was refused.
#[derive(Debug, Clone, Default)]
pub struct PromptFeedback {
    /// The reason's token.
    pub block_reason: Option<String>,
    /// The same in words.
    pub block_reason_message: Option<String>,
}

impl PromptFeedback {
    fn of(mut value: Value) -> Option<Self> {
        value.is_object().then(|| Self {
            block_reason: text(take(&mut value, "blockReason")),
            block_reason_message: text(take(&mut value, "blockReasonMessage")),
        })
    }
}

/// Tokens of a call or of an interaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Of the request.
    pub input: Count,
    /// Of what tools added to the request.
    pub tool_input: Count,
    /// Of the answer, pictures and video included.
    pub output: Count,
    /// Of the thoughts.
    pub thoughts: Count,
    /// Of everything.
    pub total: Count,
    /// Of the request by modality.
    pub input_details: Vec<ModalityTokens>,
    /// Of the answer by modality.
    pub output_details: Vec<ModalityTokens>,
}

impl Tokens {
    /// None where nothing was said; a bill of another shape is one that cannot be read.
    fn of(mut value: Value) -> Option<Self> {
        if value.is_null() {
            return None;
        }
        if !value.is_object() {
            return Some(Self { output: Count::Unreadable, ..Self::default() });
        }
        let mut number = |names: &[&str]| count(&take_any(&mut value, names));
        let (input, output) = (
            number(&["promptTokenCount", "totalInputTokens"]),
            number(&["candidatesTokenCount", "totalOutputTokens", "responseTokenCount"]),
        );
        let tool_input = number(&["toolUsePromptTokenCount", "totalToolUseTokens"]);
        let thoughts = number(&["thoughtsTokenCount", "totalThoughtTokens", "totalReasoningTokens"]);
        let total = number(&["totalTokenCount", "totalTokens"]);
        let mut details = |names: &[&str]| -> Vec<ModalityTokens> {
            list(take_any(&mut value, names)).into_iter().map(ModalityTokens::from).collect()
        };
        let input_details = details(&["promptTokensDetails", "inputTokensByModality"]);
        let output_details =
            details(&["candidatesTokensDetails", "outputTokensByModality", "responseTokensDetails"]);
        Some(Self { input, tool_input, output, thoughts, total, input_details, output_details })
    }
}

/// Tokens of one modality; the two families name the count differently.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModalityTokens {
    /// `TEXT`, `IMAGE`, `VIDEO`, others, in either case.
    pub modality: String,
    /// How many; a zero may be left out.
    pub tokens: Count,
}

impl From<Value> for ModalityTokens {
    fn from(mut value: Value) -> Self {
        if !value.is_object() {
            return Self { tokens: Count::Unreadable, ..Self::default() };
        }
        Self {
            modality: text(take(&mut value, "modality")).unwrap_or_default(),
            tokens: count(&take_any(&mut value, &["tokenCount", "tokens"])),
        }
    }
}

/// Where an interaction is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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
    Unknown,
}

impl Status {
    /// Whether it has ended for us.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::InProgress | Self::Unknown)
    }

    fn of(token: &str) -> Self {
        match token.to_ascii_lowercase().as_str() {
            "queued" => Self::Queued,
            "in_progress" => Self::InProgress,
            "requires_action" => Self::RequiresAction,
            "completed" => Self::Completed,
            "failed" => Self::Failed,
            "cancelled" | "canceled" => Self::Cancelled,
            "incomplete" => Self::Incomplete,
            "budget_exceeded" => Self::BudgetExceeded,
            _ => Self::Unknown,
        }
    }
}

/// An interaction.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "Value")]
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
    pub tokens: Option<Tokens>,
}

impl TryFrom<Value> for Interaction {
    type Error = &'static str;

    fn try_from(answer: Value) -> Result<Self, Self::Error> {
        let mut answer = objects(answer)?.into_iter().next().unwrap_or_default();
        let mut steps: Vec<Step> = list(take(&mut answer, "steps")).into_iter().map(Step::from).collect();
        // The first versions of this API listed what was made without its steps.
        let outputs = list(take(&mut answer, "outputs"));
        if !outputs.is_empty() {
            let content = outputs.into_iter().map(StepContent::from).collect();
            steps.push(Step { kind: Step::OUTPUT.to_owned(), content, error: None });
        }
        let errors = [take(&mut answer, "errors"), take(&mut answer, "error")];
        let tokens = Tokens::of(take(&mut answer, "usage"));
        let mut made = steps.iter().filter(|step| step.kind == Step::OUTPUT).flat_map(|step| &step.content);
        // Without a word about its state, what has made something has ended.
        let unsaid = if made.any(|part| part.blob.is_some()) { Status::Completed } else { Status::Unknown };
        Ok(Self {
            id: text(take(&mut answer, "id")).unwrap_or_default(),
            status: text(take(&mut answer, "status")).map_or(unsaid, |token| Status::of(&token)),
            steps,
            errors: errors.into_iter().flat_map(list).map(ErrorDetail::from).collect(),
            tokens,
        })
    }
}

/// One step of an interaction.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// `user_input`, `thought`, `model_output`, others.
    pub kind: String,
    /// Its parts, and a thought's summary. Our own input is not kept.
    pub content: Vec<StepContent>,
    /// What went wrong in it.
    pub error: Option<ErrorDetail>,
}

impl Step {
    /// The kind of a step in which the model answers.
    pub const OUTPUT: &str = "model_output";
    /// The kind of a step in which it thinks.
    pub const THOUGHT: &str = "thought";
}

impl From<Value> for Step {
    fn from(mut value: Value) -> Self {
        let kind = text(take(&mut value, "type")).unwrap_or_default().to_ascii_lowercase();
        let content = match kind.as_str() {
            Self::OUTPUT | Self::THOUGHT => {
                let parts = [take(&mut value, "content"), take(&mut value, "summary")];
                parts.into_iter().flat_map(list).map(StepContent::from).collect()
            }
            _ => Vec::new(),
        };
        let error = list(take(&mut value, "error")).into_iter().next().map(ErrorDetail::from);
        Self { kind, content, error }
    }
}

/// An error inside a success: the code is a number in one place and a word in another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorDetail {
    /// `google.rpc.Code`, or a token.
    pub code: String,
    /// In words.
    pub message: String,
}

impl From<Value> for ErrorDetail {
    fn from(mut value: Value) -> Self {
        if let Value::String(message) = value {
            return Self { message, ..Self::default() };
        }
        let code = match take(&mut value, "code") {
            Value::Number(number) => match count(&Value::Number(number)) {
                Count::Known(code) => Some(code.to_string()),
                Count::Absent | Count::Unreadable => None,
            },
            other => text(other),
        };
        Self {
            code: code.or_else(|| text(take(&mut value, "status"))).unwrap_or_default(),
            message: text(take(&mut value, "message")).unwrap_or_default(),
        }
    }
}

/// A part of a step.
#[derive(Debug, Clone, Default)]
pub struct StepContent {
    /// `text`, `image`, `video`, others.
    pub kind: String,
    /// Words.
    pub text: Option<String>,
    /// Data, or a file to fetch.
    pub blob: Option<Blob>,
}

impl From<Value> for StepContent {
    fn from(mut value: Value) -> Self {
        if let Value::String(words) = value {
            return Self { kind: "text".to_owned(), text: Some(words), blob: None };
        }
        let blob = Blob {
            mime_type: text(take(&mut value, "mimeType")),
            data: text(take(&mut value, "data")),
            uri: text(take_any(&mut value, &["uri", "fileUri"])),
        };
        Self {
            kind: text(take(&mut value, "type")).unwrap_or_default().to_ascii_lowercase(),
            text: text(take(&mut value, "text")),
            blob: (blob.data.is_some() || blob.uri.is_some()).then_some(blob),
        }
    }
}

/// A page of the list of models.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "Value")]
pub struct ModelsPage {
    /// The models' names, `models/<id>`.
    pub models: Vec<String>,
    /// Where to go on.
    pub next_page_token: Option<String>,
}

impl From<Value> for ModelsPage {
    fn from(mut page: Value) -> Self {
        let models = list(take(&mut page, "models")).into_iter();
        Self {
            models: models.filter_map(|mut model| text(take(&mut model, "name"))).collect(),
            next_page_token: text(take(&mut page, "nextPageToken")),
        }
    }
}

/// A stored file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "Value")]
pub struct FileReply {
    /// `PROCESSING`, `ACTIVE`, `FAILED`.
    pub state: String,
    /// Why it failed.
    pub error: Option<ErrorDetail>,
}

impl From<Value> for FileReply {
    fn from(mut file: Value) -> Self {
        let error = list(take(&mut file, "error")).into_iter().next();
        Self {
            state: text(take(&mut file, "state")).unwrap_or_default().to_ascii_uppercase(),
            error: error.map(ErrorDetail::from),
        }
    }
}
