-- Which run of the record store readers may trust. A store that was killed comes back with what its last snapshot held:
-- answers from before a revocation among them. One row; a run is a server process's time as a primary.

CREATE TABLE record_store (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    run text,
    complete boolean NOT NULL DEFAULT false,   -- every change of the longest validity has been put into this run
    replay_to bigint NOT NULL DEFAULT 0,       -- the highest change in the outbox when the run was first seen
    replayed bigint NOT NULL DEFAULT 0,        -- how many changes had to be put again
    since timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz,
    owner text,                                -- the process that saw it last
    seen_at timestamptz,
    -- A higher version that the store has seen, where there is one: commits were lost.
    ahead_epoch bigint,
    ahead_number numeric
);
INSERT INTO record_store DEFAULT VALUES;

CREATE TRIGGER announce AFTER UPDATE OF run, complete, ahead_epoch, ahead_number ON record_store
    FOR EACH STATEMENT EXECUTE FUNCTION announce_configuration('store');
