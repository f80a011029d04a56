//! The fields of log lines, read from the text of the code: the arguments of `tracing` macros before their message.

/// The macros that write a line or open a span.
const MACROS: [&str; 12] = [
    "trace",
    "debug",
    "info",
    "warn",
    "error",
    "event",
    "span",
    "trace_span",
    "debug_span",
    "info_span",
    "warn_span",
    "error_span",
];

/// A field as it stands in a macro.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogField {
    /// Its name.
    pub name: String,
    /// Its whole text, such as `job = %job.id`.
    pub text: String,
    /// The line of the macro, from 1.
    pub line: usize,
}

/// All fields of all `tracing::…!` macros of a file.
#[must_use]
pub fn fields(code: &str) -> Vec<LogField> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("tracing::") {
        let rest = &code[at + "tracing::".len()..];
        let Some((name, arguments)) = rest.split_once('!') else { continue };
        let Some(arguments) = arguments.strip_prefix(['(', '[', '{']) else { continue };
        if !MACROS.contains(&name) {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        for argument in arguments_of(arguments) {
            if argument.starts_with('"') {
                break;
            }
            let Some(name) = name_of(&argument) else { continue };
            found.push(LogField { name, text: argument, line });
        }
    }
    found
}

/// The name of a field; none for an argument that is not a field, such as `target: "…"` or a level.
fn name_of(argument: &str) -> Option<String> {
    let field = argument.trim_start_matches(['%', '?']);
    let end = field.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '.').unwrap_or(field.len());
    let (name, rest) = field.split_at(end);
    let is_setting = rest.starts_with(':') && !rest.starts_with("::");
    let is_field = name.starts_with(|c: char| c.is_lowercase() || c == '_');
    (is_field && !is_setting && !rest.starts_with("::")).then(|| name.to_owned())
}

/// The arguments up to the bracket that closes the macro, split at the commas between them.
fn arguments_of(text: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for c in text.chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else {
            match c {
                '"' => in_string = true,
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' if depth == 0 => break,
                ')' | ']' | '}' => depth -= 1,
                ',' if depth == 0 => {
                    found.push(String::new());
                    continue;
                }
                _ => {}
            }
        }
        if let Some(last) = found.last_mut() {
            last.push(c);
        }
    }
    found.iter().map(|argument| argument.trim().to_owned()).filter(|argument| !argument.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_every_form() {
        let code = r#"
            tracing::warn!(job = %one(a, "b, c"), ?state, %error, tries, provider.id = x, "text {}", not_a_field);
            tracing::info!(
                target: "there",
                tenant = tenant.map(|t| t.as_str()),
                "no \"field, code = 1\""
            );
            tracing::debug!("plain");
            tracing::span!(tracing::Level::INFO, "name", job);
            tracing::info_span!(attempt);
        "#;
        let found = fields(code);
        let names: Vec<(&str, usize)> = found.iter().map(|field| (field.name.as_str(), field.line)).collect();
        let first = ["job", "state", "error", "tries", "provider.id"].map(|name| (name, 2));
        assert_eq!(names[..5], first);
        assert_eq!(names[5..], [("tenant", 3), ("attempt", 10)]);
        assert_eq!(found[0].text, r#"job = %one(a, "b, c")"#);
    }
}
