-- So many posted charges as $1 says, of twelve tenants and sixty days, one attempt each.
insert into charges (job, attempt, tenant, backend, simulated, state, settled_by, requested_micro_usd, requested_at,
    reserved_micro_usd, posted_micro_usd, possibly_paid, budget_at, posted_at)
select gen_random_uuid(), 1, 'studio-' || chr(97 + (n % 12)::integer), case n % 3 when 0 then 'gemini' else 'cloud' end,
    false, 'posted', 'ended', 9000, at, 9000, 4000 + n % 1000, false, at, at
from generate_series(1, $1::bigint) as numbers (n)
cross join lateral (select timestamptz '2026-09-01 00:00Z' + (n % 60) * interval '1 day' as at) as times
