-- Charges without a job: what a serverless endpoint costs beside its attempts, by endpoint and UTC day.

-- Written whole each time by `ledger::overhead`, whose arithmetic is `policy::overhead`.
create table overhead (
    backend             text        not null,
    endpoint            text        not null,
    day                 date        not null,
    simulated           boolean     not null,
    -- The processes that run attempts there: whose attempts the bill covers.
    workers             text[]      not null,
    -- What the provider's billing call said, and when it was made; empty until it answers. It only grows.
    billed_micro_usd    bigint      check (billed_micro_usd >= 0),
    asked_at            timestamptz,
    -- The two parts of the estimate.
    seen_micro_usd      bigint      not null check (seen_micro_usd >= 0),
    standby_micro_usd   bigint      not null check (standby_micro_usd >= 0),
    -- What the attempts of that endpoint and day are charged for certain.
    attempts_micro_usd  bigint      not null check (attempts_micro_usd >= 0),
    -- The rest of the bill, or the estimate; and what of the fleet's budget it takes.
    amount_micro_usd    bigint      not null,
    estimated           boolean     not null,
    held_micro_usd      bigint      not null check (held_micro_usd >= 0),
    primary key (backend, endpoint, day),
    check (estimated or amount_micro_usd = billed_micro_usd - attempts_micro_usd),
    check (estimated = (billed_micro_usd is null))
);

create index overhead_day on overhead (day);

create view analytics.overhead as
select day, backend, endpoint, simulated, 'start_and_idle'::text as reason,
    case when estimated then 'estimated' else 'posted' end as state, amount_micro_usd,
    attempts_micro_usd, billed_micro_usd, asked_at, held_micro_usd
from overhead;

comment on view analytics.overhead is 'Charges without a job: what a serverless endpoint cost on a day beside the attempts that ran there.';
comment on column analytics.overhead.day is 'Day, UTC';
comment on column analytics.overhead.backend is 'Whose provider bills';
comment on column analytics.overhead.endpoint is 'The provider''s id of the endpoint';
comment on column analytics.overhead.simulated is 'Whether the provider was a simulator';
comment on column analytics.overhead.reason is 'start_and_idle: workers of the provider that start, or wait for work';
comment on column analytics.overhead.state is 'estimated until the provider''s billing call has answered, then posted';
comment on column analytics.overhead.amount_micro_usd is 'The rest of the bill; below zero where the attempts, each rounded up to whole seconds, come to more than the bill. The estimate while estimated';
comment on column analytics.overhead.attempts_micro_usd is 'What the attempts that ended there on the day are charged for certain; with amount_micro_usd it is the bill';
comment on column analytics.overhead.billed_micro_usd is 'What the provider billed for the endpoint and day; empty until it says so';
comment on column analytics.overhead.asked_at is 'When the billing call was made; a bill of the running day still grows';
comment on column analytics.overhead.held_micro_usd is 'What of the fleet''s budget it takes: not below the estimate as long as the bill can grow';

create view analytics.bill_by_day as
select day, backend, sum(attempts)::bigint as attempts_micro_usd, sum(possibly)::bigint as possibly_paid_micro_usd,
    sum(overhead)::bigint as overhead_micro_usd, sum(estimate)::bigint as estimated_overhead_micro_usd,
    sum(attempts + overhead)::bigint as bill_micro_usd
from (
    select day, backend, posted_micro_usd - possibly_paid_micro_usd as attempts, possibly_paid_micro_usd as possibly,
        0::bigint as overhead, 0::bigint as estimate
    from analytics.cost_by_day
    union all
    select day, backend, 0, 0, case when estimated then 0 else amount_micro_usd end,
        case when estimated then amount_micro_usd else 0 end
    from overhead
) as parts
group by day, backend;

comment on view analytics.bill_by_day is 'What a provider''s bill of a day is made of: attempts and what comes beside them.';
comment on column analytics.bill_by_day.day is 'Day, UTC: that of the end of the attempts';
comment on column analytics.bill_by_day.backend is 'Whose provider bills';
comment on column analytics.bill_by_day.attempts_micro_usd is 'Charges of attempts, those that are only possible left out';
comment on column analytics.bill_by_day.possibly_paid_micro_usd is 'Charges of attempts whose provider could not tell if it billed; what it did bill of them is in overhead_micro_usd';
comment on column analytics.bill_by_day.overhead_micro_usd is 'Charges without a job that are posted';
comment on column analytics.bill_by_day.estimated_overhead_micro_usd is 'Estimates of such charges whose bill is not known yet; no part of bill_micro_usd';
comment on column analytics.bill_by_day.bill_micro_usd is 'Attempts and overhead: compare it with what the provider billed for the day';

create or replace view analytics.fleet_spending as
select u.day, sum(u.committed_micro_usd)::bigint as committed_micro_usd,
    (sum(sum(u.committed_micro_usd)) over (partition by date_trunc('month', u.day) order by u.day))::bigint
        as month_committed_micro_usd,
    max(b.daily_micro_usd) as daily_budget_micro_usd, max(b.monthly_micro_usd) as monthly_budget_micro_usd,
    sum(u.overhead_micro_usd)::bigint as overhead_micro_usd
from (
    select day, committed_micro_usd, 0::bigint as overhead_micro_usd from budget_use
    union all
    select day, held_micro_usd, held_micro_usd from overhead
) as u
left join budgets b on b.scope = 'fleet'
group by u.day;

comment on view analytics.fleet_spending is 'Spent and set aside by day over all tenants and for charges without a job, beside the budgets of the fleet.';
comment on column analytics.fleet_spending.committed_micro_usd is 'Spent or set aside on the day, overhead_micro_usd included';
comment on column analytics.fleet_spending.overhead_micro_usd is 'The part of it that is held for charges without a job, see analytics.overhead';

do $$
begin
    if exists (select from pg_roles where rolname = 'argosy_analyst') then
        grant select on analytics.overhead, analytics.bill_by_day to argosy_analyst;
    end if;
end $$;
