-- Tenants without an entry of their own share the default's budget: the view shows what counts against it.

create or replace view analytics.spending as
select u.day, date_trunc('month', u.day)::date as month, u.tenant, u.committed_micro_usd,
    (sum(u.committed_micro_usd) over (partition by u.tenant, date_trunc('month', u.day) order by u.day))::bigint
        as month_committed_micro_usd,
    b.daily_micro_usd as daily_budget_micro_usd, b.monthly_micro_usd as monthly_budget_micro_usd,
    coalesce(b.scope = 'default', false) as shares_budget,
    (case when b.scope = 'default' then
        sum(u.committed_micro_usd) over (partition by b.scope, u.day) end)::bigint as shared_committed_micro_usd,
    (case when b.scope = 'default' then
        sum(u.committed_micro_usd) over (partition by b.scope, date_trunc('month', u.day) order by u.day) end)::bigint
        as shared_month_committed_micro_usd
from budget_use u
left join lateral (
    select scope, daily_micro_usd, monthly_micro_usd from budgets
    where (scope = 'tenant' and tenant = u.tenant) or scope = 'default'
    order by scope = 'tenant' desc limit 1
) b on true;

comment on column analytics.spending.daily_budget_micro_usd is 'Budget for a day: the tenant''s own, or the one it shares; empty for none';
comment on column analytics.spending.monthly_budget_micro_usd is 'Budget for a month: the tenant''s own, or the one it shares; empty for none';
comment on column analytics.spending.shares_budget is 'The tenant has no entry of its own and shares the default''s budget with all such tenants';
comment on column analytics.spending.shared_committed_micro_usd is 'What all who share the budget have spent or set aside on the day; empty where the budget is the tenant''s own';
comment on column analytics.spending.shared_month_committed_micro_usd is 'The same from the first of the month up to and including the day';
