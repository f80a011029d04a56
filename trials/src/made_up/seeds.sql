-- What is there by now, to be written again for later days: ids by their time and the rest of their bytes.
drop table if exists seed_jobs, seed_attempts, seed_charges, seed_times;
create unlogged table seed_jobs as
select ('x' || encode(substring(uuid_send(id) for 6), 'hex'))::bit(48)::bigint as id_ms,
    substring(uuid_send(id) from 7) as id_rest, j.* from jobs j;
create unlogged table seed_attempts as
select ('x' || encode(substring(uuid_send(job) for 6), 'hex'))::bit(48)::bigint as id_ms,
    substring(uuid_send(job) from 7) as id_rest, a.* from attempts a;
create unlogged table seed_charges as
select ('x' || encode(substring(uuid_send(job) for 6), 'hex'))::bit(48)::bigint as id_ms,
    substring(uuid_send(job) from 7) as id_rest, c.* from charges c;
-- How many days later.
create unlogged table seed_times (days integer primary key);
