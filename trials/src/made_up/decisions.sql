-- The decisions behind the attempts that were placed from $1 (Unix milliseconds) on, all of the same length.
insert into events (job, attempt, kind, occurred_at, body)
select a.job, a.attempt, 'assigned', a.assigned_at, (jsonb_build_object('schema_version', 1,
    'id', a.job || '.' || a.attempt || '.assigned', 'time_ms', to_ms(a.assigned_at), 'tenant', j.tenant, 'job', a.job,
    'attempt', a.attempt, 'fact', jsonb_build_object('kind', 'assigned',
        'facts', jsonb_build_object('submitted_at_ms', to_ms(j.submitted_at), 'lane', j.lane, 'kind', j.kind,
            'class', j.class, 'form', j.form, 'labels', j.labels),
        'backend', a.backend, 'class', a.class, 'model', a.model, 'reserved_micro_usd', a.expected_micro_usd,
        'decision', jsonb_build_object('time_ms', to_ms(a.assigned_at), 'attempt', a.attempt, 'class', a.class,
            'choice', a.backend, 'reason', a.reason, 'consent', 'the job allows paid backends',
            'weights', '{"priority": 0.4, "cost": 0.3, "speed": 0.2, "queue": 0.1}'::jsonb,
            'candidates', (
                select jsonb_agg(jsonb_build_object('backend', b, 'score', 0.84, 'simulated', false,
                    'terms', '{"priority": 1.0, "cost": 1.0, "speed": 0.75, "queue": 0.5}'::jsonb,
                    'expected_micro_usd', a.expected_micro_usd, 'reserve_micro_usd', a.expected_micro_usd * 2,
                    'wait_ms', 0, 'completion_ms', 15000, 'backlog', 3, 'slots', 16))
                from unnest(array['local', 'cloud', 'gemini']) as b)))))::text
from attempts a join jobs j on j.id = a.job
where a.assigned_at >= at_ms($1::bigint)
