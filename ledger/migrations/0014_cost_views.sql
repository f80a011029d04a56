-- What analysts ask about money, with lane and model, free jobs as jobs, and dollars beside micro-dollars. Each view has
-- a function of its name that takes a window: analytics.cost_by_tenant('2026-11-01', '2026-12-01'). Columns that were
-- there stay as they were, behind them follow the new ones; rows without a charge are new.
--
-- Bodies of functions are parsed here (`begin atomic`): analysts may call them and may not use what lies behind them.

create function analytics.usd(micro_usd bigint) returns numeric
    language sql immutable strict parallel safe
    return micro_usd * 0.000001;
comment on function analytics.usd(bigint) is 'Micro-dollars as dollars, exact, with six places.';

create view analytics.costs as
select day as day_utc, tenant, nullif(lane, '') as lane, nullif(model, '') as model, nullif(backend, '') as backend,
    simulated, sum(jobs)::bigint as jobs,
    sum(completed_jobs)::bigint as completed_jobs, sum(free_jobs)::bigint as free_jobs,
    sum(attempts)::bigint as attempts, sum(charges)::bigint as charges,
    sum(posted_micro_usd)::bigint as posted_micro_usd, analytics.usd(sum(posted_micro_usd)::bigint) as posted_usd,
    sum(possibly_paid_micro_usd)::bigint as possibly_paid_micro_usd,
    analytics.usd(sum(possibly_paid_micro_usd)::bigint) as possibly_paid_usd,
    sum(open_micro_usd)::bigint as open_micro_usd, analytics.usd(sum(open_micro_usd)::bigint) as open_usd,
    sum(voided_micro_usd)::bigint as voided_micro_usd, analytics.usd(sum(voided_micro_usd)::bigint) as voided_usd
from rollup.daily_now('cost', '-infinity', 'infinity') group by day, tenant, lane, model, backend, simulated
having sum(jobs + attempts + charges) > 0;
comment on view analytics.costs is 'Jobs, attempts and money by day (UTC), tenant, lane, model and backend: sum it over whatever is not asked for. A job counts once, on the day it ended and where its last attempt was, whether it cost anything or not.';

create function analytics.costs(from_utc timestamptz, to_utc timestamptz) returns setof analytics.costs
    language sql stable rows 1000
begin atomic
    select day as day_utc, tenant, nullif(lane, '') as lane, nullif(model, '') as model, nullif(backend, '') as backend,
        simulated, sum(jobs)::bigint as jobs,
        sum(completed_jobs)::bigint as completed_jobs, sum(free_jobs)::bigint as free_jobs,
        sum(attempts)::bigint as attempts, sum(charges)::bigint as charges,
        sum(posted_micro_usd)::bigint as posted_micro_usd, analytics.usd(sum(posted_micro_usd)::bigint) as posted_usd,
        sum(possibly_paid_micro_usd)::bigint as possibly_paid_micro_usd,
        analytics.usd(sum(possibly_paid_micro_usd)::bigint) as possibly_paid_usd,
        sum(open_micro_usd)::bigint as open_micro_usd, analytics.usd(sum(open_micro_usd)::bigint) as open_usd,
        sum(voided_micro_usd)::bigint as voided_micro_usd, analytics.usd(sum(voided_micro_usd)::bigint) as voided_usd
    from rollup.daily_now('cost', $1, $2) group by day, tenant, lane, model, backend, simulated
    having sum(jobs + attempts + charges) > 0;
end;
comment on function analytics.costs(timestamptz, timestamptz) is 'The same for a window: from from_utc on and before to_utc, to the millisecond. Cheapest where both are the beginning of a day (UTC).';

create or replace view analytics.cost_by_day as
select day_utc as day, backend, tenant, simulated, sum(charges)::bigint as charges, sum(posted_micro_usd)::bigint as posted_micro_usd,
    sum(possibly_paid_micro_usd)::bigint as possibly_paid_micro_usd, sum(open_micro_usd)::bigint as open_micro_usd,
    sum(voided_micro_usd)::bigint as voided_micro_usd, sum(jobs)::bigint as jobs,
    sum(completed_jobs)::bigint as completed_jobs, sum(free_jobs)::bigint as free_jobs, sum(attempts)::bigint as attempts,
    analytics.usd(sum(posted_micro_usd)::bigint) as posted_usd,
    analytics.usd(sum(possibly_paid_micro_usd)::bigint) as possibly_paid_usd,
    analytics.usd(sum(open_micro_usd)::bigint) as open_usd, analytics.usd(sum(voided_micro_usd)::bigint) as voided_usd
from analytics.costs group by day_utc, backend, tenant, simulated;
comment on view analytics.cost_by_day is 'Cost of each day (UTC), backend and tenant; compare it with what the provider billed for the day.';

create function analytics.cost_by_day(from_utc timestamptz, to_utc timestamptz) returns setof analytics.cost_by_day
    language sql stable rows 1000
begin atomic
    select day_utc as day, backend, tenant, simulated, sum(charges)::bigint as charges, sum(posted_micro_usd)::bigint as posted_micro_usd,
        sum(possibly_paid_micro_usd)::bigint as possibly_paid_micro_usd, sum(open_micro_usd)::bigint as open_micro_usd,
        sum(voided_micro_usd)::bigint as voided_micro_usd, sum(jobs)::bigint as jobs,
        sum(completed_jobs)::bigint as completed_jobs, sum(free_jobs)::bigint as free_jobs, sum(attempts)::bigint as attempts,
        analytics.usd(sum(posted_micro_usd)::bigint) as posted_usd,
        analytics.usd(sum(possibly_paid_micro_usd)::bigint) as possibly_paid_usd,
        analytics.usd(sum(open_micro_usd)::bigint) as open_usd, analytics.usd(sum(voided_micro_usd)::bigint) as voided_usd
    from analytics.costs($1, $2) group by day_utc, backend, tenant, simulated;
end;
comment on function analytics.cost_by_day(timestamptz, timestamptz) is 'The same for a window: from from_utc on and before to_utc, to the millisecond. Cheapest where both are the beginning of a day (UTC).';

create or replace view analytics.cost_by_backend as
select backend, simulated, sum(charges)::bigint as charges, sum(posted_micro_usd)::bigint as posted_micro_usd,
    sum(possibly_paid_micro_usd)::bigint as possibly_paid_micro_usd, sum(open_micro_usd)::bigint as open_micro_usd,
    sum(voided_micro_usd)::bigint as voided_micro_usd, sum(jobs)::bigint as jobs,
    sum(completed_jobs)::bigint as completed_jobs, sum(free_jobs)::bigint as free_jobs, sum(attempts)::bigint as attempts,
    analytics.usd(sum(posted_micro_usd)::bigint) as posted_usd,
    analytics.usd(sum(possibly_paid_micro_usd)::bigint) as possibly_paid_usd,
    analytics.usd(sum(open_micro_usd)::bigint) as open_usd, analytics.usd(sum(voided_micro_usd)::bigint) as voided_usd
from analytics.costs group by backend, simulated;
comment on view analytics.cost_by_backend is 'Cost of each backend since the beginning; with a window by the function of the same name.';

create function analytics.cost_by_backend(from_utc timestamptz, to_utc timestamptz) returns setof analytics.cost_by_backend
    language sql stable rows 1000
begin atomic
    select backend, simulated, sum(charges)::bigint as charges, sum(posted_micro_usd)::bigint as posted_micro_usd,
        sum(possibly_paid_micro_usd)::bigint as possibly_paid_micro_usd, sum(open_micro_usd)::bigint as open_micro_usd,
        sum(voided_micro_usd)::bigint as voided_micro_usd, sum(jobs)::bigint as jobs,
        sum(completed_jobs)::bigint as completed_jobs, sum(free_jobs)::bigint as free_jobs, sum(attempts)::bigint as attempts,
        analytics.usd(sum(posted_micro_usd)::bigint) as posted_usd,
        analytics.usd(sum(possibly_paid_micro_usd)::bigint) as possibly_paid_usd,
        analytics.usd(sum(open_micro_usd)::bigint) as open_usd, analytics.usd(sum(voided_micro_usd)::bigint) as voided_usd
    from analytics.costs($1, $2) group by backend, simulated;
end;
comment on function analytics.cost_by_backend(timestamptz, timestamptz) is 'The same for a window: from from_utc on and before to_utc, to the millisecond. Cheapest where both are the beginning of a day (UTC).';

create or replace view analytics.cost_by_tenant as
select tenant, sum(charges)::bigint as charges, sum(posted_micro_usd)::bigint as posted_micro_usd,
    sum(possibly_paid_micro_usd)::bigint as possibly_paid_micro_usd, sum(open_micro_usd)::bigint as open_micro_usd,
    sum(voided_micro_usd)::bigint as voided_micro_usd, sum(jobs)::bigint as jobs,
    sum(completed_jobs)::bigint as completed_jobs, sum(free_jobs)::bigint as free_jobs, sum(attempts)::bigint as attempts,
    analytics.usd(sum(posted_micro_usd)::bigint) as posted_usd,
    analytics.usd(sum(possibly_paid_micro_usd)::bigint) as possibly_paid_usd,
    analytics.usd(sum(open_micro_usd)::bigint) as open_usd, analytics.usd(sum(voided_micro_usd)::bigint) as voided_usd
from analytics.costs group by tenant;
comment on view analytics.cost_by_tenant is 'Cost of each tenant since the beginning; with a window by the function of the same name.';

create function analytics.cost_by_tenant(from_utc timestamptz, to_utc timestamptz) returns setof analytics.cost_by_tenant
    language sql stable rows 1000
begin atomic
    select tenant, sum(charges)::bigint as charges, sum(posted_micro_usd)::bigint as posted_micro_usd,
        sum(possibly_paid_micro_usd)::bigint as possibly_paid_micro_usd, sum(open_micro_usd)::bigint as open_micro_usd,
        sum(voided_micro_usd)::bigint as voided_micro_usd, sum(jobs)::bigint as jobs,
        sum(completed_jobs)::bigint as completed_jobs, sum(free_jobs)::bigint as free_jobs, sum(attempts)::bigint as attempts,
        analytics.usd(sum(posted_micro_usd)::bigint) as posted_usd,
        analytics.usd(sum(possibly_paid_micro_usd)::bigint) as possibly_paid_usd,
        analytics.usd(sum(open_micro_usd)::bigint) as open_usd, analytics.usd(sum(voided_micro_usd)::bigint) as voided_usd
    from analytics.costs($1, $2) group by tenant;
end;
comment on function analytics.cost_by_tenant(timestamptz, timestamptz) is 'The same for a window: from from_utc on and before to_utc, to the millisecond. Cheapest where both are the beginning of a day (UTC).';

create view analytics.cost_by_model as
select model, backend, simulated, sum(jobs)::bigint as jobs,
    sum(completed_jobs)::bigint as completed_jobs, sum(free_jobs)::bigint as free_jobs,
    sum(attempts)::bigint as attempts, sum(charges)::bigint as charges,
    sum(posted_micro_usd)::bigint as posted_micro_usd, analytics.usd(sum(posted_micro_usd)::bigint) as posted_usd,
    sum(possibly_paid_micro_usd)::bigint as possibly_paid_micro_usd,
    analytics.usd(sum(possibly_paid_micro_usd)::bigint) as possibly_paid_usd,
    sum(open_micro_usd)::bigint as open_micro_usd, analytics.usd(sum(open_micro_usd)::bigint) as open_usd,
    sum(voided_micro_usd)::bigint as voided_micro_usd, analytics.usd(sum(voided_micro_usd)::bigint) as voided_usd
from analytics.costs group by model, backend, simulated;
comment on view analytics.cost_by_model is 'Cost of each model at each backend since the beginning; with a window by the function of the same name.';

create function analytics.cost_by_model(from_utc timestamptz, to_utc timestamptz) returns setof analytics.cost_by_model
    language sql stable rows 1000
begin atomic
    select model, backend, simulated, sum(jobs)::bigint as jobs,
        sum(completed_jobs)::bigint as completed_jobs, sum(free_jobs)::bigint as free_jobs,
        sum(attempts)::bigint as attempts, sum(charges)::bigint as charges,
        sum(posted_micro_usd)::bigint as posted_micro_usd, analytics.usd(sum(posted_micro_usd)::bigint) as posted_usd,
        sum(possibly_paid_micro_usd)::bigint as possibly_paid_micro_usd,
        analytics.usd(sum(possibly_paid_micro_usd)::bigint) as possibly_paid_usd,
        sum(open_micro_usd)::bigint as open_micro_usd, analytics.usd(sum(open_micro_usd)::bigint) as open_usd,
        sum(voided_micro_usd)::bigint as voided_micro_usd, analytics.usd(sum(voided_micro_usd)::bigint) as voided_usd
    from analytics.costs($1, $2) group by model, backend, simulated;
end;
comment on function analytics.cost_by_model(timestamptz, timestamptz) is 'The same for a window: from from_utc on and before to_utc, to the millisecond. Cheapest where both are the beginning of a day (UTC).';

create view analytics.cost_by_lane as
select lane, sum(jobs)::bigint as jobs,
    sum(completed_jobs)::bigint as completed_jobs, sum(free_jobs)::bigint as free_jobs,
    sum(attempts)::bigint as attempts, sum(charges)::bigint as charges,
    sum(posted_micro_usd)::bigint as posted_micro_usd, analytics.usd(sum(posted_micro_usd)::bigint) as posted_usd,
    sum(possibly_paid_micro_usd)::bigint as possibly_paid_micro_usd,
    analytics.usd(sum(possibly_paid_micro_usd)::bigint) as possibly_paid_usd,
    sum(open_micro_usd)::bigint as open_micro_usd, analytics.usd(sum(open_micro_usd)::bigint) as open_usd,
    sum(voided_micro_usd)::bigint as voided_micro_usd, analytics.usd(sum(voided_micro_usd)::bigint) as voided_usd
from analytics.costs group by lane;
comment on view analytics.cost_by_lane is 'Cost of each lane since the beginning; with a window by the function of the same name.';

create function analytics.cost_by_lane(from_utc timestamptz, to_utc timestamptz) returns setof analytics.cost_by_lane
    language sql stable rows 1000
begin atomic
    select lane, sum(jobs)::bigint as jobs,
        sum(completed_jobs)::bigint as completed_jobs, sum(free_jobs)::bigint as free_jobs,
        sum(attempts)::bigint as attempts, sum(charges)::bigint as charges,
        sum(posted_micro_usd)::bigint as posted_micro_usd, analytics.usd(sum(posted_micro_usd)::bigint) as posted_usd,
        sum(possibly_paid_micro_usd)::bigint as possibly_paid_micro_usd,
        analytics.usd(sum(possibly_paid_micro_usd)::bigint) as possibly_paid_usd,
        sum(open_micro_usd)::bigint as open_micro_usd, analytics.usd(sum(open_micro_usd)::bigint) as open_usd,
        sum(voided_micro_usd)::bigint as voided_micro_usd, analytics.usd(sum(voided_micro_usd)::bigint) as voided_usd
    from analytics.costs($1, $2) group by lane;
end;
comment on function analytics.cost_by_lane(timestamptz, timestamptz) is 'The same for a window: from from_utc on and before to_utc, to the millisecond. Cheapest where both are the beginning of a day (UTC).';

create view analytics.label_costs as
select day as day_utc, name as label, value, nullif(lane, '') as lane, nullif(model, '') as model, sum(jobs)::bigint as jobs,
    sum(completed_jobs)::bigint as completed_jobs, sum(free_jobs)::bigint as free_jobs,
    sum(attempts)::bigint as attempts, sum(charges)::bigint as charges,
    sum(posted_micro_usd)::bigint as posted_micro_usd, analytics.usd(sum(posted_micro_usd)::bigint) as posted_usd,
    sum(possibly_paid_micro_usd)::bigint as possibly_paid_micro_usd,
    analytics.usd(sum(possibly_paid_micro_usd)::bigint) as possibly_paid_usd,
    sum(open_micro_usd)::bigint as open_micro_usd, analytics.usd(sum(open_micro_usd)::bigint) as open_usd,
    sum(voided_micro_usd)::bigint as voided_micro_usd, analytics.usd(sum(voided_micro_usd)::bigint) as voided_usd
from rollup.daily_now('label', '-infinity', 'infinity') group by day, name, value, lane, model
having sum(jobs + attempts + charges) > 0;
comment on view analytics.label_costs is 'As analytics.costs, by day (UTC), label, lane and model. A job with two labels counts under both: ask for one label.';

create function analytics.label_costs(from_utc timestamptz, to_utc timestamptz) returns setof analytics.label_costs
    language sql stable rows 1000
begin atomic
    select day as day_utc, name as label, value, nullif(lane, '') as lane, nullif(model, '') as model, sum(jobs)::bigint as jobs,
        sum(completed_jobs)::bigint as completed_jobs, sum(free_jobs)::bigint as free_jobs,
        sum(attempts)::bigint as attempts, sum(charges)::bigint as charges,
        sum(posted_micro_usd)::bigint as posted_micro_usd, analytics.usd(sum(posted_micro_usd)::bigint) as posted_usd,
        sum(possibly_paid_micro_usd)::bigint as possibly_paid_micro_usd,
        analytics.usd(sum(possibly_paid_micro_usd)::bigint) as possibly_paid_usd,
        sum(open_micro_usd)::bigint as open_micro_usd, analytics.usd(sum(open_micro_usd)::bigint) as open_usd,
        sum(voided_micro_usd)::bigint as voided_micro_usd, analytics.usd(sum(voided_micro_usd)::bigint) as voided_usd
    from rollup.daily_now('label', $1, $2) group by day, name, value, lane, model
    having sum(jobs + attempts + charges) > 0;
end;
comment on function analytics.label_costs(timestamptz, timestamptz) is 'The same for a window: from from_utc on and before to_utc, to the millisecond. Cheapest where both are the beginning of a day (UTC).';

create or replace view analytics.cost_by_label as
select label, value, sum(charges)::bigint as charges, sum(posted_micro_usd)::bigint as posted_micro_usd,
    sum(possibly_paid_micro_usd)::bigint as possibly_paid_micro_usd, sum(open_micro_usd)::bigint as open_micro_usd,
    sum(voided_micro_usd)::bigint as voided_micro_usd, sum(jobs)::bigint as jobs,
    sum(completed_jobs)::bigint as completed_jobs, sum(free_jobs)::bigint as free_jobs, sum(attempts)::bigint as attempts,
    analytics.usd(sum(posted_micro_usd)::bigint) as posted_usd,
    analytics.usd(sum(possibly_paid_micro_usd)::bigint) as possibly_paid_usd,
    analytics.usd(sum(open_micro_usd)::bigint) as open_usd, analytics.usd(sum(voided_micro_usd)::bigint) as voided_usd
from analytics.label_costs group by label, value;
comment on view analytics.cost_by_label is 'Cost by the labels that clients put on their jobs. A job with two labels counts under both.';

create function analytics.cost_by_label(from_utc timestamptz, to_utc timestamptz) returns setof analytics.cost_by_label
    language sql stable rows 1000
begin atomic
    select label, value, sum(charges)::bigint as charges, sum(posted_micro_usd)::bigint as posted_micro_usd,
        sum(possibly_paid_micro_usd)::bigint as possibly_paid_micro_usd, sum(open_micro_usd)::bigint as open_micro_usd,
        sum(voided_micro_usd)::bigint as voided_micro_usd, sum(jobs)::bigint as jobs,
        sum(completed_jobs)::bigint as completed_jobs, sum(free_jobs)::bigint as free_jobs, sum(attempts)::bigint as attempts,
        analytics.usd(sum(posted_micro_usd)::bigint) as posted_usd,
        analytics.usd(sum(possibly_paid_micro_usd)::bigint) as possibly_paid_usd,
        analytics.usd(sum(open_micro_usd)::bigint) as open_usd, analytics.usd(sum(voided_micro_usd)::bigint) as voided_usd
    from analytics.label_costs($1, $2) group by label, value;
end;
comment on function analytics.cost_by_label(timestamptz, timestamptz) is 'The same for a window: from from_utc on and before to_utc, to the millisecond. Cheapest where both are the beginning of a day (UTC).';

-- Hours of one window; days have sums, hours are read from the rows of their days.
create function analytics.costs_by_hour(from_utc timestamptz, to_utc timestamptz)
    returns table (hour_utc timestamp, tenant text, lane text, model text, backend text, simulated boolean, jobs bigint,
        completed_jobs bigint, free_jobs bigint, attempts bigint, charges bigint, posted_micro_usd bigint,
        posted_usd numeric, possibly_paid_micro_usd bigint, possibly_paid_usd numeric, open_micro_usd bigint,
        open_usd numeric, voided_micro_usd bigint, voided_usd numeric)
    language sql stable rows 1000
begin atomic
    select date_trunc('hour', i.at at time zone 'UTC'), i.tenant, i.lane, i.model, i.backend, i.simulated,
        sum(i.jobs)::bigint, sum(i.completed_jobs)::bigint, sum(i.free_jobs)::bigint, sum(i.attempts)::bigint,
        sum(i.charges)::bigint,
        sum(i.posted_micro_usd)::bigint, analytics.usd(sum(i.posted_micro_usd)::bigint),
        sum(i.possibly_paid_micro_usd)::bigint, analytics.usd(sum(i.possibly_paid_micro_usd)::bigint),
        sum(i.open_micro_usd)::bigint, analytics.usd(sum(i.open_micro_usd)::bigint),
        sum(i.voided_micro_usd)::bigint, analytics.usd(sum(i.voided_micro_usd)::bigint)
    from rollup.items_between($1, $2) i
    group by 1, i.tenant, i.lane, i.model, i.backend, i.simulated;
end;
comment on function analytics.costs_by_hour(timestamptz, timestamptz) is 'As analytics.costs, by the hour (UTC) in which jobs, attempts and charges ended, of a window; it reads the rows of the days of the window.';

create view analytics.savings_by_day as
select day as day_utc, tenant, nullif(lane, '') as lane, nullif(model, '') as model, name as against,
    sum(jobs)::bigint as jobs, sum(posted_micro_usd)::bigint as actual_micro_usd,
    analytics.usd(sum(posted_micro_usd)::bigint) as actual_usd,
    sum(baseline_micro_usd)::bigint as baseline_micro_usd,
    analytics.usd(sum(baseline_micro_usd)::bigint) as baseline_usd,
    sum(baseline_micro_usd - posted_micro_usd)::bigint as saving_micro_usd,
    analytics.usd(sum(baseline_micro_usd - posted_micro_usd)::bigint) as saving_usd
from rollup.daily_now('saving', '-infinity', 'infinity') group by day, tenant, lane, model, name having sum(jobs) > 0;
comment on view analytics.savings_by_day is 'Completed jobs by day (UTC) of their end, tenant, lane and model: what they cost, and what they would have cost at one backend. Ask for one backend in `against`.';

create function analytics.savings_by_day(from_utc timestamptz, to_utc timestamptz) returns setof analytics.savings_by_day
    language sql stable rows 1000
begin atomic
    select day as day_utc, tenant, nullif(lane, '') as lane, nullif(model, '') as model, name as against,
        sum(jobs)::bigint as jobs, sum(posted_micro_usd)::bigint as actual_micro_usd,
        analytics.usd(sum(posted_micro_usd)::bigint) as actual_usd,
        sum(baseline_micro_usd)::bigint as baseline_micro_usd,
        analytics.usd(sum(baseline_micro_usd)::bigint) as baseline_usd,
        sum(baseline_micro_usd - posted_micro_usd)::bigint as saving_micro_usd,
        analytics.usd(sum(baseline_micro_usd - posted_micro_usd)::bigint) as saving_usd
    from rollup.daily_now('saving', $1, $2) group by day, tenant, lane, model, name having sum(jobs) > 0;
end;
comment on function analytics.savings_by_day(timestamptz, timestamptz) is 'The same for a window: from from_utc on and before to_utc, to the millisecond. Cheapest where both are the beginning of a day (UTC).';

create or replace view analytics.savings_by_baseline as
select against, sum(jobs)::bigint as jobs, sum(actual_micro_usd)::bigint as actual_micro_usd,
    sum(baseline_micro_usd)::bigint as baseline_micro_usd, sum(saving_micro_usd)::bigint as saving_micro_usd,
    analytics.usd(sum(actual_micro_usd)::bigint) as actual_usd,
    analytics.usd(sum(baseline_micro_usd)::bigint) as baseline_usd,
    analytics.usd(sum(saving_micro_usd)::bigint) as saving_usd
from analytics.savings_by_day group by against;
comment on view analytics.savings_by_baseline is 'What would have been spent had every job been made at one backend: the sums of analytics.savings.';

create function analytics.savings_by_baseline(from_utc timestamptz, to_utc timestamptz) returns setof analytics.savings_by_baseline
    language sql stable rows 1000
begin atomic
    select against, sum(jobs)::bigint as jobs, sum(actual_micro_usd)::bigint as actual_micro_usd,
        sum(baseline_micro_usd)::bigint as baseline_micro_usd, sum(saving_micro_usd)::bigint as saving_micro_usd,
        analytics.usd(sum(actual_micro_usd)::bigint) as actual_usd,
        analytics.usd(sum(baseline_micro_usd)::bigint) as baseline_usd,
        analytics.usd(sum(saving_micro_usd)::bigint) as saving_usd
    from analytics.savings_by_day($1, $2) group by against;
end;
comment on function analytics.savings_by_baseline(timestamptz, timestamptz) is 'The same for a window: from from_utc on and before to_utc, to the millisecond. Cheapest where both are the beginning of a day (UTC).';

create view analytics.failures_before_attempt as
select day as day_utc, tenant, nullif(lane, '') as lane, name as ended_as, nullif(value, '') as failure_code,
    sum(jobs)::bigint as jobs
from rollup.daily_now('unstarted', '-infinity', 'infinity') group by day, tenant, lane, name, value having sum(jobs) > 0;
comment on view analytics.failures_before_attempt is 'Jobs that ended without any attempt, and publishes that were refused: what analytics.failures, which counts attempts, cannot show.';

create function analytics.failures_before_attempt(from_utc timestamptz, to_utc timestamptz) returns setof analytics.failures_before_attempt
    language sql stable rows 1000
begin atomic
    select day as day_utc, tenant, nullif(lane, '') as lane, name as ended_as, nullif(value, '') as failure_code,
        sum(jobs)::bigint as jobs
    from rollup.daily_now('unstarted', $1, $2) group by day, tenant, lane, name, value having sum(jobs) > 0;
end;
comment on function analytics.failures_before_attempt(timestamptz, timestamptz) is 'The same for a window: from from_utc on and before to_utc, to the millisecond. Cheapest where both are the beginning of a day (UTC).';

create view analytics.latency_by_hour as
select hour as hour_utc, lane, model, backend, jobs, queue_p50_ms, queue_p95_ms, run_p50_ms, run_p95_ms, total_p50_ms,
    total_p95_ms
from rollup.latency_hours('-infinity', 'infinity');
comment on view analytics.latency_by_hour is 'Latency percentiles of completed jobs by hour (UTC) of submission, lane, model and backend. This reads every completed job: give a window to the function of the same name.';

create function analytics.latency_by_hour(from_utc timestamptz, to_utc timestamptz) returns setof analytics.latency_by_hour
    language sql stable rows 1000
begin atomic
    select hour as hour_utc, lane, model, backend, jobs, queue_p50_ms, queue_p95_ms, run_p50_ms, run_p95_ms, total_p50_ms,
        total_p95_ms
    from rollup.latency_hours($1, $2);
end;
comment on function analytics.latency_by_hour(timestamptz, timestamptz) is 'The same for jobs submitted from from_utc on and before to_utc; only their months are read.';

-- What the columns say, in every view that has them and says nothing yet.
do $$
declare
    nameless record;
begin
    for nameless in
        select c.relname as view, a.attname as name, words.meaning
        from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
        join (values
            ('day_utc', 'Day, UTC: on which jobs, attempts and charges ended; if they have not, that of their last step'),
            ('hour_utc', 'Start of the hour, UTC, without a zone'),
            ('tenant', 'Who the job was for and who pays; unknown where a refused publish does not say'),
            ('lane', 'interactive, standard or batch; empty where no event has told of the job'),
            ('model', 'The model of the catalog or the provider; of a job, that of its last attempt; empty without an attempt'),
            ('backend', 'Where it ran: local, cloud, gemini or another; of a job, where its last attempt was; empty without an attempt'),
            ('simulated', 'Whether the provider was a simulator'),
            ('label', 'Name of the label'),
            ('value', 'Its value'),
            ('jobs', 'Jobs, each counted once, free ones too; rows of one label, or of one backend compared with, add up'),
            ('completed_jobs', 'Jobs that were completed'),
            ('free_jobs', 'Jobs of which nothing was spent and nothing is set aside'),
            ('attempts', 'Attempts'),
            ('charges', 'How many charges it sums: attempts that had money set aside or spent'),
            ('posted_micro_usd', 'What was spent'),
            ('posted_usd', 'What was spent, dollars'),
            ('possibly_paid_micro_usd', 'The part of it of which the provider could not tell whether it billed'),
            ('possibly_paid_usd', 'The part of it of which the provider could not tell whether it billed, dollars'),
            ('open_micro_usd', 'What is still set aside'),
            ('open_usd', 'What is still set aside, dollars'),
            ('voided_micro_usd', 'What was set aside and not spent'),
            ('voided_usd', 'What was set aside and not spent, dollars'),
            ('against', 'The backend that they are compared with'),
            ('actual_micro_usd', 'What was spent on those jobs'),
            ('actual_usd', 'What was spent on those jobs, dollars'),
            ('baseline_micro_usd', 'What they would have cost there'),
            ('baseline_usd', 'What they would have cost there, dollars'),
            ('saving_micro_usd', 'baseline_micro_usd minus actual_micro_usd; negative when it cost more'),
            ('saving_usd', 'The same in dollars'),
            ('ended_as', 'refused (a publish that is no job), cancelled, expired or failed'),
            ('failure_code', 'Closed code of the failure'),
            ('queue_p50_ms', '50th percentile of the milliseconds from submission to the start of the first attempt'),
            ('queue_p95_ms', '95th percentile of the milliseconds from submission to the start of the first attempt'),
            ('run_p50_ms', '50th percentile of the milliseconds from start to end of the last attempt'),
            ('run_p95_ms', '95th percentile of the milliseconds from start to end of the last attempt'),
            ('total_p50_ms', '50th percentile of the milliseconds from submission to the end of the job'),
            ('total_p95_ms', '95th percentile of the milliseconds from submission to the end of the job')
        ) as words (name, meaning) on words.name = a.attname
        where c.relnamespace = 'analytics'::regnamespace and col_description(c.oid, a.attnum) is null
    loop
        execute format('comment on column analytics.%I.%I is %L', nameless.view, nameless.name, nameless.meaning);
    end loop;
end $$;

do $$
begin
    if exists (select from pg_roles where rolname = 'argosy_analyst') then
        grant select on all tables in schema analytics to argosy_analyst;
    end if;
end $$;

-- A time without a zone means UTC to whoever asks, and times are shown in it, unless their client says otherwise.
do $$
begin
    execute format('alter database %I set timezone = %L', current_database(), 'UTC');
exception
    when insufficient_privilege then
        raise warning 'times could not be set to UTC for this database: write zones into times, 2026-11-01 00:00Z';
end $$;
