-- Jobs $1 to $2 of $3, spread over $4 days that end at $5 (Unix milliseconds) in a wave of days and nights, with
-- their attempts and charges. What a row holds follows from the number of its job alone.
with numbers as (
    select n, hashint8extended(n, 1) as a, hashint8extended(n, 2) as b, hashint8extended(n, 3) as c,
        $5::bigint - $4::bigint * 86400000 + (n::double precision / $3::bigint * $4::bigint * 86400000)::bigint as even_ms
    from generate_series($1::bigint, $2::bigint) as numbers (n)
), shapes as (
    select n, a, b, c,
        even_ms + (8000000 * (sin(even_ms / 86400000.0::double precision * 2 * pi()) - 1))::bigint as submitted_ms,
        -- Of a hundred jobs, 87 have one attempt, 11 two and 2 three.
        case when a & 127 < 111 then 1 when a & 127 < 125 then 2 else 3 end as attempts,
        case when a >> 7 & 15 < 7 then 'image-small' when a >> 7 & 15 < 12 then 'image-large'
            when a >> 7 & 15 < 13 then 'image-xl' else 'video' end as class,
        case when a >> 11 & 15 < 9 then 'local' when a >> 11 & 15 < 13 then 'cloud' else 'gemini' end as made_at,
        case when a >> 15 & 63 < 60 then 'completed' when a >> 15 & 63 < 62 then 'failed'
            when a >> 15 & 63 < 63 then 'cancelled' else 'expired' end as state,
        -- One of twelve tenants, the first of them with a third of all.
        'studio-' || chr(97 + greatest(0, (a >> 21 & 15) - 4)::integer) as tenant,
        (b & 4095) + case when b >> 12 & 31 = 0 then 60000 else 50 end as queue_ms
    from numbers
), lives as (
    select *, (lpad(to_hex(submitted_ms), 12, '0') || '7' || lpad(to_hex(c & 4095), 3, '0') || '8'
            || lpad(to_hex(c >> 12 & 281474976710655), 15, '0'))::uuid as job,
        (case class when 'image-small' then 3000 when 'image-large' then 9000 when 'image-xl' then 20000 else 90000 end
            * (1 + (b >> 17 & 1023) / 700.0))::bigint as run_ms,
        case class when 'image-small' then 1200 when 'image-large' then 4300 when 'image-xl' then 9100 else 61000 end as price
    from shapes
), jobs_made as (
    insert into jobs (id, tenant, lane, kind, class, form, labels, submitted_at, max_cost_micro_usd, deadline_at, state,
        state_at, ended_at, failure_code, failure, artifacts, elsewhere)
    select job, tenant, case when c & 7 < 2 then 'interactive' when c & 7 < 6 then 'standard' else 'batch' end,
        case when class = 'video' then 'video' else 'image' end, class,
        case when c & 15 = 0 then 'workflow' else 'prompt' end,
        jsonb_build_object('project', 'project-' || (b >> 27 & 127), 'team', 'team-' || (b >> 34 & 7)),
        at_ms(submitted_ms), case when c & 3 = 0 then 200000 end, null, state,
        at_ms(submitted_ms + attempts * (queue_ms + run_ms)), at_ms(submitted_ms + attempts * (queue_ms + run_ms)),
        case state when 'completed' then null when 'failed' then 'transient' else state end,
        case when state <> 'completed' then jsonb_build_object('code', case state when 'failed' then 'transient' else state end,
            'message', 'the provider answered 503') end,
        case when state = 'completed' then jsonb_build_array(jsonb_build_object('bucket', 'ARTIFACTS', 'key',
            job || '/1.png', 'media_type', 'image/png', 'bytes', 100000 + (c & 1048575),
            'sha256', md5(job::text) || md5(n::text))) else '[]' end,
        jsonb_build_object('cloud', price * 3, 'gemini', price * 9)
            || case when class = 'video' then '{}' else '{"local": 0}'::jsonb end
    from lives
), tries as (
    select l.*, t.attempt, t.attempt = l.attempts as is_last,
        t.attempt < l.attempts or state <> 'completed' as has_failed,
        case when t.attempt = l.attempts then made_at when (b >> 40 & 1) = 0 then 'local' else 'cloud' end as backend,
        submitted_ms + (t.attempt - 1) * (queue_ms + run_ms) as assigned_ms, hashint8extended(n, 10 + t.attempt) as d
    from lives l cross join lateral generate_series(1, l.attempts) as t (attempt)
), attempts_made as (
    insert into attempts (job, attempt, backend, class, model, worker, simulated, assigned_at, started_at, finished_at,
        provider_id, usage, energy_mj, failure_code, failure, disposition, next_at, reason, expected_micro_usd)
    select job, attempt, backend, class, case class when 'video' then 'wan2.1' else 'sdxl' end,
        backend || '-' || 1 + (d & case backend when 'local' then 15 else 3 end), false,
        at_ms(assigned_ms + 20), at_ms(assigned_ms + queue_ms), at_ms(assigned_ms + queue_ms + run_ms),
        md5(d::text), case backend when 'local' then '[]' else
            jsonb_build_array(jsonb_build_object('unit', 'second', 'quantity', run_ms / 1000)) end,
        case backend when 'local' then run_ms * 180 end,
        case when has_failed then failed_with end,
        case when has_failed then jsonb_build_object('code', failed_with, 'message', 'the provider answered 503') end,
        case when has_failed and not is_last then case when d >> 8 & 3 = 0 then 'retry' else 'failover' end end, null,
        backend || ' scored 0.84: free, 2 of 16 slots busy, done in about ' || run_ms / 1000 || ' s', price
    from tries cross join lateral (select (array['transient', 'backend_down', 'timeout', 'interrupted', 'out_of_memory',
        'rate_limited', 'provider_stopped', 'outcome_unknown'])[1 + (d >> 4 & 7)]) as f (failed_with)
)
insert into charges (job, attempt, tenant, backend, simulated, state, settled_by, requested_micro_usd, requested_at,
    reserved_micro_usd, posted_micro_usd, possibly_paid, budget_at, posted_at)
select job, attempt, tenant, backend, false, case when is_void then 'voided' else 'posted' end,
    case when is_last then 'ended' else 'retrying' end, price * 2, at_ms(assigned_ms), price * 2,
    case when is_void then 0 else price + (d >> 16 & 1023) end, not is_void and d >> 26 & 255 = 0, at_ms(assigned_ms),
    case when not is_void then at_ms(assigned_ms + queue_ms + run_ms) end
from tries cross join lateral (select has_failed and d >> 12 & 1 = 0) as v (is_void)
where backend <> 'local'
