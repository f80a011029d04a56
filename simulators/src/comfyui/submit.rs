//! `POST /prompt`: from a body to a place in the queue.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::answers::{Shared, crashed, json_answer, json_status};
use super::queue::Item;
use super::validate::{Context, Refused, refused, validate};
use super::{Comfy, Mode};
use crate::{chance, clock};

pub(super) async fn submit(State(comfy): Shared, body: Bytes) -> Response {
    let mut body = match serde_json::from_slice::<Value>(&body) {
        Ok(Value::Object(body)) => body,
        // A list has no key `prompt`; anything else cannot even be asked.
        Ok(Value::Array(_)) => Map::new(),
        Ok(_) | Err(_) => return crashed(),
    };
    let Some(prompt) = body.remove("prompt") else {
        return refusal(&refused("no_prompt", "No prompt provided", "No prompt provided", &json!({})));
    };
    let prompt_id = match comfy.prompt_id(body.get("prompt_id")) {
        Ok(id) => id,
        Err(refused) => return refusal(&refused),
    };
    let graph = match prompt {
        Value::Object(graph) => graph,
        Value::Array(list) if list.is_empty() => Map::new(),
        _ => return crashed(),
    };
    let targets: Option<Vec<String>> = body
        .get("partial_execution_targets")
        .and_then(Value::as_array)
        .map(|list| list.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect());
    let context = Context {
        catalog: &comfy.installed(),
        input_exists: &|name| comfy.files.input_exists(name),
        new_mode: comfy.config.mode == Mode::New,
        targets: targets.as_deref(),
    };
    let accepted = match validate(graph, &context) {
        Ok(accepted) => accepted,
        Err(refused) => return refusal(&refused),
    };
    let mut node_errors = accepted.node_errors;
    if comfy.admin.take("node_errors_on_200").is_some() {
        invent_errors(&accepted.outputs, &accepted.graph, &mut node_errors);
    }
    let number = comfy.enqueue(&body, prompt_id.clone(), accepted.graph, accepted.outputs);
    json_answer(&json!({"prompt_id": prompt_id, "number": number, "node_errors": node_errors}))
}

fn refusal(refused: &Refused) -> Response {
    json_status(StatusCode::BAD_REQUEST, &json!({"error": refused.error, "node_errors": refused.node_errors}))
}

/// As if one more output of the graph had been refused.
fn invent_errors(outputs: &[String], graph: &super::Graph, node_errors: &mut Map<String, Value>) {
    let Some(output) = outputs.first() else { return };
    let error = json!({"type": "required_input_missing", "message": "Required input is missing", "details": "images",
        "extra_info": {"input_name": "images"}});
    node_errors.insert(
        output.clone(),
        json!({"errors": [error], "dependent_outputs": [output], "class_type": graph[output]["class_type"]}),
    );
}

impl Comfy {
    fn prompt_id(&self, given: Option<&Value>) -> Result<String, Refused> {
        let new = self.config.mode == Mode::New;
        let canonical = |id: &str| uuid::Uuid::try_parse(id).is_ok_and(|parsed| parsed.to_string() == id);
        match given {
            Some(Value::String(id)) if !new || canonical(id) => Ok(id.clone()),
            Some(Value::Null) if !new => Ok("None".to_owned()),
            None | Some(Value::Null) => {
                let arrivals = self.queue().arrivals;
                let parts: [&[u8]; 3] = [b"prompt", &clock::now_ms().to_be_bytes(), &arrivals.to_be_bytes()];
                Ok(chance::uuid(self.config.seed, &parts))
            }
            Some(other) if !new => Ok(other.to_string()),
            Some(other) => {
                let message = "prompt_id must be a canonical lower-case UUID";
                Err(refused("invalid_prompt_id", message, &other.to_string(), &json!({})))
            }
        }
    }

    /// Queues a job; returns its number as it is shown. The same id twice is queued twice.
    fn enqueue(
        &self,
        body: &Map<String, Value>,
        id: String,
        graph: super::Graph,
        outputs: Vec<String>,
    ) -> Value {
        let mut extra_data = body.get("extra_data").cloned().unwrap_or_else(|| json!({}));
        let client_id = body.get("client_id").and_then(Value::as_str).map(str::to_owned);
        if let Some(client) = &client_id {
            extra_data["client_id"] = json!(client);
        }
        if self.config.mode == Mode::New {
            extra_data["create_time"] = json!(clock::now_ms());
        }
        let mut queue = self.queue();
        let number = match body.get("number").and_then(Value::as_f64) {
            Some(number) => number,
            None => {
                let number = queue.counter as f64;
                queue.counter += 1;
                if body.get("front") == Some(&Value::Bool(true)) { -number } else { number }
            }
        };
        queue.arrivals += 1;
        let arrival = queue.arrivals;
        let item = Item { number, arrival, id, graph, extra_data, outputs, client_id };
        let shown = item.shown_number();
        queue.push(item);
        drop(queue);
        self.admin.count_post();
        self.admin.count_state("queued");
        self.status();
        self.wake.notify_one();
        shown
    }
}
