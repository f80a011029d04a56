//! Workloads from files: a JSON object of [`JobSpec`] on each line. Blank lines are passed over.

use crate::job::JobSpec;

/// Jobs of one file, at most.
const JOBS_MAX: usize = 5_000_000;

/// Why a file is no workload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFile {
    /// A line is no job.
    #[error("line {line}: {message}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// No job is there.
    #[error(
        "it holds no job: write one JSON object on each line, for example {{\"at_ms\": 0, \"lane\": \"standard\"}}"
    )]
    Empty,
    /// There are too many.
    #[error("it holds more than {JOBS_MAX} jobs: split it")]
    TooMany,
}

/// Reads a workload.
///
/// # Errors
/// The first line that is no job, with what is wrong with it.
pub fn parse(text: &str) -> Result<Vec<JobSpec>, BadFile> {
    let mut jobs = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        if jobs.len() == JOBS_MAX {
            return Err(BadFile::TooMany);
        }
        let job = serde_json::from_str(line)
            .map_err(|error| BadFile::Line { line: index + 1, message: error.to_string() })?;
        jobs.push(job);
    }
    if jobs.is_empty() { Err(BadFile::Empty) } else { Ok(jobs) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_no_job_is_named() {
        let jobs = parse("{\"at_ms\": 5}\n\n{\"at_ms\": 7, \"lane\": \"batch\"}\n").expect("jobs");
        assert_eq!((jobs.len(), jobs[1].at_ms), (2, 7));
        let error = parse("{\"at_ms\": 5}\n{\"at\": 7}\n").expect_err("no job").to_string();
        assert!(error.starts_with("line 2: unknown field `at`"), "{error}");
        assert_eq!(parse("\n"), Err(BadFile::Empty));
    }
}
