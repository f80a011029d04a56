-- A month whose rows already lie in the default partition gets its partition all the same: the table is made beside it,
-- the rows are moved, and it is attached. It happens in one transaction under the ledger's ingest lock, so that no row of
-- the month arrives in between; and no row is lost or there twice, whatever ends it.

create or replace function prepare_partitions(first timestamptz, months integer) returns integer
    language plpgsql as $$
declare
    parent text;
    key text;
    month_start timestamptz;
    lowest uuid;
    above uuid;
    child text;
    moved bigint;
    made integer := 0;
begin
    for i in 0 .. months - 1 loop
        month_start := (date_trunc('month', first at time zone 'UTC') + make_interval(months => i))
            at time zone 'UTC';
        lowest := uuid_floor(month_start);
        above := uuid_floor((month_start at time zone 'UTC' + interval '1 month') at time zone 'UTC');
        foreach parent in array array['events', 'jobs', 'attempts'] loop
            child := parent || to_char(month_start at time zone 'UTC', '"_y"YYYY"m"MM');
            continue when to_regclass(child) is not null;
            key := case when parent = 'jobs' then 'id' else 'job' end;
            begin
                execute format('create table %I (like %I including all)', child, parent);
                perform tune_partition(child, parent);
                -- Moved, each row keeps all that it says: its old place is emptied by the words that fill the new one.
                execute format(
                    'with gone as (delete from %I where %I >= %L and %I < %L returning *) '
                    || 'insert into %I select * from gone',
                    parent || '_default', key, lowest, key, above, child);
                get diagnostics moved = row_count;
                if moved > 0 then
                    raise notice '% rows of % moved out of the default partition', moved, child;
                end if;
                execute format('alter table %I attach partition %I for values from (%L) to (%L)', parent, child,
                    lowest, above);
                made := made + 1;
            exception when check_violation then
                raise notice 'rows of % came into the default partition meanwhile: tried again later', child;
            end;
        end loop;
    end loop;
    return made;
end $$;
