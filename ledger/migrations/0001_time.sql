-- Times cross the wire as Unix milliseconds and lie here as timestamptz. These two functions are the
-- only conversion, so that no driver type for times is needed and every name keeps its unit.

create function at_ms(ms bigint) returns timestamptz
    language sql immutable strict parallel safe
    return to_timestamp(ms / 1000.0);

create function to_ms(at timestamptz) returns bigint
    language sql immutable strict parallel safe
    return (extract(epoch from at) * 1000)::bigint;

create function utc_day(at timestamptz) returns date
    language sql immutable strict parallel safe
    return (at at time zone 'UTC')::date;

-- The smallest UUIDv7 of a moment. Job ids are UUIDv7, so a range of ids is a range of time.
create function uuid_floor(at timestamptz) returns uuid
    language sql immutable strict parallel safe
    return (lpad(to_hex(to_ms(at)), 12, '0') || repeat('0', 20))::uuid;
