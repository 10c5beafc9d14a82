"""Hashing is slow on purpose, bounded, off the event loop, and tells nothing by its time."""

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator

import pytest
from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import InvalidHashError

from finpay.errors import Code, FinPayError
from finpay.identity import passwords
from finpay.identity.passwords import MAX_LENGTH, MAX_WAITING, Hasher, Verified, is_common

PASSWORD = "correct horse battery"


@pytest.fixture
async def hasher() -> AsyncIterator[Hasher]:
    hasher = Hasher()
    yield hasher
    hasher.close()


async def test_hashes_are_argon2id_with_owasp_parameters(hasher: Hasher) -> None:
    first, second = await hasher.hash(PASSWORD), await hasher.hash(PASSWORD)
    told = extract_parameters(first)
    assert (told.type, told.memory_cost, told.time_cost, told.parallelism) == (Type.ID, 19456, 2, 1)
    assert first != second, "each has a salt of its own"


async def test_only_the_right_password_is_right(hasher: Hasher) -> None:
    password_hash = await hasher.hash(PASSWORD)
    assert await hasher.verify(password_hash, PASSWORD) == Verified(ok=True, needs_rehash=False)
    for wrong in ("", PASSWORD + " ", PASSWORD.upper(), PASSWORD[:-1], "\ud800", PASSWORD * 9):
        assert not (await hasher.verify(password_hash, wrong)).ok


@pytest.mark.parametrize(
    "password", ["pässwörter-ünd-mehr", "密码密码密码密码", "x" * MAX_LENGTH, "\x00" * 8]
)
async def test_any_text_can_be_a_password(hasher: Hasher, password: str) -> None:
    assert (await hasher.verify(await hasher.hash(password), password)).ok


async def test_an_accent_is_the_same_however_a_keyboard_sends_it(hasher: Hasher) -> None:
    assert (await hasher.verify(await hasher.hash("caf\u00e9-au-lait"), "cafe\u0301-au-lait")).ok


async def test_a_password_longer_than_any_is_wrong_even_if_it_begins_right(
    hasher: Hasher,
) -> None:
    longest = "y" * MAX_LENGTH
    assert not (await hasher.verify(await hasher.hash(longest), longest + "y")).ok


async def test_a_flood_of_accents_costs_no_more_than_a_password(hasher: Hasher) -> None:
    """Normalising takes quadratic time: these would need seconds."""
    password_hash = await hasher.hash(PASSWORD)
    begun = time.perf_counter()
    assert not (await hasher.verify(password_hash, "a" + "\u0315\u0300" * 30_000)).ok
    assert time.perf_counter() - begun < 1


async def test_old_parameters_ask_for_a_new_hash_once_the_password_is_right(
    hasher: Hasher,
) -> None:
    old = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    assert await hasher.verify(old, PASSWORD) == Verified(ok=True, needs_rehash=True)
    assert await hasher.verify(old, "wrong") == Verified(ok=False)


async def test_a_broken_hash_is_a_fault_of_ours_not_a_wrong_password(hasher: Hasher) -> None:
    with pytest.raises(InvalidHashError):
        await hasher.verify("no hash", PASSWORD)


async def test_nobody_has_the_hash_of_nobody(hasher: Hasher) -> None:
    """The stand-in is well-formed, has today's parameters, and takes as long as a real one."""
    assert await hasher.verify(None, "") == Verified(ok=False)
    told, real = extract_parameters(passwords._NOBODY), await hasher.hash(PASSWORD)
    assert told == extract_parameters(real)
    times: dict[str | None, list[float]] = {None: [], real: []}
    for _ in range(9):
        for password_hash, spent in times.items():
            begun = time.thread_time()  # of this thread alone, however busy the machine is
            hasher._verify(password_hash, "a wrong guess")
            spent.append(time.thread_time() - begun)
    unknown, outcome_known = (statistics.median(spent) for spent in times.values())
    assert unknown == pytest.approx(outcome_known, rel=0.25)


async def test_the_event_loop_runs_on_while_hashes_are_computed(hasher: Hasher) -> None:
    hashes = [asyncio.create_task(hasher.hash(PASSWORD)) for _ in range(8)]
    turns = 0
    while not all(done.done() for done in hashes):
        await asyncio.sleep(0.001)
        turns += 1
    assert turns >= 20


async def test_beyond_its_queue_it_refuses_at_once_and_recovers() -> None:
    hasher = Hasher(cores=1)
    accepted = [asyncio.create_task(hasher.verify(None, "x")) for _ in range(1 + MAX_WAITING)]
    await asyncio.sleep(0)
    begun = time.perf_counter()
    with pytest.raises(FinPayError) as refusal:
        await hasher.verify(None, "x")
    assert time.perf_counter() - begun < 0.02
    assert refusal.value.code is Code.OVERLOADED
    assert "Retry-After" in refusal.value.headers
    assert await asyncio.gather(*accepted) == [Verified(ok=False)] * (1 + MAX_WAITING)
    assert not (await hasher.verify(None, "x")).ok
    hasher.close()


async def test_callers_who_leave_give_their_places_back() -> None:
    hasher = Hasher(cores=1)
    for _ in range(3):
        left = [asyncio.create_task(hasher.verify(None, "x")) for _ in range(1 + MAX_WAITING)]
        await asyncio.sleep(0)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.sleep(0.2)  # the one that was being computed is computed to its end
    assert not (await hasher.verify(None, "x")).ok
    hasher.close()


async def test_no_more_threads_than_cores() -> None:
    hasher = Hasher(cores=2)
    await asyncio.gather(*(hasher.verify(None, "x") for _ in range(10)))
    assert len(hasher._threads._threads) == 2
    hasher.close()


@pytest.mark.parametrize(
    "password", ["password123", "PassWord123", "12345678", "qwertyuiop", "TRUSTNO1"]
)
def test_common_passwords_are_known_in_any_case(password: str) -> None:
    assert is_common(password)


@pytest.mark.parametrize("password", [PASSWORD, "zq9-vrokk-1", "", "\ud800" * 8])
def test_other_passwords_are_not_common(password: str) -> None:
    assert not is_common(password)


def test_the_list_is_read_once_and_small() -> None:
    listed = passwords._common_passwords()
    assert listed is passwords._common_passwords()
    assert 5_000 < len(listed) < 30_000
    assert min(map(len, listed)) == passwords.MIN_LENGTH
    assert all(word == word.lower() for word in listed)
    assert "zxcvbn.matching" not in sys.modules, "its rankings would take 16 MB"
