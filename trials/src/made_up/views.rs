//! The views as analysts use them, for measurements: those that add up as they are, the others for one tenant and
//! day, or the newest.

/// Each view of schema `analytics`, and what is asked of it. `{day}` stands for a day.
const VIEWS: [(&str, &str); 26] = [
    ("cost_by_day", "select * from analytics.cost_by_day"),
    ("cost_by_backend", "select * from analytics.cost_by_backend"),
    ("cost_by_tenant", "select * from analytics.cost_by_tenant"),
    ("cost_by_label", "select * from analytics.cost_by_label"),
    ("costs", "select * from analytics.costs"),
    ("cost_by_model", "select * from analytics.cost_by_model"),
    ("cost_by_lane", "select * from analytics.cost_by_lane"),
    ("label_costs", "select * from analytics.label_costs"),
    ("savings_by_day", "select * from analytics.savings_by_day"),
    ("failures_before_attempt", "select * from analytics.failures_before_attempt"),
    ("costs_by_hour", "select * from analytics.costs_by_hour('{day} 06:00Z', '{day} 12:00Z')"),
    ("latency_by_hour", "select * from analytics.latency_by_hour('{day} 06:00Z', '{day} 12:00Z')"),
    ("savings_by_baseline", "select * from analytics.savings_by_baseline"),
    ("failure_rates", "select * from analytics.failure_rates"),
    ("failures", "select * from analytics.failures"),
    ("latency", "select * from analytics.latency"),
    ("utilisation", "select * from analytics.utilisation"),
    ("conservation", "select * from analytics.conservation"),
    ("spending", "select * from analytics.spending"),
    ("fleet_spending", "select * from analytics.fleet_spending"),
    ("open_reservations", "select * from analytics.open_reservations"),
    (
        "jobs",
        "select * from analytics.jobs where tenant = 'studio-b'
            and submitted_at >= '{day}' and submitted_at < date '{day}' + 1",
    ),
    (
        "attempts",
        "select * from analytics.attempts where tenant = 'studio-b'
            and assigned_at >= '{day}' and assigned_at < date '{day}' + 1",
    ),
    ("charges", "select * from analytics.charges where tenant = 'studio-b' and day = '{day}'"),
    (
        "savings",
        "select * from analytics.savings where tenant = 'studio-b' and day = '{day}'
            and job >= analytics.first_job(date '{day}' - 1) and job < analytics.first_job(date '{day}' + 1)",
    ),
    ("candidates", "select * from analytics.candidates order by job desc limit 100"),
];

/// The query of each view, of one day (as `2026-11-29`) where it is of a day.
pub fn view_queries(day: &str) -> impl Iterator<Item = (&'static str, String)> {
    VIEWS.iter().map(move |(view, asked)| (*view, asked.replace("{day}", day)))
}
