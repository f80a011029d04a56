-- Dollars, lane and model in the views of single rows and of budgets. What was there stays as it was; the new columns
-- follow. Lane and model of a charge are looked up only where they are asked for.

create or replace view analytics.charges as
select job, attempt, tenant, backend, simulated, state, settled_by, reserved_micro_usd, posted_micro_usd,
    open_micro_usd, voided_micro_usd, overrun_micro_usd, possibly_paid, budget_day, posted_day,
    coalesce(posted_day, budget_day) as day,
    (select j.lane from jobs j where j.id = c.job) as lane,
    (select a.model from attempts a where a.job = c.job and a.attempt = c.attempt and a.backend = c.backend) as model,
    analytics.usd(reserved_micro_usd) as reserved_usd, analytics.usd(posted_micro_usd) as posted_usd,
    analytics.usd(open_micro_usd) as open_usd, analytics.usd(voided_micro_usd) as voided_usd,
    analytics.usd(overrun_micro_usd) as overrun_usd
from charges c;

create or replace view analytics.attempts as
select a.job, a.attempt, j.tenant, a.backend, a.class, a.model, a.worker, a.simulated, a.assigned_at, a.started_at,
    a.finished_at, to_ms(a.finished_at) - to_ms(a.started_at) as run_ms, a.provider_id, a.reason,
    a.expected_micro_usd, a.failure_code, a.failure ->> 'message' as failure_message, a.disposition, a.energy_mj,
    c.state as charge_state, coalesce(c.posted_micro_usd, 0) as posted_micro_usd,
    coalesce(c.open_micro_usd, 0) as open_micro_usd,
    j.lane, analytics.usd(a.expected_micro_usd) as expected_usd,
    analytics.usd(coalesce(c.posted_micro_usd, 0)) as posted_usd,
    analytics.usd(coalesce(c.open_micro_usd, 0)) as open_usd
from attempts a
cross join lateral (select tenant, lane from jobs where id = a.job limit 1) j
left join lateral (
    select state, posted_micro_usd, open_micro_usd from charges where job = a.job and attempt = a.attempt limit 1
) c on true;

create or replace view analytics.jobs as
select j.id as job, j.tenant, j.lane, j.kind, j.class, j.form, j.labels, j.submitted_at,
    utc_day(j.submitted_at) as submitted_day, j.deadline_at, j.max_cost_micro_usd, j.state, j.state_at, j.ended_at,
    j.failure_code, j.failure ->> 'message' as failure_message, coalesce(t.attempts, 0) as attempts, t.backend,
    t.simulated, coalesce(m.posted_micro_usd, 0) as posted_micro_usd, coalesce(m.open_micro_usd, 0) as open_micro_usd,
    to_ms(t.first_started_at) - to_ms(j.submitted_at) as queue_ms, t.run_ms,
    to_ms(j.ended_at) - to_ms(j.submitted_at) as total_ms,
    t.model, analytics.usd(j.max_cost_micro_usd) as max_cost_usd,
    analytics.usd(coalesce(m.posted_micro_usd, 0)) as posted_usd,
    analytics.usd(coalesce(m.open_micro_usd, 0)) as open_usd
from jobs j
left join lateral (
    select count(*) as attempts, min(a.started_at) as first_started_at,
        (array_agg(a.backend order by a.attempt desc))[1] as backend,
        (array_agg(a.simulated order by a.attempt desc))[1] as simulated,
        (array_agg(to_ms(a.finished_at) - to_ms(a.started_at) order by a.attempt desc))[1] as run_ms,
        (array_agg(a.model order by a.attempt desc))[1] as model
    from attempts a where a.job = j.id
    having count(*) > 0
) t on true
left join lateral (
    select sum(c.posted_micro_usd)::bigint as posted_micro_usd, sum(c.open_micro_usd)::bigint as open_micro_usd
    from charges c where c.job = j.id
) m on true;

create or replace view analytics.savings as
select j.job, j.tenant, utc_day(j.ended_at) as day, j.backend, e.against, j.posted_micro_usd as actual_micro_usd,
    e.expected::bigint as baseline_micro_usd, e.expected::bigint - j.posted_micro_usd as saving_micro_usd,
    j.lane, j.model, analytics.usd(j.posted_micro_usd) as actual_usd, analytics.usd(e.expected::bigint) as baseline_usd,
    analytics.usd(e.expected::bigint - j.posted_micro_usd) as saving_usd
from analytics.jobs j
join jobs t on t.id = j.job
cross join lateral jsonb_each_text(t.elsewhere) as e (against, expected)
where j.state = 'completed';

create or replace view analytics.open_reservations as
select c.job, c.attempt, c.tenant, c.backend, c.open_micro_usd, c.budget_at as since, j.state as job_state,
    a.finished_at as attempt_finished_at,
    j.lane, case when a.backend = c.backend then a.model end as model, analytics.usd(c.open_micro_usd) as open_usd
from charges c
left join jobs j on j.id = c.job
left join attempts a on a.job = c.job and a.attempt = c.attempt
where c.state = 'pending'
order by c.budget_at, c.job, c.attempt;

create or replace view analytics.spending as
select u.day, date_trunc('month', u.day)::date as month, u.tenant, u.committed_micro_usd,
    (sum(u.committed_micro_usd) over (partition by u.tenant, date_trunc('month', u.day) order by u.day))::bigint
        as month_committed_micro_usd,
    b.daily_micro_usd as daily_budget_micro_usd, b.monthly_micro_usd as monthly_budget_micro_usd,
    coalesce(b.scope = 'default', false) as shares_budget,
    (case when b.scope = 'default' then
        sum(u.committed_micro_usd) over (partition by b.scope, u.day) end)::bigint as shared_committed_micro_usd,
    (case when b.scope = 'default' then
        sum(u.committed_micro_usd) over (partition by b.scope, date_trunc('month', u.day) order by u.day) end)::bigint
        as shared_month_committed_micro_usd,
    analytics.usd(u.committed_micro_usd) as committed_usd,
    analytics.usd((sum(u.committed_micro_usd) over (partition by u.tenant, date_trunc('month', u.day) order by u.day))
        ::bigint) as month_committed_usd,
    analytics.usd(b.daily_micro_usd) as daily_budget_usd, analytics.usd(b.monthly_micro_usd) as monthly_budget_usd,
    analytics.usd((case when b.scope = 'default' then
        sum(u.committed_micro_usd) over (partition by b.scope, u.day) end)::bigint) as shared_committed_usd,
    analytics.usd((case when b.scope = 'default' then
        sum(u.committed_micro_usd) over (partition by b.scope, date_trunc('month', u.day) order by u.day) end)::bigint)
        as shared_month_committed_usd
from budget_use u
left join lateral (
    select scope, daily_micro_usd, monthly_micro_usd from budgets
    where (scope = 'tenant' and tenant = u.tenant) or scope = 'default'
    order by scope = 'tenant' desc limit 1
) b on true;

create or replace view analytics.fleet_spending as
select u.day, sum(u.committed_micro_usd)::bigint as committed_micro_usd,
    (sum(sum(u.committed_micro_usd)) over (partition by date_trunc('month', u.day) order by u.day))::bigint
        as month_committed_micro_usd,
    max(b.daily_micro_usd) as daily_budget_micro_usd, max(b.monthly_micro_usd) as monthly_budget_micro_usd,
    sum(u.overhead_micro_usd)::bigint as overhead_micro_usd,
    analytics.usd(sum(u.committed_micro_usd)::bigint) as committed_usd,
    analytics.usd((sum(sum(u.committed_micro_usd)) over (partition by date_trunc('month', u.day) order by u.day))
        ::bigint) as month_committed_usd,
    analytics.usd(max(b.daily_micro_usd)) as daily_budget_usd,
    analytics.usd(max(b.monthly_micro_usd)) as monthly_budget_usd,
    analytics.usd(sum(u.overhead_micro_usd)::bigint) as overhead_usd
from (
    select day, committed_micro_usd, 0::bigint as overhead_micro_usd from budget_use
    union all
    select day, held_micro_usd, held_micro_usd from overhead
) as u
left join budgets b on b.scope = 'fleet'
group by u.day;

create or replace view analytics.conservation as
select budget_day as day, sum(reserved_micro_usd)::bigint as reserved_micro_usd,
    sum(overrun_micro_usd)::bigint as overrun_micro_usd, sum(posted_micro_usd)::bigint as posted_micro_usd,
    sum(voided_micro_usd)::bigint as voided_micro_usd, sum(open_micro_usd)::bigint as open_micro_usd,
    sum(reserved_micro_usd + overrun_micro_usd - posted_micro_usd - voided_micro_usd - open_micro_usd)::bigint
        as difference_micro_usd,
    analytics.usd(sum(reserved_micro_usd)::bigint) as reserved_usd,
    analytics.usd(sum(overrun_micro_usd)::bigint) as overrun_usd,
    analytics.usd(sum(posted_micro_usd)::bigint) as posted_usd,
    analytics.usd(sum(voided_micro_usd)::bigint) as voided_usd,
    analytics.usd(sum(open_micro_usd)::bigint) as open_usd,
    analytics.usd(sum(reserved_micro_usd + overrun_micro_usd - posted_micro_usd - voided_micro_usd - open_micro_usd)
        ::bigint) as difference_usd
from rollup.charges_now() group by budget_day having sum(charges) > 0;

create or replace view analytics.overhead as
select day, backend, endpoint, simulated, 'start_and_idle'::text as reason,
    case when estimated then 'estimated' else 'posted' end as state, amount_micro_usd,
    attempts_micro_usd, billed_micro_usd, asked_at, held_micro_usd,
    analytics.usd(amount_micro_usd) as amount_usd, analytics.usd(attempts_micro_usd) as attempts_usd,
    analytics.usd(billed_micro_usd) as billed_usd, analytics.usd(held_micro_usd) as held_usd
from overhead;

-- Free work is on no bill.
create or replace view analytics.bill_by_day as
select day, backend, sum(attempts)::bigint as attempts_micro_usd, sum(possibly)::bigint as possibly_paid_micro_usd,
    sum(overhead)::bigint as overhead_micro_usd, sum(estimate)::bigint as estimated_overhead_micro_usd,
    sum(attempts + overhead)::bigint as bill_micro_usd,
    analytics.usd(sum(attempts)::bigint) as attempts_usd, analytics.usd(sum(possibly)::bigint) as possibly_paid_usd,
    analytics.usd(sum(overhead)::bigint) as overhead_usd,
    analytics.usd(sum(estimate)::bigint) as estimated_overhead_usd,
    analytics.usd(sum(attempts + overhead)::bigint) as bill_usd
from (
    select day, backend, posted_micro_usd - possibly_paid_micro_usd as attempts, possibly_paid_micro_usd as possibly,
        0::bigint as overhead, 0::bigint as estimate
    from analytics.cost_by_day where charges > 0
    union all
    select day, backend, 0, 0, case when estimated then 0 else amount_micro_usd end,
        case when estimated then amount_micro_usd else 0 end
    from overhead
) as parts
group by day, backend;

create or replace view analytics.candidates as
select e.job, d.attempt, d.decided_at, c.body ->> 'backend' as backend,
    c.body ->> 'backend' = d.decision ->> 'choice' as chosen,
    (c.body ->> 'score')::double precision as score,
    (c.body #>> '{terms,priority}')::double precision as priority_term,
    (c.body #>> '{terms,cost}')::double precision as cost_term,
    (c.body #>> '{terms,speed}')::double precision as speed_term,
    (c.body #>> '{terms,queue}')::double precision as queue_term,
    (c.body ->> 'expected_micro_usd')::bigint as expected_micro_usd,
    (c.body ->> 'wait_ms')::numeric as wait_ms, (c.body ->> 'completion_ms')::numeric as completion_ms,
    (c.body ->> 'backlog')::numeric as backlog, (c.body ->> 'slots')::numeric as slots,
    coalesce(c.body -> 'rejections', '[]'::jsonb) as rejections, (c.body ->> 'simulated')::boolean as simulated,
    analytics.usd((c.body ->> 'expected_micro_usd')::bigint) as expected_usd
from events e
cross join lateral (
    select e.attempt, e.occurred_at as decided_at, e.body::jsonb #> '{fact,decision}' as decision
    where e.kind = 'assigned'
    union all
    select (a.facts ->> 'attempt')::integer, at_ms((a.facts ->> 'assigned_at_ms')::bigint), a.facts -> 'decision'
    from jsonb_array_elements(coalesce(e.body::jsonb #> '{fact,attempts}',
        jsonb_build_array(e.body::jsonb #> '{fact,ended_attempt}'))) as a (facts)
    where e.kind in ('ended', 'retrying') and a.facts ? 'decision'
        -- Told twice where a job ended while its failed attempt was followed up, or was cancelled while it ran.
        and not exists (select from events r where r.job = e.job and r.attempt = (a.facts ->> 'attempt')::integer
            and (r.kind = 'assigned' or (r.kind = 'retrying' and e.kind = 'ended')))
) as d
cross join lateral jsonb_array_elements(d.decision -> 'candidates') as c (body)
where e.kind in ('assigned', 'ended', 'retrying');

-- The new columns: money in dollars says what its column in micro-dollars says.
do $$
declare
    nameless record;
begin
    for nameless in
        select c.relname as view, a.attname as name, coalesce(
            col_description(c.oid, micro.attnum) || ', dollars', words.meaning) as meaning
        from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
        left join pg_attribute micro on micro.attrelid = c.oid
            and micro.attname = regexp_replace(a.attname, '_usd$', '_micro_usd') and micro.attname <> a.attname
        left join (values
            ('lane', 'interactive, standard or batch; empty where no event has told of the job'),
            ('model', 'The model of the catalog or the provider; of a job, that of its last attempt; empty where there is none')
        ) as words (name, meaning) on words.name = a.attname
        where c.relnamespace = 'analytics'::regnamespace and col_description(c.oid, a.attnum) is null
    loop
        execute format('comment on column analytics.%I.%I is %L', nameless.view, nameless.name, nameless.meaning);
    end loop;
end $$;

-- Days and times of before, which did not say whose they are.
do $$
declare
    silent record;
begin
    for silent in
        select c.relname as view, a.attname as name, col_description(c.oid, a.attnum) as meaning,
            a.atttypid = 'date'::regtype as is_day
        from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
        where c.relnamespace = 'analytics'::regnamespace and a.atttypid in ('date'::regtype, 'timestamptz'::regtype)
            and position('UTC' in col_description(c.oid, a.attnum)) = 0
    loop
        execute format('comment on column analytics.%I.%I is %L', silent.view, silent.name,
            case when silent.meaning ~ '^(Day|First day)' and silent.is_day
                then regexp_replace(silent.meaning, '^(Day|First day)', '\1 (UTC)')
                when silent.is_day then silent.meaning || ' (UTC)'
                else silent.meaning || ' (shown in UTC unless your client sets another zone)' end);
    end loop;
end $$;
