-- Prepares the months from `first` on. Called when migrating and once a day by the running ledger. A
-- month for which rows already lie in the default partition stays there, with a notice.

create function prepare_partitions(first timestamptz, months integer) returns integer
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
                made := made + 1;
            exception when check_violation then
                raise notice 'rows of % already lie in the default partition', child;
            end;
        end loop;
    end loop;
    return made;
end $$;

create table events_default partition of events default;
create table jobs_default partition of jobs default;
create table attempts_default partition of attempts default;

select prepare_partitions(now() - interval '1 month', 4);
