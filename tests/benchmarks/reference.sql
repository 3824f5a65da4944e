-- The reference: what a posting costs when the application is one function in the database.
--
-- `reference.post` does our job: any number of entries, a ledger, an idempotency key unique in it for
-- ever, accounts of that ledger only, balanced amounts, floors, rows locked in order of key, running
-- balances, and a gapless sequence in each account; one call is one transaction is one commit. It is
-- written the way that was measured as the fastest: a loop of simple statements, each planned once.
-- Leaner than ours on purpose: 8-byte keys and amounts, no tenants, no metadata, no second time, no
-- events, no holds, no foreign keys.
--
-- `reference.post_pair` is the least that can be said to post: two entries, one ledger, no look at the
-- accounts but where it changes them. It is measured beside, and no bar was set against it.

CREATE SCHEMA reference;

CREATE TABLE reference.accounts (
    account_id int8 PRIMARY KEY,
    ledger_id int8 NOT NULL DEFAULT 1,
    balance int8 NOT NULL DEFAULT 0,
    version int8 NOT NULL DEFAULT 0,
    floor int8
) WITH (fillfactor = 50);

CREATE TABLE reference.transactions (
    transaction_id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ledger_id int8 NOT NULL,
    idempotency_key text NOT NULL,
    description text,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (ledger_id, idempotency_key)
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

-- Amounts are signed: debits below zero, credits above. A key that was used answers with what it
-- made; whatever must not be raises an exception.
CREATE FUNCTION reference.post(
    ledger int8, key text, description text, accounts int8[], amounts int8[],
    OUT transaction int8
) LANGUAGE plpgsql AS $$
DECLARE
    to_lock int8[];
    account int8;
    home int8;
    total int8 := 0;
    new_version int8;
    new_balance int8;
BEGIN
    FOR line IN 1 .. cardinality(accounts) LOOP
        total := total + amounts[line];
    END LOOP;
    IF total <> 0 THEN
        RAISE EXCEPTION 'debits and credits differ by %', total;
    END IF;
    IF cardinality(accounts) = 2 AND accounts[1] < accounts[2] THEN
        to_lock := accounts;
    ELSIF cardinality(accounts) = 2 THEN
        to_lock := ARRAY[accounts[2], accounts[1]];
    ELSE
        to_lock := ARRAY(SELECT DISTINCT unnest(accounts) ORDER BY 1);
    END IF;
    FOREACH account IN ARRAY to_lock LOOP
        SELECT a.ledger_id INTO home FROM reference.accounts a
        WHERE a.account_id = account FOR NO KEY UPDATE;
        IF home IS DISTINCT FROM ledger THEN
            RAISE EXCEPTION 'ledger % has no account %', ledger, account;
        END IF;
    END LOOP;
    INSERT INTO reference.transactions AS t (ledger_id, idempotency_key, description)
    VALUES (ledger, post.key, post.description)
    ON CONFLICT (ledger_id, idempotency_key) DO NOTHING
    RETURNING t.transaction_id INTO transaction;
    IF transaction IS NULL THEN
        SELECT t.transaction_id INTO transaction FROM reference.transactions t
        WHERE t.ledger_id = ledger AND t.idempotency_key = post.key;
        RETURN;
    END IF;
    FOR line IN 1 .. cardinality(accounts) LOOP
        UPDATE reference.accounts a
        SET balance = a.balance + amounts[line], version = a.version + 1
        WHERE a.account_id = accounts[line]
            AND (a.floor IS NULL OR amounts[line] > 0 OR a.balance + amounts[line] >= a.floor)
        RETURNING a.version, a.balance INTO new_version, new_balance;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'account % would fall below its floor', accounts[line];
        END IF;
        INSERT INTO reference.entries
        VALUES (accounts[line], new_version, transaction, line, amounts[line], new_balance);
    END LOOP;
END $$;

CREATE FUNCTION reference.post_pair(
    key text, debited int8, credited int8, amount int8, description text,
    OUT transaction int8
) LANGUAGE plpgsql AS $$
DECLARE
    debited_version int8;
    debited_balance int8;
    credited_version int8;
    credited_balance int8;
BEGIN
    INSERT INTO reference.transactions AS t (ledger_id, idempotency_key, description)
    VALUES (1, post_pair.key, post_pair.description)
    ON CONFLICT (ledger_id, idempotency_key) DO NOTHING
    RETURNING t.transaction_id INTO transaction;
    IF transaction IS NULL THEN
        SELECT t.transaction_id INTO transaction FROM reference.transactions t
        WHERE t.ledger_id = 1 AND t.idempotency_key = post_pair.key;
        RETURN;
    END IF;
    IF debited < credited THEN
        UPDATE reference.accounts a SET balance = a.balance - amount, version = a.version + 1
        WHERE a.account_id = debited AND (a.floor IS NULL OR a.balance - amount >= a.floor)
        RETURNING a.version, a.balance INTO STRICT debited_version, debited_balance;
        UPDATE reference.accounts a SET balance = a.balance + amount, version = a.version + 1
        WHERE a.account_id = credited
        RETURNING a.version, a.balance INTO STRICT credited_version, credited_balance;
    ELSE
        UPDATE reference.accounts a SET balance = a.balance + amount, version = a.version + 1
        WHERE a.account_id = credited
        RETURNING a.version, a.balance INTO STRICT credited_version, credited_balance;
        UPDATE reference.accounts a SET balance = a.balance - amount, version = a.version + 1
        WHERE a.account_id = debited AND (a.floor IS NULL OR a.balance - amount >= a.floor)
        RETURNING a.version, a.balance INTO STRICT debited_version, debited_balance;
    END IF;
    INSERT INTO reference.entries
    VALUES (debited, debited_version, transaction, 1, -amount, debited_balance),
        (credited, credited_version, transaction, 2, amount, credited_balance);
END $$;
