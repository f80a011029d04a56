-- The same sums for less. Measured for spans of an hour, with 1,000 of them summed before:
-- finding the next span took 15 ms, because the anti join read all marks, and takes 1 ms now;
-- adding 130 labels to their totals took 7 ms, because a version of a row that finds no room on its page leaves an entry
-- in the index, and whoever looks for the row reads all of those; with pages a fifth full it took 2 ms (half full was not
-- measured);
-- where partitions are large, two parallel workers were started and found nothing to do, because Postgres takes
-- generate_series for a thousand rows: 18 ms.

-- Spans change the same rows of the totals again and again: with room on its page, the next version of a row takes the
-- place of the last. Most of all where all spans change all rows.
alter table rollup.savings set (fillfactor = 20);
alter table rollup.charges set (fillfactor = 50);
alter table rollup.labels set (fillfactor = 50);
alter table rollup.attempts set (fillfactor = 50);

-- The one whose costs are far from what Postgres takes them for.
alter function rollup.workers_of(bigint, bigint) set max_parallel_workers_per_gather = 0;

-- As before, but the search for a quiet period ends at the first, and news are looked for only up to the bound.
create or replace function rollup.next_span(after bigint, jobs_enough integer)
    returns table (first_period bigint, last_period bigint, ready boolean)
    language plpgsql stable set plan_cache_mode = force_custom_plan set jit = off as $$
#variable_conflict use_column
declare
    quiet bigint;
    bound bigint;
    beyond uuid;
begin
    select m.period into quiet from rollup.marks m
    where m.seen and m.period > after
        and (select n.seen from rollup.marks n where n.period = m.period order by n.seen limit 1)
    order by m.period limit 1;
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
    bound := quiet / 60 * 60 + 59;
    bound := least(bound,
        (select s.first_period - 1 from rollup.spans s where s.first_period > quiet order by s.first_period limit 1),
        (select min(n.period) - 1 from rollup.marks n where n.period > quiet and n.period <= bound and not n.seen));
    select id into beyond from jobs where id between rollup.first_id(quiet) and rollup.last_id(bound)
    order by id offset jobs_enough limit 1;
    if beyond is null then
        return query select quiet, bound, to_timestamp((quiet / 60 * 60 + 60) * 60) + interval '2 minutes' < now();
    else
        return query select quiet, greatest(quiet, rollup.period_of(beyond) - 1), true;
    end if;
end $$;
