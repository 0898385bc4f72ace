-- Whether signing keeps up is known before answers are late, and many certificates at once are signed in slices.

-- Of the last turn of a slice: what was in it, and how long one task took to sign that; null before the first.
ALTER TABLE partitions ADD COLUMN certificates integer, ADD COLUMN signing_seconds real;

-- The processes that sign slices, each of them at so many at once.
CREATE TABLE presigners (
    owner text PRIMARY KEY,
    tasks integer NOT NULL CHECK (tasks > 0),
    seen_at timestamptz NOT NULL DEFAULT now()
);

-- One row: what all of them together have to do, as one of them reckoned it last.
CREATE TABLE signing_need (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    tasks_needed double precision NOT NULL DEFAULT 0,
    signatures_per_second double precision NOT NULL DEFAULT 0,
    overdue_seconds double precision NOT NULL DEFAULT 0,
    first_expiry timestamptz
);
INSERT INTO signing_need DEFAULT VALUES;

-- What was issued is signed as a change, one by one, so that it is in the record store within a second. Of very many at
-- once, as a list of another CA has them, the slices are due instead: they cost a third, and whoever asks before that is
-- answered by a signature of its own. Each is announced in both cases; hosts learn from it which serials there are.
CREATE OR REPLACE FUNCTION announce_issued() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    many boolean := (SELECT count(*) > 10000 FROM (SELECT FROM new_rows LIMIT 10001) AS first_rows);
BEGIN
    INSERT INTO outbox (issuer_id, serial, epoch, number, kind, closed_at)
        SELECT issuer_id, serial, epoch, number, CASE WHEN revoked THEN 'changed' ELSE 'issued' END,
            CASE WHEN many AND NOT revoked THEN now() END
        FROM new_rows;
    IF many THEN
        UPDATE partitions SET due_at = now(), leased_by = NULL, leased_until = NULL
            WHERE issuer_id IN (SELECT DISTINCT issuer_id FROM new_rows);
    END IF;
    PERFORM pg_notify('certstatus_status', '');
    RETURN NULL;
END $$;

-- What a list of a million adds is kept a thousand to the row: a row for each costs as much as half of the certificates.
CREATE TABLE import_additions (
    import_id bigint NOT NULL REFERENCES imports ON DELETE CASCADE,
    serials bytea[] NOT NULL,
    numbers bigint[] NOT NULL
);
CREATE INDEX import_additions_by_import ON import_additions (import_id);
CREATE VIEW changed_by_import AS
    SELECT import_id, serial, number, before FROM import_changes
    UNION ALL
    SELECT import_id, added.serial, added.number, NULL::jsonb
    FROM import_additions, unnest(serials, numbers) AS added (serial, number);
