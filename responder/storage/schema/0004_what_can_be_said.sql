-- What no answer and no CRL can say is refused when it is written, by whoever writes.

-- X.690 §8.3.2: of two octets or more, the first nine bits aren't all equal. Another spelling would be a second row for
-- the same certificate.
CREATE FUNCTION is_minimal_integer(octets bytea) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT octet_length(octets) = 1 OR NOT (
        (get_byte(octets, 0) = 0 AND get_byte(octets, 1) < 128)
        OR (get_byte(octets, 0) = 255 AND get_byte(octets, 1) >= 128)
    )
$$;

-- The bounds of GeneralizedTime that records count from 1970; infinity is beyond them.
CREATE FUNCTION is_sayable(moment timestamptz) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT moment IS NULL OR (moment >= '1970-01-01 00:00:00+00' AND moment < '10000-01-01 00:00:00+00')
$$;

-- A validity is never written into an answer, so it may begin earlier.
CREATE FUNCTION is_calendar_time(moment timestamptz) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT moment IS NULL OR (moment >= '0001-01-01 00:00:00+00' AND moment < '10000-01-01 00:00:00+00')
$$;

-- NOT VALID: rows that are there already stay as they are; `certstatus db check` lists them, and says what to do.
ALTER TABLE certificates
    ADD CONSTRAINT serial_is_minimal CHECK (is_minimal_integer(serial)) NOT VALID,
    ADD CONSTRAINT revoked_at_is_sayable CHECK (is_sayable(revoked_at)) NOT VALID,
    ADD CONSTRAINT invalidity_date_is_sayable CHECK (is_sayable(invalidity_date)) NOT VALID,
    ADD CONSTRAINT validity_is_calendar_time CHECK (is_calendar_time(not_before) AND is_calendar_time(not_after)) NOT VALID;
ALTER TABLE issuers
    ADD CONSTRAINT compromised_at_is_sayable CHECK (is_sayable(compromised_at)) NOT VALID;
CREATE INDEX certificates_unsayable ON certificates (issuer_id, serial) WHERE NOT (
    is_minimal_integer(serial) AND is_sayable(revoked_at) AND is_sayable(invalidity_date)
    AND is_calendar_time(not_before) AND is_calendar_time(not_after)
);

-- Slices are signed in the order of this index, and finished one by one.
DROP INDEX certificates_by_partition;
CREATE INDEX certificates_by_partition ON certificates (issuer_id, partition, serial);

-- A change that the store didn't keep stays open, and is tried again later and later.
ALTER TABLE outbox
    ADD COLUMN retry_at timestamptz,
    ADD COLUMN failures smallint NOT NULL DEFAULT 0;

-- A deletion takes its number with the row's lock: an insertion of the same serial that waits for it takes a later one.
-- (It used to be taken at the end of the statement, after such an insertion's.)
DROP TRIGGER status_deleted ON certificates;
DROP FUNCTION announce_deleted();
CREATE FUNCTION announce_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outbox (issuer_id, serial, epoch, number, kind)
        VALUES (OLD.issuer_id, OLD.serial, (SELECT epoch FROM installation), nextval('status_numbers'), 'deleted');
    PERFORM pg_notify('certstatus_status', '');
    RETURN OLD;
END $$;
CREATE TRIGGER status_deleted BEFORE DELETE ON certificates FOR EACH ROW EXECUTE FUNCTION announce_deleted();
ALTER TABLE certificates ENABLE ALWAYS TRIGGER status_deleted;
