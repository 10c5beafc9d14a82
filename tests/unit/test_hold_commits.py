"""Which rows of holds expire in one commit."""

from uuid import UUID

from finpay.ledger.holds import OF_ONE, TOGETHER, Key, commits_of

BUSY = UUID(int=1)


def _keys(account: UUID, number: int) -> list[Key]:
    return [(account, UUID(int=n)) for n in range(number)]


def _others(number: int) -> list[Key]:
    return [(UUID(int=10 + n), UUID(int=n)) for n in range(number)]


def test_each_row_is_in_one_commit() -> None:
    due = [*_keys(BUSY, 1_000), *_others(700)]
    assert sorted(key for keys in commits_of(due) for key in keys) == sorted(due)
    assert commits_of([]) == []


def test_an_account_with_many_rows_has_commits_of_its_own() -> None:
    commits = commits_of([*_others(60), *_keys(BUSY, TOGETHER + 1), *_others(40)])
    own = [keys for keys in commits if keys[0][0] == BUSY]
    assert {account for keys in own for account, _ in keys} == {BUSY}
    assert max(map(len, own)) == OF_ONE
    assert [key for keys in own for key in keys] == _keys(BUSY, TOGETHER + 1), "in their order"
    assert [len(keys) for keys in commits if keys not in own] == [100]


def test_accounts_with_few_rows_share_commits() -> None:
    assert [len(keys) for keys in commits_of(_keys(BUSY, TOGETHER))] == [TOGETHER]
    assert [len(keys) for keys in commits_of(_others(TOGETHER + 1))] == [TOGETHER, 1]


def test_commits_of_an_account_with_many_rows_are_spread() -> None:
    """So that its lock is free while the rows of others expire."""
    commits = commits_of([*_keys(BUSY, 20 * OF_ONE), *_others(5 * TOGETHER)])
    shared = [position for position, keys in enumerate(commits) if keys[0][0] != BUSY]
    assert len(shared) == 5
    for number, position in enumerate(shared):  # each is among the fifth of all that is its own
        assert 4 * number + number <= position <= 4 * (number + 1) + number
