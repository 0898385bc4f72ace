-- What one statement issues, where it is more than a hundred, is announced 500 to the row: a row for each costs as much as
-- the certificate, and most of what the relay does. Such a row is open until each of its serials is in the record store;
-- of very many it is closed at once, since their slices are due instead.
CREATE OR REPLACE FUNCTION announce_issued() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    issued integer := (SELECT count(*) FROM (SELECT FROM new_rows WHERE NOT revoked LIMIT 10001) AS first_rows);
    together boolean := issued > 100;
    many boolean := issued > 10000;
BEGIN
    INSERT INTO outbox (issuer_id, serial, epoch, number, kind)
        SELECT issuer_id, serial, epoch, number, CASE WHEN revoked THEN 'changed' ELSE 'issued' END
        FROM new_rows WHERE revoked OR NOT together;
    IF together THEN
        INSERT INTO outbox (issuer_id, serial, epoch, number, kind, closed_at, serials)
            SELECT issuer_id, (array_agg(serial))[1], max(epoch), max(number), 'issued', CASE WHEN many THEN now() END,
                array_agg(serial)
            FROM (SELECT *, (row_number() OVER () - 1) / 500 AS part FROM new_rows WHERE NOT revoked) AS parts
            GROUP BY issuer_id, part;
    END IF;
    IF many THEN
        UPDATE partitions SET due_at = now(), leased_by = NULL, leased_until = NULL
            WHERE issuer_id IN (SELECT DISTINCT issuer_id FROM new_rows);
    END IF;
    PERFORM pg_notify('certstatus_status', '');
    RETURN NULL;
END $$;

-- A revocation doesn't wait for what was merely issued before it.
CREATE INDEX outbox_open_changes ON outbox (id) WHERE closed_at IS NULL AND kind <> 'issued';
CREATE INDEX outbox_open_issued ON outbox (id) WHERE closed_at IS NULL AND kind = 'issued';
DROP INDEX outbox_open;
