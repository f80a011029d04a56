-- Sums beside the rows. Views that add up every row of `charges` or `attempts` take longer with every job;
-- so what does not change is summed once, and views add what the newest jobs hold now.
--
-- A `period` is a minute of job ids: an id begins with its time, never changes, and is the beginning of the
-- keys of jobs, attempts and charges. So whatever is told of a job, and however late, is news in one period,
-- all its rows are in one range of each table, and no index of our own is needed. A time column was rejected:
-- a row's times change, and a row that moves makes news in two periods.
--
-- A `mark` says that rows of a period have changed since they were summed; whoever writes rows leaves it, in the
-- same transaction and under the money lock. A `span` is some periods that were summed together. What each span
-- came to is kept (`*_by_span`) and added to the sums over all of them. A view shows
--     the sums, minus what the spans with a mark had come to, plus what the rows of marked periods hold now:
-- the sums of all rows at every moment, whatever was summed when. The sums are few rows (days x tenants x
-- backends), so a view costs the same after years. Sums by hour, read without those of marked hours, were
-- rejected: an hour is too long for a busy fleet, and a minute leaves too many rows to read for a slow one.
--
-- The ledger sums (`Store::roll_up`): periods that had no news for a while become a span when there are enough
-- jobs in them or their hour is over; a span with a mark is summed again.

-- Without decimal arithmetic, and in words that Postgres can put in place of the call: `extract` from a time with a
-- zone counts as depending on the session, which kept a call for each row.
create or replace function to_ms(at timestamptz) returns bigint
    language sql immutable strict parallel safe
    return (date_part('epoch', at at time zone 'UTC') * 1000)::bigint;

create schema rollup;
comment on schema rollup is 'Sums behind the views of analytics; kept by the ledger, not for reading.';

-- Ids that begin with no time of this age (a client may send any UUID) have 4,032 periods by their first bits.
create function rollup.period_of(job uuid) returns bigint
    language sql immutable strict parallel safe
    return (select case when ms < 4398046511104 then ms / 60000 else 73300776 + (ms >> 36) - 64 end
        from (values (('x' || left(replace(job::text, '-', ''), 12))::bit(48)::bigint)) as id (ms));

create function rollup.period_ms(period bigint) returns bigint
    language sql immutable strict parallel safe
    return case when period < 73300776 then period * 60000 else (period - 73300776 + 64) << 36 end;

create function rollup.first_id(period bigint) returns uuid
    language sql immutable strict parallel safe
    return (lpad(to_hex(rollup.period_ms(period)), 12, '0') || repeat('0', 20))::uuid;

create function rollup.last_id(period bigint) returns uuid
    language sql immutable strict parallel safe
    return (lpad(to_hex(rollup.period_ms(period + 1) - 1), 12, '0') || repeat('f', 20))::uuid;

-- `seen`: the ledger has noticed it. A period whose mark is seen and has no second one beside it had no news since.
create table rollup.marks (
    period  bigint   not null,
    seen    boolean  not null,
    primary key (period, seen)
);

-- Spans do not overlap; each is known by its first period.
create table rollup.spans (
    first_period  bigint  primary key,
    last_period   bigint  not null check (last_period >= first_period)
);

-- What the views read from the rows themselves: spans with a mark, and marked periods of no span. Between two spans
-- there are rows only in marked periods, so those are one range. `span` is the span it is, empty where it is none.
create view rollup.live as
select case when m.period <= s.last_period then s.first_period end as span,
    case when m.period <= s.last_period then s.first_period else min(m.period) end as first_period,
    case when m.period <= s.last_period then s.last_period else max(m.period) end as last_period
from rollup.marks m
left join lateral (
    select first_period, last_period from rollup.spans
    where first_period <= m.period order by first_period desc limit 1
) s on true
group by s.first_period, s.last_period, m.period <= s.last_period;

-- For each kind of sums: the sums, what each span came to, and a function that sums the rows of some periods.
-- The functions see their bounds when they are planned: a plan for unknown bounds reads whole tables. How many rows
-- lie within two near ids Postgres does not know and takes for one, which makes joins by nested loops look cheap.

create table rollup.charges (
    day date, budget_day date, backend text, tenant text, simulated boolean,
    charges bigint not null, reserved_micro_usd bigint not null, posted_micro_usd bigint not null,
    possibly_paid_micro_usd bigint not null, open_micro_usd bigint not null, voided_micro_usd bigint not null,
    overrun_micro_usd bigint not null,
    primary key (day, budget_day, backend, tenant, simulated)
);
create table rollup.charges_by_span (span bigint not null, like rollup.charges);
create index on rollup.charges_by_span (span);

create function rollup.charges_of(first_period bigint, last_period bigint) returns setof rollup.charges
    language plpgsql stable set plan_cache_mode = force_custom_plan set jit = off rows 100 as $$
begin
    return query
    select coalesce(posted_day, budget_day), budget_day, backend, tenant, simulated, count(*),
        sum(reserved_micro_usd)::bigint, sum(posted_micro_usd)::bigint,
        coalesce(sum(posted_micro_usd) filter (where possibly_paid), 0)::bigint, sum(open_micro_usd)::bigint,
        sum(voided_micro_usd)::bigint, sum(overrun_micro_usd)::bigint
    from charges where job between rollup.first_id($1) and rollup.last_id($2)
    group by 1, 2, 3, 4, 5;
end $$;

create table rollup.labels (
    label text, value text,
    charges bigint not null, posted_micro_usd bigint not null, possibly_paid_micro_usd bigint not null,
    open_micro_usd bigint not null, voided_micro_usd bigint not null,
    primary key (label, value)
);
create table rollup.labels_by_span (span bigint not null, like rollup.labels);
create index on rollup.labels_by_span (span);

create function rollup.labels_of(first_period bigint, last_period bigint) returns setof rollup.labels
    language plpgsql stable set plan_cache_mode = force_custom_plan set jit = off set enable_nestloop = off
    rows 100 as $$
begin
    return query
    select l.label, l.value, sum(c.charges)::bigint, sum(c.posted)::bigint, sum(c.possibly_paid)::bigint,
        sum(c.open)::bigint, sum(c.voided)::bigint
    from (
        select j.labels, count(*) as charges, sum(c.posted_micro_usd) as posted,
            coalesce(sum(c.posted_micro_usd) filter (where c.possibly_paid), 0) as possibly_paid,
            sum(c.open_micro_usd) as open, sum(c.voided_micro_usd) as voided
        from charges c join jobs j on j.id = c.job
        where c.job between rollup.first_id($1) and rollup.last_id($2)
            and j.id between rollup.first_id($1) and rollup.last_id($2)
        group by j.labels
    ) c cross join lateral jsonb_each_text(c.labels) as l (label, value)
    group by l.label, l.value;
end $$;

create table rollup.savings (
    against text primary key,
    jobs bigint not null, actual_micro_usd bigint not null, baseline_micro_usd bigint not null
);
create table rollup.savings_by_span (span bigint not null, like rollup.savings);
create index on rollup.savings_by_span (span);

create function rollup.savings_of(first_period bigint, last_period bigint) returns setof rollup.savings
    language plpgsql stable set plan_cache_mode = force_custom_plan set jit = off set enable_nestloop = off
    rows 3 as $$
begin
    return query
    select e.against, count(*), sum(coalesce(m.posted, 0))::bigint, sum(e.expected::bigint)::bigint
    from jobs j
    left join (
        select job, sum(posted_micro_usd)::bigint as posted from charges
        where job between rollup.first_id($1) and rollup.last_id($2) group by job
    ) m on m.job = j.id
    cross join lateral jsonb_each_text(j.elsewhere) as e (against, expected)
    where j.state = 'completed' and j.id between rollup.first_id($1) and rollup.last_id($2)
    group by e.against;
end $$;

create table rollup.attempts (
    assigned_day date not null, finished_day date, backend text not null, class text, failure_code text,
    disposition text, attempts bigint not null
);
-- An array with an empty element is like another, a row is not.
create unique index attempts_key on rollup.attempts
    (assigned_day, coalesce(finished_day, 'infinity'), backend, (array[class, failure_code, disposition]));
create table rollup.attempts_by_span (span bigint not null, like rollup.attempts);
create index on rollup.attempts_by_span (span);

create function rollup.attempts_of(first_period bigint, last_period bigint) returns setof rollup.attempts
    language plpgsql stable set plan_cache_mode = force_custom_plan set jit = off rows 100 as $$
begin
    return query
    select utc_day(assigned_at), utc_day(finished_at), backend, class, failure_code, disposition, count(*)
    from attempts
    where job between rollup.first_id($1) and rollup.last_id($2)
        and (finished_at is not null or failure_code is not null)
    group by 1, 2, 3, 4, 5, 6;
end $$;

create table rollup.workers (
    hour timestamptz, backend text, worker text, attempts bigint not null, busy_us bigint not null,
    primary key (hour, backend, worker)
);
create table rollup.workers_by_span (span bigint not null, like rollup.workers);
create index on rollup.workers_by_span (span);

create function rollup.workers_of(first_period bigint, last_period bigint) returns setof rollup.workers
    language plpgsql stable set plan_cache_mode = force_custom_plan set jit = off rows 100 as $$
begin
    return query
    select hour, backend, worker, count(*), (extract(epoch from sum(busy)) * 1000000)::bigint
    from (
        select date_trunc('hour', started_at, 'UTC') as hour, backend, worker, finished_at - started_at as busy
        from attempts
        where job between rollup.first_id($1) and rollup.last_id($2) and worker is not null
            and date_trunc('hour', started_at, 'UTC') = date_trunc('hour', finished_at, 'UTC')
            and started_at <= finished_at
        union all
        -- A row for each hour is dear, and most attempts are within one.
        select h.hour, a.backend, a.worker,
            least(a.finished_at, h.hour + interval '1 hour') - greatest(a.started_at, h.hour)
        from attempts a
        cross join lateral generate_series(date_trunc('hour', a.started_at, 'UTC'), a.finished_at, interval '1 hour')
            as h (hour)
        where a.job between rollup.first_id($1) and rollup.last_id($2) and a.worker is not null
            and date_trunc('hour', a.started_at, 'UTC') < date_trunc('hour', a.finished_at, 'UTC')
    ) as parts
    group by hour, backend, worker;
end $$;

-- Percentiles cannot be added up. The times themselves are kept by span and day, in arrays, and the percentiles
-- of days that are over beside them (`latency`). A day whose arrays changed since is in `latency_open`.
create table rollup.latency_by_span (
    span bigint not null, day date not null, backend text, class text,
    queue_ms bigint[], run_ms bigint[], total_ms bigint[] not null
);
create index on rollup.latency_by_span (span);
create index on rollup.latency_by_span (day);
create table rollup.latency_open (day date primary key);
create table rollup.latency (
    day date not null, backend text, class text, jobs bigint not null,
    queue_p50_ms double precision, queue_p95_ms double precision, queue_p99_ms double precision,
    run_p50_ms double precision, run_p95_ms double precision, run_p99_ms double precision,
    total_p50_ms double precision, total_p95_ms double precision, total_p99_ms double precision
);
create index on rollup.latency (day);

create function rollup.latency_of(first_period bigint, last_period bigint)
    returns table (day date, backend text, class text, queue_ms bigint[], run_ms bigint[], total_ms bigint[])
    language plpgsql stable set plan_cache_mode = force_custom_plan set jit = off set enable_nestloop = off
    rows 30 as $$
#variable_conflict use_column
begin
    return query
    select utc_day(j.submitted_at), t.backend, j.class,
        array_agg(to_ms(t.first_started_at) - to_ms(j.submitted_at)) filter (where t.first_started_at is not null),
        array_agg(t.run_ms) filter (where t.run_ms is not null),
        array_agg(to_ms(j.ended_at) - to_ms(j.submitted_at))
    from jobs j
    left join (
        select job, last.backend, to_ms(last.finished_at) - to_ms(last.started_at) as run_ms, first_started_at
        from (
            select job, max(attempt) as attempt, min(started_at) as first_started_at from attempts
            where job between rollup.first_id($1) and rollup.last_id($2) group by job
        ) as whole
        join (
            select * from attempts where job between rollup.first_id($1) and rollup.last_id($2)
        ) as last using (job, attempt)
    ) t on t.job = j.id
    where j.state = 'completed' and j.id between rollup.first_id($1) and rollup.last_id($2)
    group by 1, 2, 3;
end $$;

-- Sums some periods as one span, in place of the spans that lie in them.
create function rollup.sum_span(first_period bigint, last_period bigint) returns void
    language plpgsql set jit = off as $$
#variable_conflict use_column
begin
    delete from rollup.spans where first_period between $1 and $2;
    insert into rollup.spans values ($1, $2);
    -- The charges.
    with gone as (delete from rollup.charges_by_span where span between $1 and $2 returning *),
    made as (insert into rollup.charges_by_span select $1, c.* from rollup.charges_of($1, $2) c returning *)
    insert into rollup.charges as t
    select day, budget_day, backend, tenant, simulated, sum(sign * charges), sum(sign * reserved_micro_usd),
        sum(sign * posted_micro_usd), sum(sign * possibly_paid_micro_usd), sum(sign * open_micro_usd),
        sum(sign * voided_micro_usd), sum(sign * overrun_micro_usd)
    from (select 1 as sign, * from made union all select -1, * from gone) as moved
    group by day, budget_day, backend, tenant, simulated
    on conflict (day, budget_day, backend, tenant, simulated) do update set
        charges = t.charges + excluded.charges,
        reserved_micro_usd = t.reserved_micro_usd + excluded.reserved_micro_usd,
        posted_micro_usd = t.posted_micro_usd + excluded.posted_micro_usd,
        possibly_paid_micro_usd = t.possibly_paid_micro_usd + excluded.possibly_paid_micro_usd,
        open_micro_usd = t.open_micro_usd + excluded.open_micro_usd,
        voided_micro_usd = t.voided_micro_usd + excluded.voided_micro_usd,
        overrun_micro_usd = t.overrun_micro_usd + excluded.overrun_micro_usd;
    -- The labels.
    with gone as (delete from rollup.labels_by_span where span between $1 and $2 returning *),
    made as (insert into rollup.labels_by_span select $1, l.* from rollup.labels_of($1, $2) l returning *)
    insert into rollup.labels as t
    select label, value, sum(sign * charges), sum(sign * posted_micro_usd), sum(sign * possibly_paid_micro_usd),
        sum(sign * open_micro_usd), sum(sign * voided_micro_usd)
    from (select 1 as sign, * from made union all select -1, * from gone) as moved
    group by label, value
    on conflict (label, value) do update set
        charges = t.charges + excluded.charges,
        posted_micro_usd = t.posted_micro_usd + excluded.posted_micro_usd,
        possibly_paid_micro_usd = t.possibly_paid_micro_usd + excluded.possibly_paid_micro_usd,
        open_micro_usd = t.open_micro_usd + excluded.open_micro_usd,
        voided_micro_usd = t.voided_micro_usd + excluded.voided_micro_usd;
    -- The savings.
    with gone as (delete from rollup.savings_by_span where span between $1 and $2 returning *),
    made as (insert into rollup.savings_by_span select $1, s.* from rollup.savings_of($1, $2) s returning *)
    insert into rollup.savings as t
    select against, sum(sign * jobs), sum(sign * actual_micro_usd), sum(sign * baseline_micro_usd)
    from (select 1 as sign, * from made union all select -1, * from gone) as moved
    group by against
    on conflict (against) do update set
        jobs = t.jobs + excluded.jobs,
        actual_micro_usd = t.actual_micro_usd + excluded.actual_micro_usd,
        baseline_micro_usd = t.baseline_micro_usd + excluded.baseline_micro_usd;
    -- The attempts.
    with gone as (delete from rollup.attempts_by_span where span between $1 and $2 returning *),
    made as (insert into rollup.attempts_by_span select $1, a.* from rollup.attempts_of($1, $2) a returning *)
    insert into rollup.attempts as t
    select assigned_day, finished_day, backend, class, failure_code, disposition, sum(sign * attempts)
    from (select 1 as sign, * from made union all select -1, * from gone) as moved
    group by assigned_day, finished_day, backend, class, failure_code, disposition
    on conflict (assigned_day, coalesce(finished_day, 'infinity'), backend, (array[class, failure_code, disposition]))
        do update set attempts = t.attempts + excluded.attempts;
    -- The workers' hours.
    with gone as (delete from rollup.workers_by_span where span between $1 and $2 returning *),
    made as (insert into rollup.workers_by_span select $1, w.* from rollup.workers_of($1, $2) w returning *)
    insert into rollup.workers as t
    select hour, backend, worker, sum(sign * attempts), sum(sign * busy_us)
    from (select 1 as sign, * from made union all select -1, * from gone) as moved
    group by hour, backend, worker
    on conflict (hour, backend, worker) do update set
        attempts = t.attempts + excluded.attempts, busy_us = t.busy_us + excluded.busy_us;
    -- The times of jobs.
    with gone as (delete from rollup.latency_by_span where span between $1 and $2 returning day),
    made as (insert into rollup.latency_by_span select $1, l.* from rollup.latency_of($1, $2) l returning day)
    insert into rollup.latency_open
    select day from made union select day from gone
    on conflict do nothing;
end $$;

-- The percentiles of one day that is over and in `latency_open`; false when there is none.
create function rollup.keep_latency() returns boolean
    language plpgsql set jit = off as $$
declare
    open_day date;
begin
    select day into open_day from rollup.latency_open where day < utc_day(now()) order by day limit 1;
    if open_day is null then
        return false;
    end if;
    delete from rollup.latency where day = open_day;
    insert into rollup.latency
    select open_day, backend, class, count(t.total_ms),
        percentile_cont(0.50) within group (order by t.queue_ms), percentile_cont(0.95) within group (order by t.queue_ms),
        percentile_cont(0.99) within group (order by t.queue_ms), percentile_cont(0.50) within group (order by t.run_ms),
        percentile_cont(0.95) within group (order by t.run_ms), percentile_cont(0.99) within group (order by t.run_ms),
        percentile_cont(0.50) within group (order by t.total_ms), percentile_cont(0.95) within group (order by t.total_ms),
        percentile_cont(0.99) within group (order by t.total_ms)
    from rollup.latency_by_span b
    cross join lateral unnest(b.queue_ms, b.run_ms, b.total_ms) as t (queue_ms, run_ms, total_ms)
    where b.day = open_day
    group by backend, class;
    delete from rollup.latency_open where day = open_day;
    return true;
end $$;

-- The next periods after `after` that had no news since the ledger saw their marks: those of a span, or up to
-- `jobs_enough` jobs within an hour. `ready` says whether to sum them now: all of a span are quiet, there are enough
-- jobs, or the hour is over for two minutes.
create function rollup.next_span(after bigint, jobs_enough integer)
    returns table (first_period bigint, last_period bigint, ready boolean)
    language plpgsql stable set plan_cache_mode = force_custom_plan set jit = off as $$
#variable_conflict use_column
declare
    quiet bigint;
    bound bigint;
    beyond uuid;
begin
    select min(m.period) into quiet from rollup.marks m
    where m.seen and m.period > after
        and not exists (select from rollup.marks n where n.period = m.period and not n.seen);
    if quiet is null then
        return;
    end if;
    return query
    select s.first_period, s.last_period, not exists (
        select from rollup.marks n where n.period between s.first_period and s.last_period and not n.seen)
    from rollup.spans s where s.first_period <= quiet and s.last_period >= quiet
    order by s.first_period desc limit 1;
    if found then
        return;
    end if;
    if quiet >= 73300776 then
        return query select quiet, quiet, true;
        return;
    end if;
    bound := least(quiet / 60 * 60 + 59,
        (select min(s.first_period) - 1 from rollup.spans s where s.first_period > quiet),
        (select min(n.period) - 1 from rollup.marks n where n.period > quiet and not n.seen));
    select id into beyond from jobs where id between rollup.first_id(quiet) and rollup.last_id(bound)
    order by id offset jobs_enough limit 1;
    if beyond is null then
        return query select quiet, bound, to_timestamp((quiet / 60 * 60 + 60) * 60) + interval '2 minutes' < now();
    else
        return query select quiet, greatest(quiet, rollup.period_of(beyond) - 1), true;
    end if;
end $$;

-- Marks everything that is there, to be summed anew: what was there before there were sums, and what is left after old
-- months were dropped. Returns the number of new marks.
create function rollup.mark_all() returns bigint
    language plpgsql set jit = off as $$
declare
    marked bigint;
begin
    with recursive with_jobs (period) as (
        select rollup.period_of((select id from jobs order by id limit 1))
        union all
        select rollup.period_of((select id from jobs where id > rollup.last_id(period) order by id limit 1))
        from with_jobs where period is not null
    ), with_charges (period) as (
        select rollup.period_of((select job from charges order by job limit 1))
        union all
        select rollup.period_of((select job from charges where job > rollup.last_id(period) order by job limit 1))
        from with_charges where period is not null
    )
    insert into rollup.marks
    select period, true from (
        table with_jobs union table with_charges union select first_period from rollup.spans
    ) as known where period is not null
    on conflict do nothing;
    get diagnostics marked = row_count;
    return marked;
end $$;

select rollup.mark_all();
