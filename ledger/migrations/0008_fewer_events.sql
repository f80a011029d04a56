-- A first attempt that is free and starts at once has no `assigned` event: its decision comes with the attempt's facts
-- when it ended (or failed). Each row of `jobs` and `attempts` of such a job is then written once.

drop view analytics.candidates;
create view analytics.candidates as
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
    coalesce(c.body -> 'rejections', '[]'::jsonb) as rejections, (c.body ->> 'simulated')::boolean as simulated
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

comment on view analytics.candidates is 'One row per decision and backend that was looked at: what filtered it out or what it scored.';
comment on column analytics.candidates.job is 'Id of the job (UUIDv7)';
comment on column analytics.candidates.attempt is 'Number of the attempt that was placed';
comment on column analytics.candidates.decided_at is 'When; it has no index: ask for a range of job as well, see first_job, and for the newest by order of job';
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

do $$
begin
    if exists (select from pg_roles where rolname = 'argosy_analyst') then
        grant select on analytics.candidates to argosy_analyst;
    end if;
end $$;

-- Rows are written twice only where an attempt waits or takes long: some room for second versions, not half of the
-- page. Events that are larger than two kilobytes, as most are now, are compressed by lz4 where this server has it; that
-- is a setting of each partition, and pglz took a third of the database's time for the whole life of a job.
drop function leave_room(text, text);

create function tune_partition(child text, parent text) returns void
    language plpgsql as $$
begin
    if parent = 'events' then
        execute format('alter table %I alter column body set compression lz4', child);
    else
        execute format('alter table %I set (fillfactor = 80)', child);
    end if;
exception when feature_not_supported then
    raise notice 'this server has no lz4: events are compressed by pglz';
end $$;

select tune_partition(inhrelid::regclass::text, inhparent::regclass::text)
from pg_inherits where inhparent in ('events'::regclass, 'jobs'::regclass, 'attempts'::regclass);

create or replace function prepare_partitions(first timestamptz, months integer) returns integer
    language plpgsql as $$
declare
    parent text;
    month_start timestamptz;
    child text;
    made integer := 0;
begin
    for i in 0 .. months - 1 loop
        month_start := (date_trunc('month', first at time zone 'UTC') + make_interval(months => i))
            at time zone 'UTC';
        foreach parent in array array['events', 'jobs', 'attempts'] loop
            child := parent || to_char(month_start at time zone 'UTC', '"_y"YYYY"m"MM');
            continue when to_regclass(child) is not null;
            begin
                execute format('create table %I partition of %I for values from (%L) to (%L)', child, parent,
                    uuid_floor(month_start),
                    uuid_floor((month_start at time zone 'UTC' + interval '1 month') at time zone 'UTC'));
                perform tune_partition(child, parent);
                made := made + 1;
            exception when check_violation then
                raise notice 'rows of % already lie in the default partition', child;
            end;
        end loop;
    end loop;
    return made;
end $$;
