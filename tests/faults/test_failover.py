"""One round of the failover drill: no acknowledged transfer is lost, and recovery is in time."""

from tests.drills.cluster import drill_cluster, installed_postgres
from tests.drills.failover import BACK_LIMIT_S, drill


def test_synchronous_standby_takes_over_without_a_lost_transfer() -> None:
    with drill_cluster(installed_postgres()) as cluster:
        (done,) = drill(cluster, "synchronous", 1)
    assert done.acknowledged >= 100
    assert done.lost == 0
    assert done.back_s < BACK_LIMIT_S
