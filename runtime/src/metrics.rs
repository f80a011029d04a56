//! Metrics: one table, and the handles through which every process counts.
//!
//! [`TABLE`] lists each metric with its name, type, unit, labels and help. A metric is emitted through its handle, as
//! in `metrics::ROUTER_ORPHANS.of([stream.into()]).increment(1)`, so a name outside of the table cannot be emitted:
//! this crate alone uses the crate `metrics`. The page docs/metrics.md is generated from the table.

mod table;

pub use ::metrics::{
    Counter as CounterSeries, Gauge as GaugeSeries, Histogram as HistogramSeries, SharedString as LabelValue,
};
use ::metrics::{Key, KeyName, Label, Level, Metadata};

pub use table::*;

static METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// The type of a metric, as Prometheus names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only rises; a query takes its rate.
    Counter,
    /// It rises and falls.
    Gauge,
    /// It counts values in buckets.
    Histogram,
}

/// The processes that emit a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emitter {
    /// Every process.
    All,
    /// The router.
    Router,
    /// Every worker.
    Workers,
    /// The worker of a ComfyUI server.
    WorkerLocal,
    /// The workers of RunPod and Gemini.
    PaidWorkers,
    /// The ledger.
    Ledger,
}

/// One row of the table.
#[derive(Debug)]
pub struct Entry {
    /// Its type.
    pub kind: Kind,
    /// The name of the handle in the code.
    pub handle: &'static str,
    /// Its name on the page `/metrics`.
    pub name: &'static str,
    /// Which processes emit it.
    pub emitter: Emitter,
    /// What one of it is.
    pub unit: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it measures, in a sentence.
    pub help: &'static str,
}

impl Entry {
    fn key<const N: usize>(&self, values: [LabelValue; N]) -> Key {
        if N == 0 {
            return Key::from_static_name(self.name);
        }
        let labels = self.labels.iter().zip(values).map(|(name, value)| Label::new(*name, value));
        Key::from_parts(self.name, labels.collect::<Vec<_>>())
    }
}

/// The handle of a counter with `N` labels.
pub struct Counter<const N: usize>(Entry);

impl<const N: usize> Counter<N> {
    /// The series with these values of the labels, in the order of the table.
    pub fn of(&self, values: [LabelValue; N]) -> CounterSeries {
        ::metrics::with_recorder(|recorder| recorder.register_counter(&self.0.key(values), &METADATA))
    }
}

impl Counter<0> {
    /// Counts `by` more.
    pub fn increment(&self, by: u64) {
        self.of([]).increment(by);
    }
}

/// The handle of a gauge with `N` labels.
pub struct Gauge<const N: usize>(Entry);

impl<const N: usize> Gauge<N> {
    /// The series with these values of the labels, in the order of the table.
    pub fn of(&self, values: [LabelValue; N]) -> GaugeSeries {
        ::metrics::with_recorder(|recorder| recorder.register_gauge(&self.0.key(values), &METADATA))
    }
}

impl Gauge<0> {
    /// Sets the gauge.
    pub fn set(&self, value: f64) {
        self.of([]).set(value);
    }
}

/// The handle of a histogram with `N` labels.
pub struct Histogram<const N: usize>(Entry);

impl<const N: usize> Histogram<N> {
    /// The series with these values of the labels, in the order of the table.
    pub fn of(&self, values: [LabelValue; N]) -> HistogramSeries {
        ::metrics::with_recorder(|recorder| recorder.register_histogram(&self.0.key(values), &METADATA))
    }
}

/// Describes every metric of the table to the recorder, so that `/metrics` carries HELP and TYPE, and registers the
/// process's counters without labels: an alert on the rate of a counter needs its zero.
pub fn describe(process: &str) {
    ::metrics::with_recorder(|recorder| {
        for entry in TABLE {
            let (name, help) = (KeyName::from_const_str(entry.name), LabelValue::const_str(entry.help));
            match entry.kind {
                Kind::Counter => recorder.describe_counter(name, None, help),
                Kind::Gauge => recorder.describe_gauge(name, None, help),
                Kind::Histogram => recorder.describe_histogram(name, None, help),
            }
            if entry.kind == Kind::Counter && entry.labels.is_empty() && entry.emitter.is(process) {
                let _ = recorder.register_counter(&entry.key([]), &METADATA);
            }
        }
    });
}

impl Emitter {
    /// Whether the process of this name emits it.
    fn is(self, process: &str) -> bool {
        match self {
            Self::All => true,
            Self::Router => process == "router",
            Self::Workers => process.starts_with("worker-"),
            Self::WorkerLocal => process == "worker-local",
            Self::PaidWorkers => process.starts_with("worker-") && process != "worker-local",
            Self::Ledger => process == "ledger",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::All => "every process",
            Self::Router => "the router",
            Self::Workers => "every worker",
            Self::WorkerLocal => "`worker-local`",
            Self::PaidWorkers => "the workers of paid providers",
            Self::Ledger => "the ledger",
        }
    }
}

/// The page docs/metrics.md.
#[must_use]
pub fn page() -> String {
    let mut page = "# Metrics\n\nGenerated from the table in `runtime/src/metrics/table.rs`; a test fails when the two \
         differ, and `UPDATE_GOLDEN=1 cargo test -p runtime --lib metrics` rewrites this page. Every process serves \
         its metrics as Prometheus text on `/metrics` of `ARGOSY_HTTP__LISTEN`. A series with labels appears once its \
         first value is known; a counter without labels begins at 0. Names and labels are an interface: they change \
         only with a note in the changelog.\n\n\
         | metric | type | unit | labels | from | meaning |\n|---|---|---|---|---|---|\n"
        .to_owned();
    for entry in TABLE {
        let kind = match entry.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let labels: Vec<String> = entry.labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
        let Entry { name, unit, emitter, help, .. } = entry;
        page += &format!("| `{name}` | {kind} | {unit} | {labels} | {} | {help} |\n", emitter.words());
    }
    page
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn the_page_is_the_table() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, page()).expect("written");
        }
        let now = std::fs::read_to_string(&file).expect("docs/metrics.md is there");
        assert!(now == page(), "docs/metrics.md differs from the table: run with UPDATE_GOLDEN=1");
    }

    #[test]
    fn names_follow_the_rules_of_prometheus() {
        let mut names = BTreeSet::new();
        for Entry { kind, name, unit, labels, help, .. } in TABLE {
            assert!(names.insert(name), "{name} stands twice");
            assert!(name.starts_with("argosy_"), "{name}");
            assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}: counters end in _total");
            let has_buckets = *kind != Kind::Histogram || name.ends_with("_seconds");
            assert!(has_buckets, "{name}: see telemetry::SECONDS");
            for base in ["bytes", "seconds", "joules", "watts", "celsius", "ratio"] {
                let says = name.trim_end_matches("_total").ends_with(base);
                assert!(!says || *unit == base, "{name} is in {base}, and its unit is {unit}");
            }
            assert!(help.ends_with('.') && !help.contains(['|', '\n']), "{name}: one plain sentence: {help}");
            assert_eq!(labels.iter().collect::<BTreeSet<_>>().len(), labels.len(), "{name}: a label twice");
        }
    }

    #[test]
    fn the_page_of_a_process_has_help_and_type_of_every_series() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        ::metrics::with_local_recorder(&recorder, || {
            describe("router");
            for entry in TABLE {
                let key = entry.key_of_any_values();
                match entry.kind {
                    Kind::Counter => {
                        ::metrics::with_recorder(|r| r.register_counter(&key, &METADATA)).increment(2);
                    }
                    Kind::Gauge => ::metrics::with_recorder(|r| r.register_gauge(&key, &METADATA)).set(2.0),
                    Kind::Histogram => {
                        ::metrics::with_recorder(|r| r.register_histogram(&key, &METADATA)).record(2.0);
                    }
                }
            }
        });
        let text = handle.render();
        for Entry { name, help, .. } in TABLE {
            assert!(text.contains(&format!("# HELP {name} {help}\n")), "{name}: no HELP in\n{text}");
            assert!(text.contains(&format!("# TYPE {name} ")), "{name}: no TYPE in\n{text}");
        }
        assert_eq!(text.matches("# HELP").count(), TABLE.len(), "a series is not in the table:\n{text}");
    }

    #[test]
    fn counters_of_a_process_begin_at_zero_and_those_of_others_are_absent() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        ::metrics::with_local_recorder(&recorder, || describe("ledger"));
        let text = handle.render();
        assert!(text.contains("\nargosy_ledger_database_errors_total 0\n"), "{text}");
        assert!(!text.contains("argosy_router_"), "{text}");
    }

    #[test]
    fn label_values_stand_in_the_order_of_the_table() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        ::metrics::with_local_recorder(&recorder, || {
            PROVIDER_REQUESTS.of(["gemini".into(), "generate".into(), "200".to_owned().into()]).increment(3);
        });
        let line = r#"argosy_provider_requests_total{provider="gemini",call="generate",status="200"} 3"#;
        assert!(handle.render().contains(line), "{}", handle.render());
    }

    impl Entry {
        fn key_of_any_values(&self) -> Key {
            let labels = self.labels.iter().map(|name| Label::new(*name, "value"));
            Key::from_parts(self.name, labels.collect::<Vec<_>>())
        }
    }
}
