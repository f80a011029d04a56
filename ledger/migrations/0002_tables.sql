-- Partitions. `events`, `jobs` and `attempts` grow with every job and are partitioned by month: by
-- ranges of the job's id, which is a UUIDv7 and therefore begins with its time. Partitioning by a
-- time column was rejected: a primary key must contain the partition key, and an event told twice
-- with two times would then be two rows. Ids that are not UUIDv7 (a client may send any UUID), and
-- months that nobody prepared, fall into the default partition. Old months are detached or dropped
-- whole, the three tables together; nothing is ever deleted row by row.
--
-- `charges` is the book of account: small, kept whole, never dropped.

create table events (
    job          uuid        not null,
    attempt      integer     not null check (attempt >= 0),
    kind         text        not null,
    occurred_at  timestamptz not null,
    body         jsonb       not null,
    -- The event's id is `<job>.<attempt>.<kind>`: this key, in three columns.
    primary key (job, attempt, kind)
) partition by range (job);

create table jobs (
    id                  uuid        primary key,
    tenant              text        not null,
    lane                text        not null,
    kind                text        not null,
    class               text,
    form                text        not null,
    labels              jsonb       not null,
    submitted_at        timestamptz not null,
    max_cost_micro_usd  bigint,
    deadline_at         timestamptz,
    state               text        not null check (state in
        ('submitted', 'assigned', 'running', 'retrying', 'completed', 'failed', 'cancelled', 'expired')),
    state_at            timestamptz not null,
    ended_at            timestamptz,
    failure_code        text,
    failure             jsonb,
    artifacts           jsonb       not null,
    -- What its first decision expected it to cost at each backend that could make it: {"cloud": 5700}.
    elsewhere           jsonb       not null,
    check ((ended_at is not null) = (state in ('completed', 'failed', 'cancelled', 'expired')))
) partition by range (id);

create index jobs_submitted on jobs (submitted_at);
create index jobs_tenant_submitted on jobs (tenant, submitted_at);

create table attempts (
    job                 uuid        not null,
    attempt             integer     not null check (attempt >= 1),
    backend             text        not null,
    class               text,
    model               text,
    worker              text,
    simulated           boolean     not null,
    assigned_at         timestamptz not null,
    started_at          timestamptz,
    finished_at         timestamptz,
    provider_id         text,
    usage               jsonb       not null,
    energy_mj           bigint      check (energy_mj >= 0),
    failure_code        text,
    failure             jsonb,
    disposition         text,
    next_at             timestamptz,
    reason              text,
    expected_micro_usd  bigint,
    primary key (job, attempt)
) partition by range (job);

create index attempts_assigned on attempts (assigned_at);

create table charges (
    job                  uuid        not null,
    attempt              integer     not null check (attempt >= 1),
    tenant               text        not null,
    backend              text        not null,
    simulated            boolean     not null,
    state                text        not null check (state in ('pending', 'posted', 'voided')),
    -- Who settled it: `assigned` (placed for free instead), `retrying`, `ended` or `charged`.
    settled_by           text,
    -- The last reservation that was granted; empty where an event told of it first.
    requested_micro_usd  bigint      check (requested_micro_usd >= 0),
    requested_at         timestamptz,
    -- What was opened, and what of it was spent.
    reserved_micro_usd   bigint      not null check (reserved_micro_usd >= 0),
    posted_micro_usd     bigint      not null check (posted_micro_usd >= 0),
    possibly_paid        boolean     not null,
    -- Which day's budget it counts against: the reservation's.
    budget_at            timestamptz not null,
    budget_day           date        not null generated always as (utc_day(budget_at)) stored,
    -- Which day's invoice it belongs to: that of the attempt's end.
    posted_at            timestamptz,
    posted_day           date        generated always as (utc_day(posted_at)) stored,
    -- reserved + overrun = posted + voided + open, for each row and so for every sum.
    open_micro_usd       bigint      not null generated always as
        (case when state = 'pending' then reserved_micro_usd else 0 end) stored,
    voided_micro_usd     bigint      not null generated always as
        (case when state = 'pending' then 0 else greatest(reserved_micro_usd - posted_micro_usd, 0) end) stored,
    overrun_micro_usd    bigint      not null generated always as
        (greatest(posted_micro_usd - reserved_micro_usd, 0)) stored,
    primary key (job, attempt),
    check (state = 'posted' or posted_micro_usd = 0),
    check ((state = 'posted') = (posted_at is not null)),
    check ((state = 'pending') = (settled_by is null)),
    check ((requested_micro_usd is null) = (requested_at is null))
);

create index charges_open on charges (budget_day) where state = 'pending';
create index charges_posted on charges (posted_day, backend) where state = 'posted';

-- What is spent or reserved of each tenant's day: the sum of its charges, kept beside them by the
-- triggers below so that reserving costs the same on the first day of a month as on the last. There
-- is no check against negative sums: Postgres would apply it to the difference that is being added.
create table budget_use (
    tenant               text   not null,
    day                  date   not null,
    committed_micro_usd  bigint not null,
    primary key (tenant, day)
);

create index budget_use_day on budget_use (day);

create function budget_use_opened() returns trigger language plpgsql as $$
begin
    insert into budget_use as b (tenant, day, committed_micro_usd)
    select tenant, budget_day, sum(open_micro_usd + posted_micro_usd)
    from fresh group by tenant, budget_day order by tenant, budget_day
    on conflict (tenant, day) do update
        set committed_micro_usd = b.committed_micro_usd + excluded.committed_micro_usd;
    return null;
end $$;

create function budget_use_moved() returns trigger language plpgsql as $$
begin
    insert into budget_use as b (tenant, day, committed_micro_usd)
    select tenant, budget_day, sum(moved) from (
        select tenant, budget_day, open_micro_usd + posted_micro_usd as moved from fresh
        union all
        select tenant, budget_day, -(open_micro_usd + posted_micro_usd) from stale
    ) as both_sides
    group by tenant, budget_day having sum(moved) <> 0 order by tenant, budget_day
    on conflict (tenant, day) do update
        set committed_micro_usd = b.committed_micro_usd + excluded.committed_micro_usd;
    return null;
end $$;

create trigger charges_opened after insert on charges
    referencing new table as fresh for each statement execute function budget_use_opened();
create trigger charges_moved after update on charges
    referencing new table as fresh old table as stale for each statement execute function budget_use_moved();

-- The budgets as the ledger last read them, so that analysts see spending beside its limit. The
-- ledger decides by the configuration itself, never by this copy.
create table budgets (
    scope              text not null check (scope in ('fleet', 'default', 'tenant')),
    tenant             text not null check ((tenant = '') = (scope <> 'tenant')),
    daily_micro_usd    bigint,
    monthly_micro_usd  bigint,
    primary key (scope, tenant)
);
