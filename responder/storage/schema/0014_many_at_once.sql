-- What one statement issues in great number is announced a thousand to the row: a row for each cost as much as its
-- indexes, and each host reads them all.
ALTER TABLE outbox ADD COLUMN serials bytea[];  -- of kind 'issued': all that the row announces, where it is more than one

CREATE OR REPLACE FUNCTION announce_issued() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    many boolean := (SELECT count(*) > 10000 FROM (SELECT FROM new_rows LIMIT 10001) AS first_rows);
BEGIN
    INSERT INTO outbox (issuer_id, serial, epoch, number, kind)
        SELECT issuer_id, serial, epoch, number, CASE WHEN revoked THEN 'changed' ELSE 'issued' END
        FROM new_rows WHERE revoked OR NOT many;
    IF many THEN
        INSERT INTO outbox (issuer_id, serial, epoch, number, kind, closed_at, serials)
            SELECT issuer_id, (array_agg(serial))[1], max(epoch), max(number), 'issued', now(), array_agg(serial)
            FROM (SELECT *, row_number() OVER () / 1000 AS part FROM new_rows WHERE NOT revoked) AS parts
            GROUP BY issuer_id, part;
        UPDATE partitions SET due_at = now(), leased_by = NULL, leased_until = NULL
            WHERE issuer_id IN (SELECT DISTINCT issuer_id FROM new_rows);
    END IF;
    PERFORM pg_notify('certstatus_status', '');
    RETURN NULL;
END $$;
