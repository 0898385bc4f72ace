-- An UPDATE that changes nothing of a status has a new version, as every write has, but isn't announced: no outbox row, no
-- signature.

CREATE OR REPLACE FUNCTION announce_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outbox (issuer_id, serial, epoch, number, kind)
        SELECT n.issuer_id, n.serial, n.epoch, n.number, 'changed'
        FROM new_rows n JOIN old_rows o USING (issuer_id, serial)
        WHERE (
            n.revoked, n.revoked_at, n.reason, n.invalidity_date, n.not_before, n.not_after, n.certificate_sha256
        ) IS DISTINCT FROM (
            o.revoked, o.revoked_at, o.reason, o.invalidity_date, o.not_before, o.not_after, o.certificate_sha256
        );
    IF FOUND THEN
        PERFORM pg_notify('certstatus_status', '');
    END IF;
    RETURN NULL;
END $$;
DROP TRIGGER status_changed ON certificates;
CREATE TRIGGER status_changed AFTER UPDATE ON certificates
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION announce_changed();
ALTER TABLE certificates ENABLE ALWAYS TRIGGER status_changed;
