"""One round of the failover drill: nothing acknowledged is lost, and service is back in time."""

from tests.drills.cluster import installed, stage
from tests.drills.failover import BACK_LIMIT_S, drill


def test_a_synchronous_standby_takes_over_without_a_loss() -> None:
    with stage(installed()) as made:
        (done,) = drill(made, "synchronous", 1)
    assert done.acknowledged >= 100
    assert done.lost == 0
    assert done.back_s < BACK_LIMIT_S
