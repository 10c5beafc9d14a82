"""A transfer, its replay and its reads, over real HTTP."""

from tests.api_process import Api


def test_a_transfer_moves_money_and_its_retry_is_replayed(api: Api) -> None:
    alice, bob = api.user(10_000), api.user()
    first = alice.send(bob, 2_500, "walk-1", description="100 % of it", metadata={"a": "b%s"})
    assert first.status == 201, first.body
    retry = alice.send(bob, 2_500, "walk-1", description="100 % of it", metadata={"a": "b%s"})
    assert (retry.status, retry.body) == (201, first.body)
    assert retry.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert alice.balance == 7_500
    assert bob.balance == 2_500
    one = alice.get(f"/transactions/{first.json()['id']}")
    assert one.body == first.body
    assert alice.get("/transactions").json()["data"][0] == first.json()
    assert alice.get("/accounts/entries").json()["data"][0]["amount"] == -2_500
    api.verify()
