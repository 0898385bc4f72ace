-- What processes keep in memory is read again by what has changed, not as a whole: a transaction id tells a row that a
-- reader's last snapshot hasn't seen, whatever order transactions commit in.

CREATE FUNCTION set_changed_by() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changed_by := pg_current_xact_id();
    RETURN NEW;
END $$;

ALTER TABLE issuers ADD COLUMN changed_by xid8 NOT NULL DEFAULT pg_current_xact_id();
ALTER TABLE responder_certificates ADD COLUMN changed_by xid8 NOT NULL DEFAULT pg_current_xact_id();
ALTER TABLE signing_profiles ADD COLUMN changed_by xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE TRIGGER changed BEFORE INSERT OR UPDATE ON issuers FOR EACH ROW EXECUTE FUNCTION set_changed_by();
CREATE TRIGGER changed BEFORE INSERT OR UPDATE ON responder_certificates
    FOR EACH ROW EXECUTE FUNCTION set_changed_by();
CREATE TRIGGER changed BEFORE INSERT OR UPDATE ON signing_profiles FOR EACH ROW EXECUTE FUNCTION set_changed_by();
ALTER TABLE issuers ENABLE ALWAYS TRIGGER changed;
ALTER TABLE responder_certificates ENABLE ALWAYS TRIGGER changed;
ALTER TABLE signing_profiles ENABLE ALWAYS TRIGGER changed;
CREATE INDEX issuers_by_change ON issuers (changed_by);
CREATE INDEX responder_certificates_by_change ON responder_certificates (changed_by);
CREATE INDEX signing_profiles_by_change ON signing_profiles (changed_by);

-- A profile that is there already is no change: nobody needs to read anything again.
DROP TRIGGER announce ON signing_profiles;
CREATE TRIGGER announce AFTER INSERT OR UPDATE OR DELETE ON signing_profiles
    FOR EACH ROW EXECUTE FUNCTION announce_configuration('issuers');

-- A policy that changes what answers say makes them due; those that are there already stay valid until then.
CREATE FUNCTION answers_are_due() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE partitions SET due_at = now(), leased_by = NULL, leased_until = NULL WHERE issuer_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER answers_due AFTER UPDATE ON issuers FOR EACH ROW WHEN (
    (OLD.responder_id_by_name, OLD.rsa_pss, OLD.archive, OLD.archive_retention_seconds, OLD.cert_hash, OLD.crl_url,
        OLD.validity_seconds, OLD.hash_algorithms, OLD.unknown_serial = 'revoked')
    IS DISTINCT FROM
    (NEW.responder_id_by_name, NEW.rsa_pss, NEW.archive, NEW.archive_retention_seconds, NEW.cert_hash, NEW.crl_url,
        NEW.validity_seconds, NEW.hash_algorithms, NEW.unknown_serial = 'revoked')
) EXECUTE FUNCTION answers_are_due();
ALTER TABLE issuers ENABLE ALWAYS TRIGGER answers_due;

ALTER TABLE issuers
    ADD COLUMN delegate_lifetime_seconds integer NOT NULL DEFAULT 2592000
        CHECK (delegate_lifetime_seconds BETWEEN 86400 AND 315360000),
    ADD COLUMN delegate_renewal_seconds integer CHECK (delegate_renewal_seconds BETWEEN 3600 AND 315360000),
    ADD CONSTRAINT delegates_are_renewed_within_their_life CHECK (
        coalesce(delegate_renewal_seconds, least(validity_seconds + 172800, delegate_lifetime_seconds - 1))
        < delegate_lifetime_seconds
    );

-- A key that another was made to follow isn't certified again.
ALTER TABLE responder_certificates ADD COLUMN is_followed boolean NOT NULL DEFAULT false;
