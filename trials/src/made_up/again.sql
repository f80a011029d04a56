-- The seeds once more, as many days later as $1 says. Their artifacts keep the keys of the first.
with jobs_made as (
    insert into jobs (id, tenant, lane, kind, class, form, labels, submitted_at, max_cost_micro_usd, deadline_at, state,
        state_at, ended_at, failure_code, failure, artifacts, elsewhere)
    select encode(substring(int8send(id_ms + $1::integer * 86400000::bigint) from 3) || id_rest, 'hex')::uuid, tenant,
        lane, kind, class, form, labels, submitted_at + make_interval(days => $1), max_cost_micro_usd, deadline_at,
        state, state_at + make_interval(days => $1), ended_at + make_interval(days => $1), failure_code, failure,
        artifacts, elsewhere
    from seed_jobs
), attempts_made as (
    insert into attempts (job, attempt, backend, class, model, worker, simulated, assigned_at, started_at, finished_at,
        provider_id, usage, energy_mj, failure_code, failure, disposition, next_at, reason, expected_micro_usd)
    select encode(substring(int8send(id_ms + $1::integer * 86400000::bigint) from 3) || id_rest, 'hex')::uuid, attempt,
        backend, class, model, worker, simulated, assigned_at + make_interval(days => $1),
        started_at + make_interval(days => $1), finished_at + make_interval(days => $1), provider_id, usage, energy_mj,
        failure_code, failure, disposition, next_at, reason, expected_micro_usd
    from seed_attempts
)
insert into charges (job, attempt, tenant, backend, simulated, state, settled_by, requested_micro_usd, requested_at,
    reserved_micro_usd, posted_micro_usd, possibly_paid, budget_at, posted_at)
select encode(substring(int8send(id_ms + $1::integer * 86400000::bigint) from 3) || id_rest, 'hex')::uuid, attempt,
    tenant, backend, simulated, state, settled_by, requested_micro_usd, requested_at + make_interval(days => $1),
    reserved_micro_usd, posted_micro_usd, possibly_paid, budget_at + make_interval(days => $1),
    posted_at + make_interval(days => $1)
from seed_charges
