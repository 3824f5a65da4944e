-- The reference: what a posting costs when the application is one function in the database.
--
-- Leaner than ours on purpose: 8-byte keys and amounts, no tenants, no metadata, no second time, no
-- events, no foreign keys. It gives the same guarantees where money could get lost: one transaction
-- and one commit a posting, rows locked in order of key, running balances and a gapless sequence in
-- each account, a floor, an idempotency key unique for ever.

CREATE SCHEMA reference;

CREATE TABLE reference.accounts (
    account_id int8 PRIMARY KEY,
    balance int8 NOT NULL DEFAULT 0,
    version int8 NOT NULL DEFAULT 0,
    floor int8
) WITH (fillfactor = 50);

CREATE TABLE reference.transactions (
    transaction_id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    idempotency_key text NOT NULL UNIQUE,
    description text,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE reference.entries (
    account_id int8 NOT NULL,
    sequence int8 NOT NULL,
    transaction_id int8 NOT NULL,
    line int2 NOT NULL,
    amount int8 NOT NULL,
    balance_after int8 NOT NULL,
    PRIMARY KEY (account_id, sequence)
);

CREATE INDEX entries_transaction ON reference.entries (transaction_id);

CREATE FUNCTION reference.post(
    key text, debited int8, credited int8, amount int8, description text,
    OUT transaction int8,
    OUT debited_version int8, OUT debited_balance int8,
    OUT credited_version int8, OUT credited_balance int8
) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO reference.transactions AS t (idempotency_key, description)
    VALUES (post.key, post.description)
    ON CONFLICT (idempotency_key) DO NOTHING
    RETURNING t.transaction_id INTO transaction;
    IF NOT FOUND THEN
        SELECT t.transaction_id INTO transaction
        FROM reference.transactions t WHERE t.idempotency_key = post.key;
        RETURN;
    END IF;
    IF debited < credited THEN
        UPDATE reference.accounts a SET balance = a.balance - amount, version = a.version + 1
        WHERE a.account_id = debited AND (a.floor IS NULL OR a.balance - amount >= a.floor)
        RETURNING a.version, a.balance INTO STRICT debited_version, debited_balance;
        UPDATE reference.accounts a SET balance = a.balance + amount, version = a.version + 1
        WHERE a.account_id = credited AND (a.floor IS NULL OR a.balance + amount >= a.floor)
        RETURNING a.version, a.balance INTO STRICT credited_version, credited_balance;
    ELSE
        UPDATE reference.accounts a SET balance = a.balance + amount, version = a.version + 1
        WHERE a.account_id = credited AND (a.floor IS NULL OR a.balance + amount >= a.floor)
        RETURNING a.version, a.balance INTO STRICT credited_version, credited_balance;
        UPDATE reference.accounts a SET balance = a.balance - amount, version = a.version + 1
        WHERE a.account_id = debited AND (a.floor IS NULL OR a.balance - amount >= a.floor)
        RETURNING a.version, a.balance INTO STRICT debited_version, debited_balance;
    END IF;
    INSERT INTO reference.entries
    VALUES (debited, debited_version, transaction, 1, -amount, debited_balance),
        (credited, credited_version, transaction, 2, amount, credited_balance);
END $$;
