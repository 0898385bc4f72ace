-- An import can be taken back while nothing else has changed, and doesn't undo what was decided here.

-- When a certificate was last released from hold: a list that still has it on hold since before is older than that.
ALTER TABLE certificates ADD COLUMN released_at timestamptz;

CREATE OR REPLACE FUNCTION set_status_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.issuer_id, NEW.serial) IS DISTINCT FROM (OLD.issuer_id, OLD.serial) THEN
            RAISE EXCEPTION 'a certificate keeps its issuer and serial; delete the row and insert another';
        END IF;
        IF OLD.revoked AND NOT NEW.revoked THEN
            NEW.released_at := now();
        END IF;
    END IF;
    SELECT epoch INTO STRICT NEW.epoch FROM installation;
    NEW.number := nextval('status_numbers');
    RETURN NEW;
END $$;

UPDATE certificates c SET released_at = a.at
FROM (
    SELECT DISTINCT ON (issuer_id, serial) issuer_id, serial, at FROM audit_log
    WHERE action = 'release' ORDER BY issuer_id, serial, id DESC
) AS a
WHERE a.issuer_id = c.issuer_id AND a.serial = c.serial AND NOT c.revoked;

CREATE TABLE imports (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    issuer_id text NOT NULL REFERENCES issuers ON DELETE CASCADE,
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    source text NOT NULL,
    source_sha256 bytea NOT NULL CHECK (octet_length(source_sha256) = 32),
    report jsonb NOT NULL,
    started_crls boolean NOT NULL,
    undone_at timestamptz
);
CREATE INDEX imports_by_issuer ON imports (issuer_id);

-- What an import changed: each row as it was before (null: it wasn't there) and the version that the import gave it.
CREATE TABLE import_changes (
    import_id bigint NOT NULL REFERENCES imports ON DELETE CASCADE,
    serial bytea NOT NULL,
    number bigint NOT NULL,
    before jsonb,
    PRIMARY KEY (import_id, serial)
);
