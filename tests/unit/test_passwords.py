"""Hashing is bounded, off the event loop and constant in time; weak new passwords are refused."""

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import InvalidHashError

from finpay.errors import Code, FinPayError
from finpay.identity import passwords
from finpay.identity.passwords import MAX_LENGTH, MAX_QUEUED, Hasher, Verified, is_common, weakness

PASSWORD = "correct horse battery"


FAST_KIB = 256  # for tests of what is verified, not of how slowly


@pytest.fixture
async def hasher() -> AsyncIterator[Hasher]:
    hasher = Hasher(memory_kib=FAST_KIB)
    yield hasher
    hasher.close()


@pytest.fixture
async def production_hasher() -> AsyncIterator[Hasher]:
    hasher = Hasher()
    yield hasher
    hasher.close()


async def test_hashes_are_argon2id_with_owasp_parameters(production_hasher: Hasher) -> None:
    first, second = [await production_hasher.hash(PASSWORD) for _ in range(2)]
    used = extract_parameters(first)
    assert (used.type, used.memory_cost, used.time_cost, used.parallelism) == (Type.ID, 19456, 2, 1)
    assert first != second, "each has its own salt"


async def test_wrong_passwords_are_not_verified(hasher: Hasher) -> None:
    password_hash = await hasher.hash(PASSWORD)
    assert await hasher.verify(password_hash, PASSWORD) == Verified(ok=True, needs_rehash=False)
    for wrong in ("", PASSWORD + " ", PASSWORD.upper(), PASSWORD[:-1], "\ud800", PASSWORD * 9):
        assert not (await hasher.verify(password_hash, wrong)).ok


@pytest.mark.parametrize(
    "password", ["pässwörter-ünd-mehr", "密码密码密码密码", "x" * MAX_LENGTH, "\x00" * 8]
)
async def test_any_text_can_be_a_password(hasher: Hasher, password: str) -> None:
    assert (await hasher.verify(await hasher.hash(password), password)).ok


async def test_composed_and_decomposed_accents_are_the_same_password(hasher: Hasher) -> None:
    assert (await hasher.verify(await hasher.hash("caf\u00e9-au-lait"), "cafe\u0301-au-lait")).ok


async def test_too_long_password_with_the_right_beginning_is_wrong(hasher: Hasher) -> None:
    longest = "y" * MAX_LENGTH
    assert not (await hasher.verify(await hasher.hash(longest), longest + "y")).ok


async def test_long_run_of_accents_is_verified_in_linear_time(hasher: Hasher) -> None:
    """Normalising takes quadratic time: the whole text would take seconds."""
    password_hash = await hasher.hash(PASSWORD)
    begun = time.perf_counter()
    assert not (await hasher.verify(password_hash, "a" + "\u0315\u0300" * 30_000)).ok
    assert time.perf_counter() - begun < 1


async def test_hash_with_old_parameters_needs_a_rehash(hasher: Hasher) -> None:
    old = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    assert await hasher.verify(old, PASSWORD) == Verified(ok=True, needs_rehash=True)
    assert await hasher.verify(old, "wrong") == Verified(ok=False)


async def test_malformed_hash_raises_instead_of_refusing_the_password(hasher: Hasher) -> None:
    with pytest.raises(InvalidHashError):
        await hasher.verify("no hash", PASSWORD)


async def test_unknown_user_takes_as_long_as_a_wrong_password(production_hasher: Hasher) -> None:
    """The dummy hash is well-formed and has today's parameters."""
    hasher = production_hasher
    assert await hasher.verify(None, "") == Verified(ok=False)
    real = await hasher.hash(PASSWORD)
    assert extract_parameters(hasher._dummy_hash) == extract_parameters(real)
    times: dict[str | None, list[float]] = {None: [], real: []}
    for _ in range(9):
        for password_hash, spent in times.items():
            begun = time.thread_time()  # of this thread alone, however busy the machine is
            hasher._verify(password_hash, "a wrong guess")
            spent.append(time.thread_time() - begun)
    unknown, outcome_known = (statistics.median(spent) for spent in times.values())
    assert unknown == pytest.approx(outcome_known, rel=0.25)


async def test_event_loop_runs_while_hashes_are_computed(production_hasher: Hasher) -> None:
    hashes = [asyncio.create_task(production_hasher.hash(PASSWORD)) for _ in range(8)]
    ticks = 0
    while not all(done.done() for done in hashes):
        await asyncio.sleep(0.001)
        ticks += 1
    assert ticks >= 20


async def test_full_queue_refuses_at_once_and_recovers() -> None:
    hasher = Hasher(cores=1)
    accepted = [asyncio.create_task(hasher.verify(None, "x")) for _ in range(1 + MAX_QUEUED)]
    await asyncio.sleep(0)
    begun = time.perf_counter()
    with pytest.raises(FinPayError) as refusal:
        await hasher.verify(None, "x")
    assert time.perf_counter() - begun < 0.02
    assert refusal.value.code is Code.OVERLOADED
    assert "Retry-After" in refusal.value.headers
    assert await asyncio.gather(*accepted) == [Verified(ok=False)] * (1 + MAX_QUEUED)
    assert not (await hasher.verify(None, "x")).ok
    hasher.close()


async def test_cancelled_callers_free_their_slots() -> None:
    hasher = Hasher(cores=1, memory_kib=FAST_KIB)
    for _ in range(3):
        left = [asyncio.create_task(hasher.verify(None, "x")) for _ in range(1 + MAX_QUEUED)]
        await asyncio.sleep(0)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.sleep(0.2)  # a hash that was started is computed to the end
    assert not (await hasher.verify(None, "x")).ok
    hasher.close()


async def test_threads_are_at_most_the_cores() -> None:
    hasher = Hasher(cores=2, memory_kib=FAST_KIB)
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


ALICE = {"email": "alice.smith@mail.example", "name": "Alice Smith"}
WEAK = [
    # password                    a word of the reason, None: accepted
    ("password123",               "common"),
    ("PassWord123",               "common"),
    ("alice.smith@mail.example",  "e-mail"),
    ("ALICE.SMITH@MAIL.EXAMPLE",  "e-mail"),
    ("alicesmith",                "e-mail"),
    ("Alice.Smith",               "e-mail"),
    ("Alice Smith!!",             "e-mail"),
    ("ａｌｉｃｅsmith",                "e-mail"),      # full-width
    ("alice.smith.2",             None),
    ("mail.example",              None),
    ("finpay123",                 "name of this service"),
    ("FinPay2026",                "name of this service"),
    ("20261129finpay",            "name of this service"),
    ("fin-pay-2026!",             "name of this service"),
    ("finpay-harvest",            None),
    ("aaaaaaaa",                  "repeated"),
    ("aaaaaaaa1",                 "repeated"),
    ("7aaaaaaA",                  "repeated"),
    ("!aaaaaaaaaaaaaaa?",         "repeated"),
    ("密密密密密密密密",                 "repeated"),
    ("........",                  "repeated"),
    ("aaaaaaxyz",                 None),
    ("\U0001f600" * 8,            "repeated"),
    (PASSWORD,                    None),
    ("zq9-vrokk-1",               None),
]  # fmt: skip


@pytest.mark.fault("I4")
@pytest.mark.contract("1.1.5")
@pytest.mark.parametrize(("password", "reason"), WEAK)
def test_weak_password_is_refused_with_a_reason(password: str, reason: str | None) -> None:
    sentence = weakness(password, **ALICE)
    if reason is None:
        assert sentence is None
    else:
        assert sentence is not None
        assert reason in sentence


@pytest.mark.fault("I4")
@pytest.mark.parametrize(
    ("old", "new"), [(PASSWORD, PASSWORD), ("caf\u00e9-au-1", "cafe\u0301-au-1")]
)
def test_new_password_equal_to_the_old_one_is_refused(old: str, new: str) -> None:
    assert "same as the old one" in str(weakness(new, old=old))
    assert weakness(new, old=old.upper()) is None


@pytest.mark.parametrize("name", [None, "", "!!!", "\u3000"])
def test_password_of_signs_is_not_compared_with_an_empty_name(name: str | None) -> None:
    assert weakness("!?!?-+-+", email="a@b.example", name=name) is None


@pytest.mark.parametrize("password", ["", "\ud800" * 8, "\x00" * 8, "x" * 128, "é\u0301" * 64])
def test_any_text_can_be_checked(password: str) -> None:
    weakness(password, email="a@b.example", name=password, old="")


def test_common_passwords_are_read_once_within_10_ms() -> None:
    passwords._common_passwords.cache_clear()
    begun = time.process_time()
    listed = passwords._common_passwords()
    assert time.process_time() - begun < 0.01
    assert listed is passwords._common_passwords()
    assert 5_000 < len(listed) < 30_000
    assert min(map(len, listed)) == passwords.MIN_LENGTH
    assert all(word == word.lower() for word in listed)
    assert not any(word.startswith("# ") for word in listed), "the header is no part of the list"


def test_common_passwords_are_what_the_generator_writes() -> None:
    script = Path(__file__).parents[2] / "tools/generate_common_passwords.py"
    subprocess.run([sys.executable, script, "--check"], check=True)
