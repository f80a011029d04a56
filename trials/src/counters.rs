//! Figures of a page in the Prometheus text form, as every process of ours serves one.

/// The sum of counters over all their labels.
pub(crate) fn sum(page: &str, counters: &[&str]) -> f64 {
    let of_ours = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        let name = series.split('{').next().unwrap_or(series);
        if counters.contains(&name) { value.parse::<f64>().ok() } else { None }
    };
    page.lines().filter_map(of_ours).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_their_labels() {
        let page =
            "# TYPE a_total counter\na_total{x=\"1\"} 3\na_total{x=\"2\"} 4\nb_total 5\na_total_more 9\n";
        assert!((sum(page, &["a_total"]) - 7.0).abs() < 0.01);
        assert!((sum(page, &["a_total", "b_total"]) - 12.0).abs() < 0.01);
    }
}
