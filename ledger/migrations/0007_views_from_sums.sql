-- The views that add up, from the sums of 0005 and the rows that are not in them yet. Names, columns and their
-- meanings are those of 0004.
--
-- Each `*_now` gives what has to be added up. They run as the owner of the tables, as a view does: analysts may
-- call them and see what the views show. All queries of one call see the same moment, because they are `stable`.

create function rollup.charges_now() returns setof rollup.charges
    language plpgsql stable security definer set jit = off as $$
begin
    return query
    select * from rollup.charges
    union all
    select b.day, b.budget_day, b.backend, b.tenant, b.simulated, -b.charges, -b.reserved_micro_usd,
        -b.posted_micro_usd, -b.possibly_paid_micro_usd, -b.open_micro_usd, -b.voided_micro_usd, -b.overrun_micro_usd
    from rollup.live l join rollup.charges_by_span b on b.span = l.span
    union all
    select c.* from rollup.live l cross join lateral rollup.charges_of(l.first_period, l.last_period) c;
end $$;

create function rollup.labels_now() returns setof rollup.labels
    language plpgsql stable security definer set jit = off as $$
begin
    return query
    select * from rollup.labels
    union all
    select b.label, b.value, -b.charges, -b.posted_micro_usd, -b.possibly_paid_micro_usd, -b.open_micro_usd,
        -b.voided_micro_usd
    from rollup.live l join rollup.labels_by_span b on b.span = l.span
    union all
    select c.* from rollup.live l cross join lateral rollup.labels_of(l.first_period, l.last_period) c;
end $$;

create function rollup.savings_now() returns setof rollup.savings
    language plpgsql stable security definer set jit = off as $$
begin
    return query
    select * from rollup.savings
    union all
    select b.against, -b.jobs, -b.actual_micro_usd, -b.baseline_micro_usd
    from rollup.live l join rollup.savings_by_span b on b.span = l.span
    union all
    select s.* from rollup.live l cross join lateral rollup.savings_of(l.first_period, l.last_period) s;
end $$;

create function rollup.attempts_now() returns setof rollup.attempts
    language plpgsql stable security definer set jit = off as $$
begin
    return query
    select * from rollup.attempts
    union all
    select b.assigned_day, b.finished_day, b.backend, b.class, b.failure_code, b.disposition, -b.attempts
    from rollup.live l join rollup.attempts_by_span b on b.span = l.span
    union all
    select a.* from rollup.live l cross join lateral rollup.attempts_of(l.first_period, l.last_period) a;
end $$;

create function rollup.workers_now() returns setof rollup.workers
    language plpgsql stable security definer set jit = off as $$
begin
    return query
    select * from rollup.workers
    union all
    select b.hour, b.backend, b.worker, -b.attempts, -b.busy_us
    from rollup.live l join rollup.workers_by_span b on b.span = l.span
    union all
    select w.* from rollup.live l cross join lateral rollup.workers_of(l.first_period, l.last_period) w;
end $$;

-- Kept percentiles of the days about which nothing is new, and those of all other days from the times themselves.
create function rollup.latency_now() returns setof rollup.latency
    language plpgsql stable security definer set jit = off as $$
#variable_conflict use_column
begin
    return query
    with live as materialized (
        select * from rollup.live
    ), fresh as materialized (
        select t.* from live l cross join lateral rollup.latency_of(l.first_period, l.last_period) t
    ), open_days as materialized (
        select day from fresh
        union select day from rollup.latency_open
        union select b.day from live l join rollup.latency_by_span b on b.span = l.span
    ), times as (
        select day, backend, class, queue_ms, run_ms, total_ms from fresh
        union all
        select day, backend, class, queue_ms, run_ms, total_ms from rollup.latency_by_span b
        where b.day in (select day from open_days) and not exists (select from live l where l.span = b.span)
    )
    select * from rollup.latency k where k.day not in (select day from open_days)
    union all
    select day, backend, class, count(u.total_ms),
        percentile_cont(0.50) within group (order by u.queue_ms), percentile_cont(0.95) within group (order by u.queue_ms),
        percentile_cont(0.99) within group (order by u.queue_ms), percentile_cont(0.50) within group (order by u.run_ms),
        percentile_cont(0.95) within group (order by u.run_ms), percentile_cont(0.99) within group (order by u.run_ms),
        percentile_cont(0.50) within group (order by u.total_ms), percentile_cont(0.95) within group (order by u.total_ms),
        percentile_cont(0.99) within group (order by u.total_ms)
    from times t
    cross join lateral unnest(t.queue_ms, t.run_ms, t.total_ms) as u (queue_ms, run_ms, total_ms)
    group by day, backend, class;
end $$;

create or replace view analytics.cost_by_day as
select day, backend, tenant, simulated, sum(charges)::bigint as charges,
    sum(posted_micro_usd)::bigint as posted_micro_usd, sum(possibly_paid_micro_usd)::bigint as possibly_paid_micro_usd,
    sum(open_micro_usd)::bigint as open_micro_usd, sum(voided_micro_usd)::bigint as voided_micro_usd
from rollup.charges_now() group by day, backend, tenant, simulated having sum(charges) > 0;

create or replace view analytics.cost_by_backend as
select backend, simulated, sum(charges)::bigint as charges,
    sum(posted_micro_usd)::bigint as posted_micro_usd, sum(possibly_paid_micro_usd)::bigint as possibly_paid_micro_usd,
    sum(open_micro_usd)::bigint as open_micro_usd, sum(voided_micro_usd)::bigint as voided_micro_usd
from rollup.charges_now() group by backend, simulated having sum(charges) > 0;

create or replace view analytics.cost_by_tenant as
select tenant, sum(charges)::bigint as charges,
    sum(posted_micro_usd)::bigint as posted_micro_usd, sum(possibly_paid_micro_usd)::bigint as possibly_paid_micro_usd,
    sum(open_micro_usd)::bigint as open_micro_usd, sum(voided_micro_usd)::bigint as voided_micro_usd
from rollup.charges_now() group by tenant having sum(charges) > 0;

create or replace view analytics.cost_by_label as
select label, value, sum(charges)::bigint as charges,
    sum(posted_micro_usd)::bigint as posted_micro_usd, sum(possibly_paid_micro_usd)::bigint as possibly_paid_micro_usd,
    sum(open_micro_usd)::bigint as open_micro_usd, sum(voided_micro_usd)::bigint as voided_micro_usd
from rollup.labels_now() group by label, value having sum(charges) > 0;

create or replace view analytics.conservation as
select budget_day as day, sum(reserved_micro_usd)::bigint as reserved_micro_usd,
    sum(overrun_micro_usd)::bigint as overrun_micro_usd, sum(posted_micro_usd)::bigint as posted_micro_usd,
    sum(voided_micro_usd)::bigint as voided_micro_usd, sum(open_micro_usd)::bigint as open_micro_usd,
    sum(reserved_micro_usd + overrun_micro_usd - posted_micro_usd - voided_micro_usd - open_micro_usd)::bigint
        as difference_micro_usd
from rollup.charges_now() group by budget_day having sum(charges) > 0;

create or replace view analytics.savings_by_baseline as
select against, sum(jobs)::bigint as jobs, sum(actual_micro_usd)::bigint as actual_micro_usd,
    sum(baseline_micro_usd)::bigint as baseline_micro_usd,
    sum(baseline_micro_usd - actual_micro_usd)::bigint as saving_micro_usd
from rollup.savings_now() group by against having sum(jobs) > 0;

create or replace view analytics.failure_rates as
select day, backend, class, attempts, failed, retried, failed_over, interrupted,
    round(failed::numeric / attempts, 4) as failed_ratio, round(failed_over::numeric / attempts, 4) as failed_over_ratio
from (
    select assigned_day as day, backend, class, sum(attempts)::bigint as attempts,
        coalesce(sum(attempts) filter (where failure_code is not null), 0)::bigint as failed,
        coalesce(sum(attempts) filter (where disposition = 'retry'), 0)::bigint as retried,
        coalesce(sum(attempts) filter (where disposition = 'failover'), 0)::bigint as failed_over,
        coalesce(sum(attempts) filter (where failure_code = 'interrupted'), 0)::bigint as interrupted
    from rollup.attempts_now() where finished_day is not null
    group by assigned_day, backend, class having sum(attempts) > 0
) as ended;

create or replace view analytics.failures as
select finished_day as day, backend, failure_code, disposition, sum(attempts)::bigint as attempts
from rollup.attempts_now() where failure_code is not null
group by finished_day, backend, failure_code, disposition having sum(attempts) > 0;

create or replace view analytics.utilisation as
select hour, backend, worker, sum(attempts)::bigint as attempts, round(sum(busy_us) / 1000000, 3) as busy_seconds,
    round(sum(busy_us) / 3600000000, 4) as busy_ratio
from rollup.workers_now() group by hour, backend, worker having sum(attempts) > 0;

create or replace view analytics.latency as
select day, backend, class, jobs, queue_p50_ms, queue_p95_ms, queue_p99_ms, run_p50_ms, run_p95_ms, run_p99_ms,
    total_p50_ms, total_p95_ms, total_p99_ms
from rollup.latency_now();

-- The tenant and the charge are looked up for each attempt that is asked for: joined, they made Postgres read all jobs
-- and all charges for a day's attempts of one tenant.
create or replace view analytics.attempts as
select a.job, a.attempt, j.tenant, a.backend, a.class, a.model, a.worker, a.simulated, a.assigned_at, a.started_at,
    a.finished_at, to_ms(a.finished_at) - to_ms(a.started_at) as run_ms, a.provider_id, a.reason,
    a.expected_micro_usd, a.failure_code, a.failure ->> 'message' as failure_message, a.disposition, a.energy_mj,
    c.state as charge_state, coalesce(c.posted_micro_usd, 0) as posted_micro_usd,
    coalesce(c.open_micro_usd, 0) as open_micro_usd
from attempts a
cross join lateral (select tenant from jobs where id = a.job limit 1) j
left join lateral (
    select state, posted_micro_usd, open_micro_usd from charges where job = a.job and attempt = a.attempt limit 1
) c on true;

-- Of a charge's day, for one tenant or all; in place of an index that no view could use.
create index charges_day on charges ((coalesce(posted_day, budget_day)), tenant);
drop index charges_posted;

create function analytics.first_job(at timestamptz) returns uuid
    language sql immutable strict parallel safe
    return uuid_floor(at);
comment on function analytics.first_job is 'The smallest job id of a moment. Job ids begin with the time at which they were made, so job >= first_job(..) and job < first_job(..) is a range of time, and every view that has the column job has an index for it.';
comment on column analytics.jobs.submitted_day is 'Day of submitted_at; to look for days, ask for submitted_at, which has an index';
comment on column analytics.attempts.assigned_at is 'When it was placed; to look for days, ask for this';
comment on column analytics.savings.day is 'Day of the end of the job; it has no index: ask for a range of job as well, see first_job';
comment on column analytics.candidates.decided_at is 'When; it has no index: ask for a range of job as well, see first_job, and for the newest by order of job';

-- Compiling these queries takes Postgres longer than running them.
do $$
begin
    execute format('alter database %I set jit = off', current_database());
exception
    when insufficient_privilege then
        raise warning 'jit could not be switched off for this database: its owner should, views are slower with it';
end $$;

-- A name without a schema means our own tables, also where an analyst has a temporary one of that name.
do $$
declare
    function regprocedure;
begin
    for function in select oid from pg_proc where pronamespace = 'rollup'::regnamespace and prolang =
        (select oid from pg_language where lanname = 'plpgsql')
    loop
        execute format('alter function %s set search_path = %I, pg_temp', function, current_schema());
    end loop;
end $$;
