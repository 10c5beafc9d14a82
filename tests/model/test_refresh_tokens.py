"""Random runs of one session in SQL, compared with a model of its rules.

The owner has several tabs with a copy of the tokens each, responses are lost, a thief copies
tokens, and time passes. The model says for each exchange and each use what the answer has to be.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Final

import jwt
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from finpay.errors import FinPayError
from finpay.identity.models import RefreshTokenReuse, Tokens
from tests.model import random_runs
from tests.sql.identity_fixtures import REFRESH_TTL_S, People, Person, fresh_origin

RUNS: Final = 50
DAY_S: Final = 86_400
# Both sides of each limit by 10 s; a run takes less than that, and the real clock goes on.
SHORT_PAUSES_S: Final = (1, 30, 50, 70)
LONG_PAUSES_S: Final = (REFRESH_TTL_S - 10, REFRESH_TTL_S + 10, 30 * DAY_S)

HOLDERS: Final = st.sampled_from(["tab", "other tab", "thief"])


@dataclass
class Model:
    """The rule: a chain of refresh tokens, each with the moments that decide about it."""

    now_s: float = 0
    active: bool = True
    tokens: list[str] = field(default_factory=list)
    expires_s: list[float] = field(default_factory=list)
    used_s: dict[int, float] = field(default_factory=dict)  # first use of a generation

    def add(self, token: str) -> None:
        self.tokens.append(token)
        self.expires_s.append(min(self.now_s + REFRESH_TTL_S, 90 * DAY_S))

    def use(self, generation: int) -> bool:
        """Of an access token: whether it is accepted."""
        if not self.active or self.now_s >= 90 * DAY_S:
            return False
        self.used_s.setdefault(generation, self.now_s)
        return True

    def exchange(self, generation: int) -> str:
        if self.now_s >= self.expires_s[generation]:
            return "invalid"
        if generation + 1 in self.used_s and self.now_s >= self.used_s[generation + 1] + 60:
            self.active = False
            return "reused"
        if not self.active:
            return "invalid"
        self.used_s.setdefault(generation, self.now_s)
        return "exchanged"


class Life(RuleBasedStateMachine):
    """One session, and the clients that have a copy of its tokens."""

    people: ClassVar[People]
    runner: ClassVar[asyncio.Runner]
    seen: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.held: dict[str, tuple[int, Tokens]] = {}

    @initialize()
    def log_in(self) -> None:
        self.person: Person = self.runner.run(self.people.login(self.owner))
        tokens = self.person.logged_in.tokens
        self.model.add(tokens.refresh_token)
        self.held = dict.fromkeys(["tab", "other tab", "thief"], (0, tokens))

    owner: ClassVar[Person]

    @rule(who=HOLDERS, lost=st.booleans())
    def refresh(self, who: str, *, lost: bool) -> None:
        """`lost`: the response does not arrive, so the old tokens are kept."""
        generation, tokens = self.held[who]
        expected = self.model.exchange(generation)
        answer = self.runner.run(self._exchange(tokens.refresh_token))
        self.seen[expected] += 1
        if not isinstance(answer, Tokens):
            assert answer == expected
            return
        assert expected == "exchanged"
        if generation + 1 == len(self.model.tokens):
            self.model.add(answer.refresh_token)
        assert answer.refresh_token == self.model.tokens[generation + 1], "there is one successor"
        if not lost:
            self.held[who] = (generation + 1, answer)

    @rule(who=HOLDERS)
    def call(self, who: str) -> None:
        """With the access token, at a gate that has no marker of its generation."""
        generation, tokens = self.held[who]
        accepted = self.model.use(generation)
        self.seen[f"accepted {accepted}"] += 1
        assert self.runner.run(self._use(tokens, generation)) is accepted

    @rule(who=HOLDERS, whose=HOLDERS)
    def copy(self, who: str, whose: str) -> None:
        """Tabs share a store, and a thief reads it."""
        self.held[who] = self.held[whose]

    @rule(who=HOLDERS)
    def refresh_and_call(self, who: str) -> None:
        """And time passes, so that who has an older token is late."""
        self.refresh(who, lost=False)
        self.call(who)
        self.wait(70)

    @rule(pause_s=st.sampled_from(SHORT_PAUSES_S * 4 + LONG_PAUSES_S))
    def wait(self, pause_s: float) -> None:
        self.model.now_s += pause_s
        self.runner.run(self.people.age(self.person, pause_s))

    async def _exchange(self, token: str) -> Tokens | str:
        try:
            answer = await self.people.identity.sessions.refresh(token, fresh_origin())
        except FinPayError as error:
            return error.code.removeprefix("refresh_token_")
        return "reused" if isinstance(answer, RefreshTokenReuse) else answer

    async def _use(self, tokens: Tokens, generation: int) -> bool:
        claims = jwt.decode(tokens.access_token, options={"verify_signature": False})
        assert claims["gen"] == generation
        principal = self.person.principal
        return await self.people.identity.sessions.confirm(
            principal.session_id, principal.user_id, generation
        )


@pytest.mark.contract("1.6.2")
@pytest.mark.fault("I1")
def test_every_exchange_and_use_is_as_the_rule_says(fresh_database: Callable[[], str]) -> None:
    with asyncio.Runner() as runner:
        Life.runner, Life.people = runner, runner.run(_people(fresh_database()))
        Life.owner = runner.run(Life.people.register())
        Life.seen.clear()
        random_runs.run(Life, RUNS)
        runner.run(Life.people.close())
    assert {"exchanged", "reused", "invalid", "accepted True", "accepted False"} <= set(Life.seen)


@pytest.mark.contract("1.6.2")
async def test_owner_whose_responses_are_lost_stays_logged_in(database_url: str) -> None:
    """Every other one, each time for a third of the lifetime of a refresh token."""
    people = People(database_url)
    owner = await people.register()
    token = owner.refresh_token
    for _ in range(20):
        await people.refresh(token)
        await people.age(owner, REFRESH_TTL_S / 3)
        tokens = await people.refresh(token)
        assert await people.use(tokens)
        token = tokens.refresh_token
    await people.close()


async def _people(url: str) -> People:
    return People(url)
