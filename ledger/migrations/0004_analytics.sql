-- What analysts read: stable names, every view and column described. Sums are computed from the same
-- rows as the details beside them, so a total always equals the sum of its rows. Money is in whole
-- micro-dollars (1,000,000 are one US dollar), days and months are UTC.

create schema analytics;
comment on schema analytics is 'Stable views of the ledger: read these, not the tables behind them.';

create view analytics.charges as
select job, attempt, tenant, backend, simulated, state, settled_by, reserved_micro_usd, posted_micro_usd,
    open_micro_usd, voided_micro_usd, overrun_micro_usd, possibly_paid, budget_day, posted_day,
    coalesce(posted_day, budget_day) as day
from charges;

comment on view analytics.charges is 'One row per attempt that had money set aside or spent.';
comment on column analytics.charges.job is 'Id of the job (UUIDv7)';
comment on column analytics.charges.attempt is 'Number of the attempt, from 1';
comment on column analytics.charges.tenant is 'Who the job was for and who pays';
comment on column analytics.charges.backend is 'Where it ran: local, cloud, gemini or another that is configured';
comment on column analytics.charges.simulated is 'Whether the provider was a simulator';
comment on column analytics.charges.state is 'pending (reserved), posted (spent) or voided (not spent)';
comment on column analytics.charges.settled_by is 'Kind of the event that settled it; empty while pending';
comment on column analytics.charges.reserved_micro_usd is 'What was set aside before the work began';
comment on column analytics.charges.posted_micro_usd is 'What was spent';
comment on column analytics.charges.open_micro_usd is 'What is still set aside';
comment on column analytics.charges.voided_micro_usd is 'What was set aside and not spent';
comment on column analytics.charges.overrun_micro_usd is 'What was spent beyond the reservation';
comment on column analytics.charges.possibly_paid is 'Whether the provider could not tell if it billed; booked as spent';
comment on column analytics.charges.budget_day is 'Day whose budget it counts against: that of the reservation';
comment on column analytics.charges.posted_day is 'Day whose invoice it belongs to: that of the end of the attempt';
comment on column analytics.charges.day is 'posted_day, or budget_day as long as nothing is posted';

create view analytics.attempts as
select a.job, a.attempt, j.tenant, a.backend, a.class, a.model, a.worker, a.simulated, a.assigned_at, a.started_at,
    a.finished_at, to_ms(a.finished_at) - to_ms(a.started_at) as run_ms, a.provider_id, a.reason,
    a.expected_micro_usd, a.failure_code, a.failure ->> 'message' as failure_message, a.disposition, a.energy_mj,
    c.state as charge_state, coalesce(c.posted_micro_usd, 0) as posted_micro_usd,
    coalesce(c.open_micro_usd, 0) as open_micro_usd
from attempts a
join jobs j on j.id = a.job
left join charges c on c.job = a.job and c.attempt = a.attempt;

comment on view analytics.attempts is 'One row per attempt: where, by whom, how long, why there, why it failed, what it cost.';
comment on column analytics.attempts.job is 'Id of the job (UUIDv7)';
comment on column analytics.attempts.attempt is 'Number of the attempt, from 1';
comment on column analytics.attempts.tenant is 'Who the job was for and who pays';
comment on column analytics.attempts.backend is 'Where it ran: local, cloud, gemini or another that is configured';
comment on column analytics.attempts.class is 'Resource class the job needed';
comment on column analytics.attempts.model is 'The model of the catalog or the provider';
comment on column analytics.attempts.worker is 'Process that ran it; empty when it was taken back before it started';
comment on column analytics.attempts.simulated is 'Whether the provider was a simulator';
comment on column analytics.attempts.assigned_at is 'When it was placed';
comment on column analytics.attempts.started_at is 'When a worker began with it';
comment on column analytics.attempts.finished_at is 'When it ended';
comment on column analytics.attempts.run_ms is 'Milliseconds from start to end';
comment on column analytics.attempts.provider_id is 'Id of the work at the provider';
comment on column analytics.attempts.reason is 'Why it was placed there, in a sentence';
comment on column analytics.attempts.expected_micro_usd is 'What it was expected to cost when it was placed';
comment on column analytics.attempts.failure_code is 'Closed code of the failure; empty when it succeeded or still runs';
comment on column analytics.attempts.failure_message is 'The failure in words';
comment on column analytics.attempts.disposition is 'What followed the failure: retry, failover, snooze or reconcile; empty when the job ended with it';
comment on column analytics.attempts.energy_mj is 'Energy measured on our own GPU, millijoules';
comment on column analytics.attempts.charge_state is 'pending, posted or voided; empty when no money was involved';
comment on column analytics.attempts.posted_micro_usd is 'What was spent on it';
comment on column analytics.attempts.open_micro_usd is 'What is still set aside for it';

create view analytics.jobs as
select j.id as job, j.tenant, j.lane, j.kind, j.class, j.form, j.labels, j.submitted_at,
    utc_day(j.submitted_at) as submitted_day, j.deadline_at, j.max_cost_micro_usd, j.state, j.state_at, j.ended_at,
    j.failure_code, j.failure ->> 'message' as failure_message, coalesce(t.attempts, 0) as attempts, t.backend,
    t.simulated, coalesce(m.posted_micro_usd, 0) as posted_micro_usd, coalesce(m.open_micro_usd, 0) as open_micro_usd,
    to_ms(t.first_started_at) - to_ms(j.submitted_at) as queue_ms, t.run_ms,
    to_ms(j.ended_at) - to_ms(j.submitted_at) as total_ms
from jobs j
left join lateral (
    select count(*) as attempts, min(a.started_at) as first_started_at,
        (array_agg(a.backend order by a.attempt desc))[1] as backend,
        (array_agg(a.simulated order by a.attempt desc))[1] as simulated,
        (array_agg(to_ms(a.finished_at) - to_ms(a.started_at) order by a.attempt desc))[1] as run_ms
    from attempts a where a.job = j.id
    having count(*) > 0
) t on true
left join lateral (
    select sum(c.posted_micro_usd)::bigint as posted_micro_usd, sum(c.open_micro_usd)::bigint as open_micro_usd
    from charges c where c.job = j.id
) m on true;

comment on view analytics.jobs is 'One row per job, with its cost and its times.';
comment on column analytics.jobs.job is 'Id of the job (UUIDv7)';
comment on column analytics.jobs.tenant is 'Who the job was for and who pays';
comment on column analytics.jobs.lane is 'interactive, standard or batch';
comment on column analytics.jobs.kind is 'image or video';
comment on column analytics.jobs.class is 'Resource class the job needed';
comment on column analytics.jobs.form is 'prompt or workflow';
comment on column analytics.jobs.labels is 'Words of the client, as a JSON object';
comment on column analytics.jobs.submitted_at is 'When the broker took it in';
comment on column analytics.jobs.submitted_day is 'Day of submitted_at';
comment on column analytics.jobs.deadline_at is 'When it was of no more use';
comment on column analytics.jobs.max_cost_micro_usd is 'The most that might be spent on it';
comment on column analytics.jobs.state is 'submitted, assigned, running, retrying, completed, failed, cancelled or expired';
comment on column analytics.jobs.state_at is 'Since when it is in that state';
comment on column analytics.jobs.ended_at is 'When it reached its terminal state';
comment on column analytics.jobs.failure_code is 'Closed code of the failure it ended with';
comment on column analytics.jobs.failure_message is 'That failure in words';
comment on column analytics.jobs.attempts is 'How many attempts it had';
comment on column analytics.jobs.backend is 'Where its last attempt was; for a completed job, where it was made';
comment on column analytics.jobs.simulated is 'Whether that provider was a simulator';
comment on column analytics.jobs.posted_micro_usd is 'What was spent on all its attempts';
comment on column analytics.jobs.open_micro_usd is 'What is still set aside for it';
comment on column analytics.jobs.queue_ms is 'Milliseconds from submission to the start of its first attempt';
comment on column analytics.jobs.run_ms is 'Milliseconds from start to end of its last attempt';
comment on column analytics.jobs.total_ms is 'Milliseconds from submission to its terminal state';

create view analytics.candidates as
select e.job, e.attempt, e.occurred_at as decided_at, c.body ->> 'backend' as backend,
    c.body ->> 'backend' = e.body #>> '{fact,decision,choice}' as chosen,
    (c.body ->> 'score')::double precision as score,
    (c.body #>> '{terms,priority}')::double precision as priority_term,
    (c.body #>> '{terms,cost}')::double precision as cost_term,
    (c.body #>> '{terms,speed}')::double precision as speed_term,
    (c.body #>> '{terms,queue}')::double precision as queue_term,
    (c.body ->> 'expected_micro_usd')::bigint as expected_micro_usd,
    (c.body ->> 'wait_ms')::numeric as wait_ms, (c.body ->> 'completion_ms')::numeric as completion_ms,
    (c.body ->> 'backlog')::numeric as backlog, (c.body ->> 'slots')::numeric as slots,
    coalesce(c.body -> 'rejections', '[]'::jsonb) as rejections, (c.body ->> 'simulated')::boolean as simulated
from events e
cross join lateral jsonb_array_elements(e.body #> '{fact,decision,candidates}') as c (body)
where e.kind = 'assigned';

comment on view analytics.candidates is 'One row per decision and backend that was looked at: what filtered it out or what it scored.';
comment on column analytics.candidates.job is 'Id of the job (UUIDv7)';
comment on column analytics.candidates.attempt is 'Number of the attempt that was placed';
comment on column analytics.candidates.decided_at is 'When';
comment on column analytics.candidates.backend is 'The backend that was looked at';
comment on column analytics.candidates.chosen is 'Whether it was chosen';
comment on column analytics.candidates.score is 'Weighted sum of its terms';
comment on column analytics.candidates.priority_term is 'Term for the configured rank, 0 to 1';
comment on column analytics.candidates.cost_term is 'Term for cheapness, 0 to 1';
comment on column analytics.candidates.speed_term is 'Term for expected completion, 0 to 1';
comment on column analytics.candidates.queue_term is 'Term for emptiness of its queue, 0 to 1';
comment on column analytics.candidates.expected_micro_usd is 'What the attempt was expected to cost there';
comment on column analytics.candidates.wait_ms is 'Expected wait for a slot, milliseconds';
comment on column analytics.candidates.completion_ms is 'Expected completion from then, milliseconds';
comment on column analytics.candidates.backlog is 'Jobs that waited or ran there in the class';
comment on column analytics.candidates.slots is 'Slots of healthy workers there in the class';
comment on column analytics.candidates.rejections is 'What filtered it out, with figures, as a JSON array; empty array when eligible';
comment on column analytics.candidates.simulated is 'Whether the provider was a simulator';

create view analytics.cost_by_day as
select day, backend, tenant, simulated, count(*) as charges, sum(posted_micro_usd)::bigint as posted_micro_usd,
    coalesce(sum(posted_micro_usd) filter (where possibly_paid), 0)::bigint as possibly_paid_micro_usd,
    sum(open_micro_usd)::bigint as open_micro_usd, sum(voided_micro_usd)::bigint as voided_micro_usd
from analytics.charges group by day, backend, tenant, simulated;

comment on view analytics.cost_by_day is 'Cost of each day, backend and tenant; compare it with what the provider billed for the day.';
comment on column analytics.cost_by_day.day is 'Day of the end of the attempts; of their reservation as long as nothing is posted';
comment on column analytics.cost_by_day.backend is 'Where it ran: local, cloud, gemini or another that is configured';
comment on column analytics.cost_by_day.tenant is 'Who the job was for and who pays';
comment on column analytics.cost_by_day.simulated is 'Whether the provider was a simulator';
comment on column analytics.cost_by_day.charges is 'How many charges it sums';
comment on column analytics.cost_by_day.posted_micro_usd is 'What was spent';
comment on column analytics.cost_by_day.possibly_paid_micro_usd is 'The part of it of which the provider could not tell whether it billed';
comment on column analytics.cost_by_day.open_micro_usd is 'What is still set aside';
comment on column analytics.cost_by_day.voided_micro_usd is 'What was set aside and not spent';

create view analytics.cost_by_backend as
select backend, simulated, count(*) as charges, sum(posted_micro_usd)::bigint as posted_micro_usd,
    coalesce(sum(posted_micro_usd) filter (where possibly_paid), 0)::bigint as possibly_paid_micro_usd,
    sum(open_micro_usd)::bigint as open_micro_usd, sum(voided_micro_usd)::bigint as voided_micro_usd
from analytics.charges group by backend, simulated;

comment on view analytics.cost_by_backend is 'Cost of each backend since the beginning.';
comment on column analytics.cost_by_backend.backend is 'Where it ran: local, cloud, gemini or another that is configured';
comment on column analytics.cost_by_backend.simulated is 'Whether the provider was a simulator';
comment on column analytics.cost_by_backend.charges is 'How many charges it sums';
comment on column analytics.cost_by_backend.posted_micro_usd is 'What was spent';
comment on column analytics.cost_by_backend.possibly_paid_micro_usd is 'The part of it of which the provider could not tell whether it billed';
comment on column analytics.cost_by_backend.open_micro_usd is 'What is still set aside';
comment on column analytics.cost_by_backend.voided_micro_usd is 'What was set aside and not spent';

create view analytics.cost_by_tenant as
select tenant, count(*) as charges, sum(posted_micro_usd)::bigint as posted_micro_usd,
    coalesce(sum(posted_micro_usd) filter (where possibly_paid), 0)::bigint as possibly_paid_micro_usd,
    sum(open_micro_usd)::bigint as open_micro_usd, sum(voided_micro_usd)::bigint as voided_micro_usd
from analytics.charges group by tenant;

comment on view analytics.cost_by_tenant is 'Cost of each tenant since the beginning.';
comment on column analytics.cost_by_tenant.tenant is 'Who the job was for and who pays';
comment on column analytics.cost_by_tenant.charges is 'How many charges it sums';
comment on column analytics.cost_by_tenant.posted_micro_usd is 'What was spent';
comment on column analytics.cost_by_tenant.possibly_paid_micro_usd is 'The part of it of which the provider could not tell whether it billed';
comment on column analytics.cost_by_tenant.open_micro_usd is 'What is still set aside';
comment on column analytics.cost_by_tenant.voided_micro_usd is 'What was set aside and not spent';

create view analytics.cost_by_label as
select l.label, l.value, count(*) as charges, sum(posted_micro_usd)::bigint as posted_micro_usd,
    coalesce(sum(posted_micro_usd) filter (where possibly_paid), 0)::bigint as possibly_paid_micro_usd,
    sum(open_micro_usd)::bigint as open_micro_usd, sum(voided_micro_usd)::bigint as voided_micro_usd
from analytics.charges c
join jobs j on j.id = c.job
cross join lateral jsonb_each_text(j.labels) as l (label, value)
group by l.label, l.value;

comment on view analytics.cost_by_label is 'Cost by the labels that clients put on their jobs. A job with two labels counts under both.';
comment on column analytics.cost_by_label.label is 'Name of the label';
comment on column analytics.cost_by_label.value is 'Its value';
comment on column analytics.cost_by_label.charges is 'How many charges it sums';
comment on column analytics.cost_by_label.posted_micro_usd is 'What was spent';
comment on column analytics.cost_by_label.possibly_paid_micro_usd is 'The part of it of which the provider could not tell whether it billed';
comment on column analytics.cost_by_label.open_micro_usd is 'What is still set aside';
comment on column analytics.cost_by_label.voided_micro_usd is 'What was set aside and not spent';

create view analytics.savings as
select j.job, j.tenant, utc_day(j.ended_at) as day, j.backend, e.against, j.posted_micro_usd as actual_micro_usd,
    e.expected::bigint as baseline_micro_usd, e.expected::bigint - j.posted_micro_usd as saving_micro_usd
from analytics.jobs j
join jobs t on t.id = j.job
cross join lateral jsonb_each_text(t.elsewhere) as e (against, expected)
where j.state = 'completed';

comment on view analytics.savings is 'One row per completed job and backend that could have made it: what it cost, and what it would have cost there.';
comment on column analytics.savings.job is 'Id of the job (UUIDv7)';
comment on column analytics.savings.tenant is 'Who the job was for and who pays';
comment on column analytics.savings.day is 'Day of the end of the job';
comment on column analytics.savings.backend is 'Where it was made';
comment on column analytics.savings.against is 'The backend it is compared with';
comment on column analytics.savings.actual_micro_usd is 'What was spent on all its attempts';
comment on column analytics.savings.baseline_micro_usd is 'What its first decision expected it to cost at the backend it is compared with';
comment on column analytics.savings.saving_micro_usd is 'baseline_micro_usd minus actual_micro_usd; negative when it cost more';

create view analytics.savings_by_baseline as
select against, count(*) as jobs, sum(actual_micro_usd)::bigint as actual_micro_usd,
    sum(baseline_micro_usd)::bigint as baseline_micro_usd, sum(saving_micro_usd)::bigint as saving_micro_usd
from analytics.savings group by against;

comment on view analytics.savings_by_baseline is 'What would have been spent had every job been made at one backend: the sums of analytics.savings.';
comment on column analytics.savings_by_baseline.against is 'The backend that all jobs are compared with';
comment on column analytics.savings_by_baseline.jobs is 'Completed jobs that it could have made';
comment on column analytics.savings_by_baseline.actual_micro_usd is 'What was spent on those jobs';
comment on column analytics.savings_by_baseline.baseline_micro_usd is 'What they would have cost there';
comment on column analytics.savings_by_baseline.saving_micro_usd is 'baseline_micro_usd minus actual_micro_usd';

create view analytics.failure_rates as
select utc_day(assigned_at) as day, backend, class, count(*) as attempts, count(failure_code) as failed,
    count(*) filter (where disposition = 'retry') as retried,
    count(*) filter (where disposition = 'failover') as failed_over,
    count(*) filter (where failure_code = 'interrupted') as interrupted,
    round(count(failure_code)::numeric / count(*), 4) as failed_ratio,
    round((count(*) filter (where disposition = 'failover'))::numeric / count(*), 4) as failed_over_ratio
from attempts where finished_at is not null
group by utc_day(assigned_at), backend, class;

comment on view analytics.failure_rates is 'Attempts, failures and what followed them, by day, backend and class.';
comment on column analytics.failure_rates.day is 'Day on which the attempts were placed';
comment on column analytics.failure_rates.backend is 'Where it ran: local, cloud, gemini or another that is configured';
comment on column analytics.failure_rates.class is 'Resource class';
comment on column analytics.failure_rates.attempts is 'Attempts that ended';
comment on column analytics.failure_rates.failed is 'Those that failed';
comment on column analytics.failure_rates.retried is 'Failures followed by a retry at the same backend';
comment on column analytics.failure_rates.failed_over is 'Failures followed by another backend';
comment on column analytics.failure_rates.interrupted is 'Failures of code interrupted: a drain or a lost worker, which cost the job no attempt';
comment on column analytics.failure_rates.failed_ratio is 'failed / attempts, 0 to 1';
comment on column analytics.failure_rates.failed_over_ratio is 'failed_over / attempts, 0 to 1';

create view analytics.failures as
select utc_day(finished_at) as day, backend, failure_code, disposition, count(*) as attempts
from attempts where failure_code is not null
group by utc_day(finished_at), backend, failure_code, disposition;

comment on view analytics.failures is 'How often each failure happened, by day and backend.';
comment on column analytics.failures.day is 'Day on which the attempts ended';
comment on column analytics.failures.backend is 'Where it ran: local, cloud, gemini or another that is configured';
comment on column analytics.failures.failure_code is 'Closed code of the failure';
comment on column analytics.failures.disposition is 'What followed: retry, failover, snooze or reconcile; empty when the job ended with it';
comment on column analytics.failures.attempts is 'How many attempts failed so';

create view analytics.latency as
select submitted_day as day, backend, class, count(*) as jobs,
    percentile_cont(0.50) within group (order by queue_ms) as queue_p50_ms,
    percentile_cont(0.95) within group (order by queue_ms) as queue_p95_ms,
    percentile_cont(0.99) within group (order by queue_ms) as queue_p99_ms,
    percentile_cont(0.50) within group (order by run_ms) as run_p50_ms,
    percentile_cont(0.95) within group (order by run_ms) as run_p95_ms,
    percentile_cont(0.99) within group (order by run_ms) as run_p99_ms,
    percentile_cont(0.50) within group (order by total_ms) as total_p50_ms,
    percentile_cont(0.95) within group (order by total_ms) as total_p95_ms,
    percentile_cont(0.99) within group (order by total_ms) as total_p99_ms
from analytics.jobs where state = 'completed'
group by submitted_day, backend, class;

comment on view analytics.latency is 'Latency percentiles of completed jobs by day, backend and class.';
comment on column analytics.latency.day is 'Day on which the jobs were submitted';
comment on column analytics.latency.backend is 'Where they were made';
comment on column analytics.latency.class is 'Resource class';
comment on column analytics.latency.jobs is 'Completed jobs';
comment on column analytics.latency.queue_p50_ms is '50th percentile of the milliseconds from submission to the start of the first attempt';
comment on column analytics.latency.queue_p95_ms is '95th percentile of the milliseconds from submission to the start of the first attempt';
comment on column analytics.latency.queue_p99_ms is '99th percentile of the milliseconds from submission to the start of the first attempt';
comment on column analytics.latency.run_p50_ms is '50th percentile of the milliseconds from start to end of the last attempt';
comment on column analytics.latency.run_p95_ms is '95th percentile of the milliseconds from start to end of the last attempt';
comment on column analytics.latency.run_p99_ms is '99th percentile of the milliseconds from start to end of the last attempt';
comment on column analytics.latency.total_p50_ms is '50th percentile of the milliseconds from submission to the end of the job';
comment on column analytics.latency.total_p95_ms is '95th percentile of the milliseconds from submission to the end of the job';
comment on column analytics.latency.total_p99_ms is '99th percentile of the milliseconds from submission to the end of the job';

create view analytics.utilisation as
select h.hour, a.backend, a.worker, count(*) as attempts,
    round(sum(extract(epoch from least(a.finished_at, h.hour + interval '1 hour') - greatest(a.started_at, h.hour))), 3)
        as busy_seconds,
    round(sum(extract(epoch from least(a.finished_at, h.hour + interval '1 hour') - greatest(a.started_at, h.hour)))
        / 3600, 4) as busy_ratio
from attempts a
cross join lateral generate_series(date_trunc('hour', a.started_at, 'UTC'), a.finished_at, interval '1 hour') as h (hour)
where a.worker is not null and a.started_at <= a.finished_at
group by h.hour, a.backend, a.worker;

comment on view analytics.utilisation is 'How long each worker was busy in each hour; with several slots this can exceed the hour.';
comment on column analytics.utilisation.hour is 'Start of the hour (UTC)';
comment on column analytics.utilisation.backend is 'Where it ran: local, cloud, gemini or another that is configured';
comment on column analytics.utilisation.worker is 'The process';
comment on column analytics.utilisation.attempts is 'Attempts that ran in the hour';
comment on column analytics.utilisation.busy_seconds is 'Seconds of work in the hour, summed over its slots';
comment on column analytics.utilisation.busy_ratio is 'busy_seconds / 3600';

create view analytics.open_reservations as
select c.job, c.attempt, c.tenant, c.backend, c.open_micro_usd, c.budget_at as since, j.state as job_state,
    a.finished_at as attempt_finished_at
from charges c
left join jobs j on j.id = c.job
left join attempts a on a.job = c.job and a.attempt = c.attempt
where c.state = 'pending'
order by c.budget_at, c.job, c.attempt;

comment on view analytics.open_reservations is 'Money that is set aside and neither spent nor given back, oldest first.';
comment on column analytics.open_reservations.job is 'Id of the job (UUIDv7)';
comment on column analytics.open_reservations.attempt is 'Number of the attempt';
comment on column analytics.open_reservations.tenant is 'Who the job was for and who pays';
comment on column analytics.open_reservations.backend is 'Where it ran: local, cloud, gemini or another that is configured';
comment on column analytics.open_reservations.open_micro_usd is 'What is set aside';
comment on column analytics.open_reservations.since is 'When it was set aside';
comment on column analytics.open_reservations.job_state is 'State of the job; empty when no event has told of it yet';
comment on column analytics.open_reservations.attempt_finished_at is 'When the attempt ended, where it has';

create view analytics.spending as
select u.day, date_trunc('month', u.day)::date as month, u.tenant, u.committed_micro_usd,
    (sum(u.committed_micro_usd) over (partition by u.tenant, date_trunc('month', u.day) order by u.day))::bigint
        as month_committed_micro_usd,
    b.daily_micro_usd as daily_budget_micro_usd, b.monthly_micro_usd as monthly_budget_micro_usd
from budget_use u
left join lateral (
    select daily_micro_usd, monthly_micro_usd from budgets
    where (scope = 'tenant' and tenant = u.tenant) or scope = 'default'
    order by scope = 'tenant' desc limit 1
) b on true;

comment on view analytics.spending is 'Spent and set aside by tenant and day, beside the budgets as the ledger last read them.';
comment on column analytics.spending.day is 'Day of the reservations';
comment on column analytics.spending.month is 'First day of its month';
comment on column analytics.spending.tenant is 'Who the job was for and who pays';
comment on column analytics.spending.committed_micro_usd is 'Spent or set aside on the day';
comment on column analytics.spending.month_committed_micro_usd is 'Spent or set aside from the first of the month up to and including the day';
comment on column analytics.spending.daily_budget_micro_usd is 'Budget of the tenant for a day; empty for none';
comment on column analytics.spending.monthly_budget_micro_usd is 'Budget of the tenant for a month; empty for none';

create view analytics.fleet_spending as
select u.day, sum(u.committed_micro_usd)::bigint as committed_micro_usd,
    (sum(sum(u.committed_micro_usd)) over (partition by date_trunc('month', u.day) order by u.day))::bigint
        as month_committed_micro_usd,
    max(b.daily_micro_usd) as daily_budget_micro_usd, max(b.monthly_micro_usd) as monthly_budget_micro_usd
from budget_use u
left join budgets b on b.scope = 'fleet'
group by u.day;

comment on view analytics.fleet_spending is 'Spent and set aside by day over all tenants, beside the budgets of the fleet.';
comment on column analytics.fleet_spending.day is 'Day of the reservations';
comment on column analytics.fleet_spending.committed_micro_usd is 'Spent or set aside on the day';
comment on column analytics.fleet_spending.month_committed_micro_usd is 'Spent or set aside from the first of the month up to and including the day';
comment on column analytics.fleet_spending.daily_budget_micro_usd is 'Budget of the fleet for a day; empty for none';
comment on column analytics.fleet_spending.monthly_budget_micro_usd is 'Budget of the fleet for a month; empty for none';

create view analytics.conservation as
select budget_day as day, sum(reserved_micro_usd)::bigint as reserved_micro_usd,
    sum(overrun_micro_usd)::bigint as overrun_micro_usd, sum(posted_micro_usd)::bigint as posted_micro_usd,
    sum(voided_micro_usd)::bigint as voided_micro_usd, sum(open_micro_usd)::bigint as open_micro_usd,
    sum(reserved_micro_usd + overrun_micro_usd - posted_micro_usd - voided_micro_usd - open_micro_usd)::bigint
        as difference_micro_usd
from charges group by budget_day;

comment on view analytics.conservation is 'The books by day: reserved + overrun = posted + voided + open, in every row.';
comment on column analytics.conservation.day is 'Day of the reservations';
comment on column analytics.conservation.reserved_micro_usd is 'What was set aside';
comment on column analytics.conservation.overrun_micro_usd is 'What was spent beyond its reservation';
comment on column analytics.conservation.posted_micro_usd is 'What was spent';
comment on column analytics.conservation.voided_micro_usd is 'What was set aside and not spent';
comment on column analytics.conservation.open_micro_usd is 'What is still set aside';
comment on column analytics.conservation.difference_micro_usd is '0 unless the books are broken';

-- The read-only role. Analysts' logins become members of it; it sees the views and nothing else. Roles
-- belong to the whole server, so it may exist already; a migrating user who may not create roles gets
-- a warning, and an administrator creates it and repeats the grants.
do $$
begin
    if not exists (select from pg_roles where rolname = 'argosy_analyst') then
        create role argosy_analyst nologin;
    end if;
exception
    when duplicate_object or unique_violation then null;
    when insufficient_privilege then
        raise warning 'role argosy_analyst could not be created: create it, then grant it usage on schema analytics and select on its views';
end $$;

do $$
begin
    if exists (select from pg_roles where rolname = 'argosy_analyst') then
        grant usage on schema analytics to argosy_analyst;
        grant select on all tables in schema analytics to argosy_analyst;
    end if;
end $$;
