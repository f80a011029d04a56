-- Sums by day with lane and model: free jobs are jobs in them, and a window of time costs what it shows.
--
-- `daily` is one more kind of sums as those of 0005: a total, what each span came to, and rows that are read where a
-- span has a mark. Its rows are of four kinds, by `what`:
--   cost       jobs, attempts and charges;
--   label      the same, for each label (`name`) and its value, without tenant and backend;
--   saving     completed jobs and what they would have cost at a backend (`name`), without the backend that made them;
--   unstarted  jobs without an attempt that ended (`name` is how, `value` the code), and publishes that were refused.
-- What a kind does not tell, or what is not known, is '' here and empty in the views: keys hold no nulls.
--
-- A job is counted once: on the day it ended, and until then on that of its last attempt; where its last attempt was.
-- An attempt counts on the day of its end, and until then of its placing; a charge as in `analytics.charges`. So sums
-- over any of these add up to the whole. Counting the jobs of each charge was rejected: free jobs were none, and one
-- that had two charges was two.

-- No span is made while this looks at which there are: see rollup.missing.
select pg_advisory_xact_lock(x'4152474f0003'::bigint);

create table rollup.daily (
    what text, day date, tenant text, lane text, model text, backend text, simulated boolean, name text, value text,
    jobs bigint not null, completed_jobs bigint not null, free_jobs bigint not null, attempts bigint not null,
    charges bigint not null, posted_micro_usd bigint not null, possibly_paid_micro_usd bigint not null,
    open_micro_usd bigint not null, voided_micro_usd bigint not null, baseline_micro_usd bigint not null,
    primary key (what, day, tenant, lane, model, backend, simulated, name, value)
) with (fillfactor = 50);
create table rollup.daily_by_span (span bigint not null, like rollup.daily);
create index on rollup.daily_by_span (span);
-- Which spans have rows of a day: those are all that a part of the day needs to read.
create index on rollup.daily_by_span (what, day, span);

-- Spans from before there was `daily`. Views read their rows until the ledger has summed them (rollup.sum_missing).
create table rollup.missing (span bigint primary key);
insert into rollup.missing select first_period from rollup.spans;

create view rollup.daily_live as
select span, first_period, last_period from rollup.live
union all
select s.first_period, s.first_period, s.last_period
from rollup.missing m join rollup.spans s on s.first_period = m.span
where not exists (select from rollup.live l where l.span = m.span);

-- A job, an attempt or a charge: what is counted and when. What is not told of it is null.
create type rollup.item as (
    job uuid, at timestamptz, tenant text, lane text, model text, backend text, simulated boolean,
    jobs integer, completed_jobs integer, free_jobs integer, attempts integer, charges integer,
    posted_micro_usd bigint, possibly_paid_micro_usd bigint, open_micro_usd bigint, voided_micro_usd bigint,
    -- Of jobs alone: what was spent on all its attempts, and whether it had any.
    state text, failure_code text, spent_micro_usd bigint, is_placed boolean
);

-- Everything here is joined and grouped in memory: twenty thousand jobs take 20 MB, and sorting them takes longer.
create function rollup.items_of(first_period bigint, last_period bigint) returns setof rollup.item
    language plpgsql stable set plan_cache_mode = force_custom_plan set jit = off set enable_nestloop = off
    set enable_mergejoin = off set work_mem = '32MB' rows 20000 as $$
begin
    return query
    with j as materialized (
        select id, tenant, lane, state, failure_code, ended_at, submitted_at from jobs
        where id between rollup.first_id($1) and rollup.last_id($2)
    ), a as materialized (
        select job, attempt, backend, model, simulated, coalesce(finished_at, assigned_at) as at,
            attempt = max(attempt) over (partition by job) as is_last
        from attempts where job between rollup.first_id($1) and rollup.last_id($2)
    ), c as materialized (
        select * from charges where job between rollup.first_id($1) and rollup.last_id($2)
    ), m as (
        select job, sum(posted_micro_usd)::bigint as posted, sum(open_micro_usd)::bigint as open from c group by job
    )
    select j.id, coalesce(j.ended_at, a.at, j.submitted_at), j.tenant, j.lane, a.model, a.backend,
        coalesce(a.simulated, false), 1, (j.state = 'completed')::integer,
        (coalesce(m.posted, 0) = 0 and coalesce(m.open, 0) = 0)::integer, 0, 0, 0::bigint, 0::bigint, 0::bigint,
        0::bigint, j.state, j.failure_code, coalesce(m.posted, 0), a.job is not null
    from j left join a on a.job = j.id and a.is_last left join m on m.job = j.id
    union all
    select a.job, a.at, j.tenant, j.lane, a.model, a.backend, a.simulated, 0, 0, 0, 1, 0, 0, 0, 0, 0, null, null, null,
        null
    from a join j on j.id = a.job
    union all
    -- A reservation may be for another backend than the attempt went to in the end, and of a job nobody has told of.
    select c.job, coalesce(c.posted_at, c.budget_at), c.tenant, j.lane, case when a.backend = c.backend then a.model end,
        c.backend, c.simulated, 0, 0, 0, 0, 1, c.posted_micro_usd,
        case when c.possibly_paid then c.posted_micro_usd else 0 end, c.open_micro_usd, c.voided_micro_usd,
        null, null, null, null
    from c left join j on j.id = c.job left join a on a.job = c.job and a.attempt = c.attempt;
end $$;

-- The sums of some periods: of one kind or, with null, of all; of a window or, with nulls, without one.
create function rollup.daily_of(first_period bigint, last_period bigint, what text, from_at timestamptz,
    to_at timestamptz) returns setof rollup.daily
    language plpgsql stable set plan_cache_mode = force_custom_plan set jit = off set enable_nestloop = off
    set enable_mergejoin = off set enable_sort = off set work_mem = '32MB' rows 300 as $$
begin
    return query
    with items as materialized (
        select utc_day(i.at) as day, i.* from rollup.items_of($1, $2) i
        where ($4 is null or i.at >= $4) and ($5 is null or i.at < $5)
    )
    select 'cost'::text, i.day, i.tenant, coalesce(i.lane, ''), coalesce(i.model, ''), coalesce(i.backend, ''),
        i.simulated, ''::text, ''::text, sum(i.jobs)::bigint, sum(i.completed_jobs)::bigint, sum(i.free_jobs)::bigint,
        sum(i.attempts)::bigint, sum(i.charges)::bigint, sum(i.posted_micro_usd)::bigint,
        sum(i.possibly_paid_micro_usd)::bigint, sum(i.open_micro_usd)::bigint, sum(i.voided_micro_usd)::bigint, 0::bigint
    from items i where coalesce($3, 'cost') = 'cost'
    group by i.day, i.tenant, i.lane, i.model, i.backend, i.simulated
    union all
    select 'label', x.day, '', coalesce(x.lane, ''), coalesce(x.model, ''), '', false, l.label, l.value,
        sum(x.jobs)::bigint, sum(x.completed_jobs)::bigint, sum(x.free_jobs)::bigint, sum(x.attempts)::bigint,
        sum(x.charges)::bigint, sum(x.posted)::bigint, sum(x.possibly_paid)::bigint, sum(x.open)::bigint,
        sum(x.voided)::bigint, 0
    from (
        select j.labels, i.day, i.lane, i.model, sum(i.jobs) as jobs, sum(i.completed_jobs) as completed_jobs,
            sum(i.free_jobs) as free_jobs, sum(i.attempts) as attempts, sum(i.charges) as charges,
            sum(i.posted_micro_usd) as posted, sum(i.possibly_paid_micro_usd) as possibly_paid,
            sum(i.open_micro_usd) as open, sum(i.voided_micro_usd) as voided
        from items i join jobs j on j.id = i.job
        where coalesce($3, 'label') = 'label' and j.id between rollup.first_id($1) and rollup.last_id($2)
        group by j.labels, i.day, i.lane, i.model
    ) as x cross join lateral jsonb_each_text(x.labels) as l (label, value)
    group by x.day, x.lane, x.model, l.label, l.value
    union all
    select 'saving', i.day, i.tenant, coalesce(i.lane, ''), coalesce(i.model, ''), '', false, e.against, '',
        count(*), count(*), sum(i.free_jobs)::bigint, 0, 0, sum(i.spent_micro_usd)::bigint, 0, 0, 0,
        sum(e.expected::bigint)::bigint
    from items i join jobs j on j.id = i.job
    cross join lateral jsonb_each_text(j.elsewhere) as e (against, expected)
    where coalesce($3, 'saving') = 'saving' and i.jobs = 1 and i.state = 'completed'
        and j.id between rollup.first_id($1) and rollup.last_id($2)
    group by i.day, i.tenant, i.lane, i.model, e.against
    union all
    select 'unstarted', i.day, i.tenant, coalesce(i.lane, ''), '', '', false, i.state, coalesce(i.failure_code, ''),
        count(*), 0, sum(i.free_jobs)::bigint, 0, 0, 0, 0, 0, 0, 0
    from items i
    where coalesce($3, 'unstarted') = 'unstarted' and i.jobs = 1 and not i.is_placed
        and i.state in ('failed', 'cancelled', 'expired')
    group by i.day, i.tenant, i.lane, i.state, i.failure_code
    union all
    select 'unstarted', r.day, r.tenant, '', '', '', false, 'refused', r.code, count(*), 0, 0, 0, 0, 0, 0, 0, 0, 0
    from (
        select utc_day(e.occurred_at) as day, coalesce(e.body::jsonb ->> 'tenant', '') as tenant,
            coalesce(e.body::jsonb #>> '{fact,failure,code}', '') as code
        from events e
        where coalesce($3, 'unstarted') = 'unstarted' and e.kind = 'refused'
            and e.job between rollup.first_id($1) and rollup.last_id($2)
            and ($4 is null or e.occurred_at >= $4) and ($5 is null or e.occurred_at < $5)
    ) as r
    group by r.day, r.tenant, r.code;
end $$;

-- Sums one span, in place of what the spans in it came to. Whoever holds the rollup's lock may: what changes meanwhile
-- leaves a mark, and of a span with a mark the rows are read.
create function rollup.sum_daily(first_period bigint, last_period bigint) returns void
    language plpgsql set jit = off as $$
#variable_conflict use_column
begin
    with summed as (delete from rollup.missing where span between $1 and $2 returning span),
    gone as (delete from rollup.daily_by_span where span between $1 and $2 returning *),
    made as (
        insert into rollup.daily_by_span select $1, d.* from rollup.daily_of($1, $2, null, null, null) d returning *
    )
    insert into rollup.daily as t
    select what, day, tenant, lane, model, backend, simulated, name, value, sum(sign * jobs), sum(sign * completed_jobs),
        sum(sign * free_jobs), sum(sign * attempts), sum(sign * charges), sum(sign * posted_micro_usd),
        sum(sign * possibly_paid_micro_usd), sum(sign * open_micro_usd), sum(sign * voided_micro_usd),
        sum(sign * baseline_micro_usd)
    from (select 1 as sign, * from made union all select -1, * from gone) as moved
    group by what, day, tenant, lane, model, backend, simulated, name, value
    on conflict (what, day, tenant, lane, model, backend, simulated, name, value) do update set
        jobs = t.jobs + excluded.jobs, completed_jobs = t.completed_jobs + excluded.completed_jobs,
        free_jobs = t.free_jobs + excluded.free_jobs, attempts = t.attempts + excluded.attempts,
        charges = t.charges + excluded.charges, posted_micro_usd = t.posted_micro_usd + excluded.posted_micro_usd,
        possibly_paid_micro_usd = t.possibly_paid_micro_usd + excluded.possibly_paid_micro_usd,
        open_micro_usd = t.open_micro_usd + excluded.open_micro_usd,
        voided_micro_usd = t.voided_micro_usd + excluded.voided_micro_usd,
        baseline_micro_usd = t.baseline_micro_usd + excluded.baseline_micro_usd;
end $$;

-- Whoever makes a span (rollup.sum_span, also called by a ledger of the release before) makes its daily sums with it.
create function rollup.span_made() returns trigger
    language plpgsql as $$
begin
    perform rollup.sum_daily(new.first_period, new.last_period);
    return null;
end $$;
create trigger span_made after insert on rollup.spans for each row execute function rollup.span_made();

-- Sums the newest span from before there was `daily`; false when there is none left.
create function rollup.sum_missing() returns boolean
    language plpgsql set jit = off as $$
declare
    next record;
begin
    select s.first_period, s.last_period into next
    from rollup.missing m join rollup.spans s on s.first_period = m.span order by m.span desc limit 1;
    if not found then
        return false;
    end if;
    perform rollup.sum_daily(next.first_period, next.last_period);
    return true;
end $$;

-- What has to be added up for a window: the sums of its whole days, and the rows of the parts of days at its ends.
-- Which periods of job ids have rows in such a part is known from `daily_by_span`; so no other month is looked at.
create function rollup.daily_now(what text, from_at timestamptz, to_at timestamptz) returns setof rollup.daily
    language plpgsql stable security definer set jit = off as $$
#variable_conflict use_column
declare
    starts_whole boolean := from_at = (utc_day(from_at)::timestamp at time zone 'UTC');
    ends_whole boolean := to_at = (utc_day(to_at)::timestamp at time zone 'UTC');
    first_day date := utc_day(from_at) + case when starts_whole then 0 else 1 end;
    day_after date := utc_day(to_at);
    parts date[] := array_remove(array[case when not starts_whole then utc_day(from_at) end,
        case when not ends_whole then utc_day(to_at) end], null);
begin
    return query
    with live as materialized (
        select * from rollup.daily_live
    ), cut as materialized (
        -- Chosen before their rows are read, not after.
        select s.first_period, s.last_period from rollup.spans s
        where s.first_period in (select b.span from rollup.daily_by_span b where b.what = $1 and b.day = any (parts))
            and s.first_period not in (select l.span from live l where l.span is not null)
    )
    select * from rollup.daily d where d.what = $1 and d.day >= first_day and d.day < day_after
    union all
    select b.what, b.day, b.tenant, b.lane, b.model, b.backend, b.simulated, b.name, b.value, -b.jobs,
        -b.completed_jobs, -b.free_jobs, -b.attempts, -b.charges, -b.posted_micro_usd, -b.possibly_paid_micro_usd,
        -b.open_micro_usd, -b.voided_micro_usd, -b.baseline_micro_usd
    from live l join rollup.daily_by_span b on b.span = l.span
    where b.what = $1 and b.day >= first_day and b.day < day_after
    union all
    select d.* from live l cross join lateral rollup.daily_of(l.first_period, l.last_period, $1, $2, $3) d
    union all
    select d.*
    from cut s cross join lateral rollup.daily_of(s.first_period, s.last_period, $1, $2, $3) d
    where d.day = any (parts);
end $$;

-- The jobs, attempts and charges of a window one by one, from the periods that have any on its days.
create function rollup.items_between(from_at timestamptz, to_at timestamptz) returns setof rollup.item
    language plpgsql stable security definer set jit = off as $$
#variable_conflict use_column
begin
    return query
    with live as materialized (
        select * from rollup.daily_live
    ), periods as materialized (
        select l.first_period, l.last_period from live l
        union all
        select s.first_period, s.last_period from rollup.spans s
        where s.first_period in (select b.span from rollup.daily_by_span b
                where b.what = 'cost' and b.day between utc_day($1) and utc_day($2))
            and s.first_period not in (select l.span from live l where l.span is not null)
    )
    select i.* from periods p cross join lateral rollup.items_of(p.first_period, p.last_period) i
    where i.at >= $1 and i.at < $2;
end $$;

-- Percentiles of completed jobs by the hour in which they were submitted. Which jobs is asked of an index; their ids
-- then say which attempts, and in which months, are read.
create function rollup.latency_hours(from_at timestamptz, to_at timestamptz)
    returns table (hour timestamp, lane text, model text, backend text, jobs bigint,
        queue_p50_ms double precision, queue_p95_ms double precision, run_p50_ms double precision,
        run_p95_ms double precision, total_p50_ms double precision, total_p95_ms double precision)
    language plpgsql stable security definer set plan_cache_mode = force_custom_plan set jit = off
    set enable_nestloop = off as $$
#variable_conflict use_column
declare
    lowest uuid;
    highest uuid;
begin
    select min(j.id::text collate "C")::uuid, max(j.id::text collate "C")::uuid into lowest, highest
    from jobs j where j.state = 'completed' and j.submitted_at >= $1 and j.submitted_at < $2;
    if lowest is null then
        return;
    end if;
    return query
    select date_trunc('hour', j.submitted_at at time zone 'UTC'), j.lane, t.model, t.backend, count(*),
        percentile_cont(0.50) within group (order by to_ms(t.first_started_at) - to_ms(j.submitted_at)),
        percentile_cont(0.95) within group (order by to_ms(t.first_started_at) - to_ms(j.submitted_at)),
        percentile_cont(0.50) within group (order by t.run_ms),
        percentile_cont(0.95) within group (order by t.run_ms),
        percentile_cont(0.50) within group (order by to_ms(j.ended_at) - to_ms(j.submitted_at)),
        percentile_cont(0.95) within group (order by to_ms(j.ended_at) - to_ms(j.submitted_at))
    from jobs j
    left join (
        select job, backend, model, to_ms(finished_at) - to_ms(started_at) as run_ms, first_started_at
        from (
            select *, max(attempt) over whole as last_attempt, min(started_at) over whole as first_started_at
            from attempts where job between lowest and highest
            window whole as (partition by job)
        ) as of_jobs
        where attempt = last_attempt
    ) t on t.job = j.id
    where j.state = 'completed' and j.submitted_at >= $1 and j.submitted_at < $2
        and j.id between lowest and highest
    group by 1, 2, 3, 4;
end $$;

-- A name without a schema means our own tables, also where an analyst has a temporary one of that name.
do $$
declare function regprocedure;
begin
    for function in select oid from pg_proc where pronamespace = 'rollup'::regnamespace and prolang =
        (select oid from pg_language where lanname = 'plpgsql')
    loop
        execute format('alter function %s set search_path = %I, pg_temp', function, current_schema());
    end loop;
end $$;
