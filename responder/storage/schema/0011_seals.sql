-- What records are sealed with in the record store, so that nobody else's are believed: whoever may write there, and not read
-- here. With another key every record is a miss, and made again.

ALTER TABLE record_store ADD COLUMN seal_key bytea NOT NULL
    DEFAULT sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8'))
    CHECK (octet_length(seal_key) >= 32);
