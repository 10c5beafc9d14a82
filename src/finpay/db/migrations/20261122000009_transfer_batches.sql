-- migrate:up
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';

-- A key under which many transfers were sent, and where in the sender's history they stand. The
-- items of a bulk are done under one lock of the sender, none of whose other steps comes between
-- them, so two half-open ranges tell which they are, however many: its entries have the versions
-- [version_from, version_to), its steps the sequences [sequence_from, sequence_to). What was
-- refused without a record has an audit row alone. Written by ledger.post_transfers with the key.
CREATE TABLE ledger.bulks (
    principal_id  uuid        NOT NULL,
    created_at    timestamptz NOT NULL,
    version_from  bigint      NOT NULL,
    version_to    bigint      NOT NULL,
    sequence_from bigint      NOT NULL,
    sequence_to   bigint      NOT NULL,
    items         integer     NOT NULL,
    refused       integer     NOT NULL,
    mode          text        NOT NULL,
    key           text        NOT NULL,
    CONSTRAINT bulks_pkey PRIMARY KEY (principal_id, key),
    CONSTRAINT bulks_mode CHECK (mode IN ('independent', 'atomic')),
    CONSTRAINT bulks_entries
        CHECK (version_to - version_from BETWEEN 0 AND sequence_to - sequence_from),
    -- An atomic one is refused for its first bad item, and then nothing is recorded.
    CONSTRAINT bulks_items CHECK (
        refused >= 0 AND CASE WHEN mode = 'atomic' AND refused > 0
            THEN refused = 1 AND sequence_to = sequence_from
            ELSE sequence_to - sequence_from + refused = items END)
);

GRANT SELECT ON ledger.bulks TO finpay_app;

-- migrate:down
-- Only forward: a mistake is put right by another migration.
