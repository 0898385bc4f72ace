-- The authority: issuers, statuses and their versions, what is still to be signed, what was done, and the CRLs.

-- One row: the epoch is raised when commits were lost (a restore, an asynchronous promotion), so that every version
-- given afterwards is higher than any given before.
CREATE TABLE installation (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch integer NOT NULL DEFAULT 1 CHECK (epoch > 0)
);
INSERT INTO installation DEFAULT VALUES;

CREATE TABLE issuers (
    id text PRIMARY KEY CHECK (id ~ '^[a-z0-9-]{1,64}$'),
    tag bytea NOT NULL UNIQUE CHECK (octet_length(tag) = 8),
    certificate bytea NOT NULL,
    nonce text NOT NULL DEFAULT 'optional' CHECK (nonce IN ('optional', 'ignore')),
    unknown_serial text NOT NULL DEFAULT 'unauthorized' CHECK (unknown_serial IN ('unauthorized', 'unknown')),
    responder_id_by_name boolean NOT NULL DEFAULT false,
    -- Counted inclusively, so 8 h and 7 d are reached one second earlier (BR-02, RP-03).
    validity_seconds integer NOT NULL DEFAULT 345600 CHECK (validity_seconds BETWEEN 28799 AND 604799),
    refresh_seconds integer NOT NULL DEFAULT 129600 CHECK (refresh_seconds BETWEEN 60 AND 345600),
    max_age_seconds integer NOT NULL DEFAULT 3600 CHECK (max_age_seconds BETWEEN 0 AND 86400),
    hash_algorithms text[] NOT NULL DEFAULT '{sha1,sha256}'
        CHECK (hash_algorithms <@ '{sha1,sha256,sha384,sha512}' AND cardinality(hash_algorithms) BETWEEN 1 AND 4),
    crl_validity_seconds integer NOT NULL DEFAULT 604800 CHECK (crl_validity_seconds BETWEEN 3600 AND 863999),
    crl_interval_seconds integer NOT NULL DEFAULT 86400 CHECK (crl_interval_seconds BETWEEN 60 AND 604800),
    crl_delay_seconds integer NOT NULL DEFAULT 60 CHECK (crl_delay_seconds BETWEEN 0 AND 86400),
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK (refresh_seconds <= validity_seconds / 2),
    CHECK (crl_interval_seconds < crl_validity_seconds)
);

-- Delegated signers, or the CA itself. Keys are files, found by their public half; nothing here names one.
CREATE TABLE responder_certificates (
    issuer_id text NOT NULL REFERENCES issuers ON DELETE CASCADE,
    certificate bytea NOT NULL,
    public_key bytea NOT NULL,
    not_before timestamptz NOT NULL,
    not_after timestamptz NOT NULL,
    retired_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (issuer_id, certificate)
);

CREATE TABLE signing_profiles (
    id bytea PRIMARY KEY CHECK (octet_length(id) = 16),
    issuer_id text NOT NULL REFERENCES issuers ON DELETE CASCADE,
    body bytea NOT NULL,
    retired_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE SEQUENCE status_numbers AS bigint;

CREATE TABLE certificates (
    issuer_id text NOT NULL REFERENCES issuers ON DELETE CASCADE,
    -- The content octets of the DER INTEGER: any length, any sign (5280-13).
    serial bytea NOT NULL CHECK (octet_length(serial) BETWEEN 1 AND 256),
    partition smallint NOT NULL
        GENERATED ALWAYS AS (((get_byte(sha256(serial), 0) << 8) + get_byte(sha256(serial), 1)) % 1024) STORED,
    revoked boolean NOT NULL DEFAULT false,
    revoked_at timestamptz,
    reason smallint CHECK (reason BETWEEN 0 AND 10 AND reason NOT IN (7, 8)),
    invalidity_date timestamptz,
    not_before timestamptz,
    not_after timestamptz,
    certificate_sha256 bytea CHECK (octet_length(certificate_sha256) = 32),
    -- Set by the trigger below, whoever writes.
    epoch integer NOT NULL,
    number bigint NOT NULL,
    PRIMARY KEY (issuer_id, serial),
    CHECK (revoked = (revoked_at IS NOT NULL)),
    CHECK (revoked OR (reason IS NULL AND invalidity_date IS NULL))
);
CREATE INDEX certificates_by_partition ON certificates (issuer_id, partition);
CREATE INDEX certificates_revoked ON certificates (issuer_id, serial) WHERE revoked;

-- Changes whose records aren't signed yet (closed_at is null), and those that floors are rebuilt from.
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
    issuer_id text NOT NULL,
    serial bytea NOT NULL,
    epoch integer NOT NULL,
    number bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('issued', 'changed', 'deleted')),
    created_at timestamptz NOT NULL DEFAULT now(),
    closed_at timestamptz
);
CREATE INDEX outbox_open ON outbox (id) WHERE closed_at IS NULL;
CREATE INDEX outbox_by_age ON outbox (created_at);

CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    action text NOT NULL,
    issuer_id text,
    serial bytea,
    detail jsonb NOT NULL DEFAULT '{}'
);

-- When each slice of an issuer's serials is signed again, and who is at it.
CREATE TABLE partitions (
    issuer_id text NOT NULL REFERENCES issuers ON DELETE CASCADE,
    partition smallint NOT NULL CHECK (partition BETWEEN 0 AND 1023),
    due_at timestamptz NOT NULL DEFAULT now(),
    leased_by text,
    leased_until timestamptz,
    PRIMARY KEY (issuer_id, partition)
);
CREATE INDEX partitions_due ON partitions (due_at);

CREATE TABLE crl_numbers (
    issuer_id text NOT NULL REFERENCES issuers ON DELETE CASCADE,
    scope text NOT NULL,
    last numeric(48) NOT NULL DEFAULT 0,
    PRIMARY KEY (issuer_id, scope)
);

CREATE TABLE crls (
    issuer_id text NOT NULL REFERENCES issuers ON DELETE CASCADE,
    scope text NOT NULL,
    crl_number numeric(48) NOT NULL CHECK (crl_number > 0),
    der bytea NOT NULL,
    this_update timestamptz NOT NULL,
    next_update timestamptz NOT NULL,
    -- What it was made from: changes commit out of the order of their numbers.
    snapshot pg_snapshot NOT NULL,
    published_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (issuer_id, scope, crl_number)
);

-- One builder at a time for each issuer and scope, across hosts.
CREATE TABLE crl_leases (
    issuer_id text NOT NULL REFERENCES issuers ON DELETE CASCADE,
    scope text NOT NULL,
    leased_by text NOT NULL,
    leased_until timestamptz NOT NULL,
    PRIMARY KEY (issuer_id, scope)
);

CREATE FUNCTION set_status_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.issuer_id, NEW.serial) IS DISTINCT FROM (OLD.issuer_id, OLD.serial) THEN
        RAISE EXCEPTION 'a certificate keeps its issuer and serial; delete the row and insert another';
    END IF;
    SELECT epoch INTO STRICT NEW.epoch FROM installation;
    NEW.number := nextval('status_numbers');
    RETURN NEW;
END $$;

CREATE TRIGGER status_version BEFORE INSERT OR UPDATE ON certificates
    FOR EACH ROW EXECUTE FUNCTION set_status_version();
ALTER TABLE certificates ENABLE ALWAYS TRIGGER status_version;

CREATE FUNCTION announce_issued() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outbox (issuer_id, serial, epoch, number, kind)
        SELECT issuer_id, serial, epoch, number, CASE WHEN revoked THEN 'changed' ELSE 'issued' END FROM new_rows;
    PERFORM pg_notify('certstatus_status', '');
    RETURN NULL;
END $$;

CREATE FUNCTION announce_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outbox (issuer_id, serial, epoch, number, kind)
        SELECT issuer_id, serial, epoch, number, 'changed' FROM new_rows;
    PERFORM pg_notify('certstatus_status', '');
    RETURN NULL;
END $$;

-- A deleted row is a change too: its records must go, and a row put back later must be newer.
CREATE FUNCTION announce_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outbox (issuer_id, serial, epoch, number, kind)
        SELECT issuer_id, serial, (SELECT epoch FROM installation), nextval('status_numbers'), 'deleted'
        FROM old_rows;
    PERFORM pg_notify('certstatus_status', '');
    RETURN NULL;
END $$;

CREATE FUNCTION refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'TRUNCATE certificates would lose statuses without announcing it; use DELETE';
END $$;

CREATE TRIGGER status_issued AFTER INSERT ON certificates
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION announce_issued();
CREATE TRIGGER status_changed AFTER UPDATE ON certificates
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION announce_changed();
CREATE TRIGGER status_deleted AFTER DELETE ON certificates
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION announce_deleted();
CREATE TRIGGER status_truncated BEFORE TRUNCATE ON certificates
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate();
ALTER TABLE certificates ENABLE ALWAYS TRIGGER status_issued;
ALTER TABLE certificates ENABLE ALWAYS TRIGGER status_changed;
ALTER TABLE certificates ENABLE ALWAYS TRIGGER status_deleted;
ALTER TABLE certificates ENABLE ALWAYS TRIGGER status_truncated;

-- Issuers, signers and CRLs are few: whoever keeps them in memory reads them again when told.
CREATE FUNCTION announce_configuration() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('certstatus_' || TG_ARGV[0], '');
    RETURN NULL;
END $$;
CREATE TRIGGER announce AFTER INSERT OR UPDATE OR DELETE ON issuers
    FOR EACH STATEMENT EXECUTE FUNCTION announce_configuration('issuers');
CREATE TRIGGER announce AFTER INSERT OR UPDATE OR DELETE ON responder_certificates
    FOR EACH STATEMENT EXECUTE FUNCTION announce_configuration('issuers');
CREATE TRIGGER announce AFTER INSERT OR UPDATE OR DELETE ON signing_profiles
    FOR EACH STATEMENT EXECUTE FUNCTION announce_configuration('issuers');
CREATE TRIGGER announce AFTER INSERT OR UPDATE OR DELETE ON crls
    FOR EACH STATEMENT EXECUTE FUNCTION announce_configuration('crls');
