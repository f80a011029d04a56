-- The sums of the seeds once more for each of seed_times: what a span came to is what the span so many days later comes
-- to. Not those of the first and the last hour, which the seeds share with others: their periods are marked instead.
create unlogged table seed_edges as
select min(first_period) / 60 as first_hour, max(last_period) / 60 as last_hour from rollup.spans;
create unlogged table seed_spans as
select s.first_period as span, s.last_period, t.days, t.days * 1440 as periods
from rollup.spans s cross join seed_edges e cross join seed_times t
where s.first_period / 60 > e.first_hour and s.last_period / 60 < e.last_hour;
create index on seed_spans (span);

insert into rollup.marks
select distinct rollup.period_of(j.id) + t.days * 1440, true
from seed_jobs j cross join seed_edges e cross join seed_times t
where rollup.period_of(j.id) / 60 in (e.first_hour, e.last_hour);

insert into rollup.charges_by_span
select b.span + s.periods, day + days, budget_day + days, backend, tenant, simulated, charges, reserved_micro_usd,
    posted_micro_usd, possibly_paid_micro_usd, open_micro_usd, voided_micro_usd, overrun_micro_usd
from rollup.charges_by_span b join seed_spans s using (span);
insert into rollup.labels_by_span
select b.span + s.periods, label, value, charges, posted_micro_usd, possibly_paid_micro_usd, open_micro_usd,
    voided_micro_usd
from rollup.labels_by_span b join seed_spans s using (span);
insert into rollup.savings_by_span
select b.span + s.periods, against, jobs, actual_micro_usd, baseline_micro_usd
from rollup.savings_by_span b join seed_spans s using (span);
insert into rollup.attempts_by_span
select b.span + s.periods, assigned_day + days, finished_day + days, backend, class, failure_code, disposition, attempts
from rollup.attempts_by_span b join seed_spans s using (span);
insert into rollup.workers_by_span
select b.span + s.periods, hour + make_interval(days => days), backend, worker, attempts, busy_us
from rollup.workers_by_span b join seed_spans s using (span);
insert into rollup.latency_by_span
select b.span + s.periods, day + days, backend, class, queue_ms, run_ms, total_ms
from rollup.latency_by_span b join seed_spans s using (span);
insert into rollup.latency_open select distinct day from rollup.latency_by_span on conflict do nothing;
insert into rollup.daily_by_span
select b.span + s.periods, what, day + days, tenant, lane, model, backend, simulated, name, value, jobs, completed_jobs,
    free_jobs, attempts, charges, posted_micro_usd, possibly_paid_micro_usd, open_micro_usd, voided_micro_usd,
    baseline_micro_usd
from rollup.daily_by_span b join seed_spans s using (span);
-- Their daily sums are there already.
alter table rollup.spans disable trigger span_made;
insert into rollup.spans select span + periods, last_period + periods from seed_spans;
alter table rollup.spans enable trigger span_made;

-- The totals are those of all spans.
truncate rollup.charges, rollup.labels, rollup.savings, rollup.attempts, rollup.workers, rollup.daily;
insert into rollup.charges
select day, budget_day, backend, tenant, simulated, sum(charges), sum(reserved_micro_usd), sum(posted_micro_usd),
    sum(possibly_paid_micro_usd), sum(open_micro_usd), sum(voided_micro_usd), sum(overrun_micro_usd)
from rollup.charges_by_span group by day, budget_day, backend, tenant, simulated;
insert into rollup.labels
select label, value, sum(charges), sum(posted_micro_usd), sum(possibly_paid_micro_usd), sum(open_micro_usd),
    sum(voided_micro_usd)
from rollup.labels_by_span group by label, value;
insert into rollup.savings
select against, sum(jobs), sum(actual_micro_usd), sum(baseline_micro_usd) from rollup.savings_by_span group by against;
insert into rollup.attempts
select assigned_day, finished_day, backend, class, failure_code, disposition, sum(attempts)
from rollup.attempts_by_span group by assigned_day, finished_day, backend, class, failure_code, disposition;
insert into rollup.workers
select hour, backend, worker, sum(attempts), sum(busy_us) from rollup.workers_by_span group by hour, backend, worker;
insert into rollup.daily
select what, day, tenant, lane, model, backend, simulated, name, value, sum(jobs), sum(completed_jobs), sum(free_jobs),
    sum(attempts), sum(charges), sum(posted_micro_usd), sum(possibly_paid_micro_usd), sum(open_micro_usd),
    sum(voided_micro_usd), sum(baseline_micro_usd)
from rollup.daily_by_span group by what, day, tenant, lane, model, backend, simulated, name, value;
drop table seed_spans, seed_edges;
