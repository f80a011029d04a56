-- What storing an event costs, without a change to what is stored.

-- No numeric arithmetic: seconds as a double, rounded to the microsecond, hold every millisecond of our times.
create or replace function at_ms(ms bigint) returns timestamptz
    language sql immutable strict parallel safe
    return to_timestamp(ms::double precision / 1000);

-- Events are written once and hardly ever read: as text they are neither parsed nor sorted by key on the
-- way in. `lz4` where this server has it: compressing was the dearest single step in the profile of storing an event.
drop view analytics.candidates;
alter table events alter column body type text using body::text;
do $$
begin
    alter table events alter column body set compression lz4;
exception when feature_not_supported then
    raise notice 'this server has no lz4: events are compressed by pglz';
end $$;

create view analytics.candidates as
select e.job, e.attempt, e.occurred_at as decided_at, c.body ->> 'backend' as backend,
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
cross join lateral (select e.body::jsonb #> '{fact,decision}' as decision) as d
cross join lateral jsonb_array_elements(d.decision -> 'candidates') as c (body)
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

do $$
begin
    if exists (select from pg_roles where rolname = 'argosy_analyst') then
        grant select on analytics.candidates to argosy_analyst;
    end if;
end $$;

-- A row of `jobs` or `attempts` is written when the attempt is placed and again when it ended. With room
-- left on its page the second version needs no entries in the indexes, and takes the place of the first.
create function leave_room(child text, parent text) returns void
    language plpgsql as $$
begin
    if parent in ('jobs', 'attempts') then
        execute format('alter table %I set (fillfactor = 50)', child);
    end if;
end $$;

select leave_room(inhrelid::regclass::text, inhparent::regclass::text)
from pg_inherits where inhparent in ('jobs'::regclass, 'attempts'::regclass);

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
                perform leave_room(child, parent);
                made := made + 1;
            exception when check_violation then
                raise notice 'rows of % already lie in the default partition', child;
            end;
        end loop;
    end loop;
    return made;
end $$;
