"""What a cluster says of itself is understood, in each of the ways in which it says it."""

from sojourn.engines.redis.slots import Address, View, redirected, slot_of

ASKED = Address("asked", 7000)
INFO = b"cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_current_epoch:7\r\n"


def test_a_view_names_the_owner_of_each_bucket_and_the_copies() -> None:
    first = [0, 99, [b"10.0.0.1", 7001, b"id", {}], [b"10.0.0.3", 7003, b"id", {}]]
    second = [100, 199, [b"10.0.0.2", 7002, b"id"]]

    view = View.read(INFO, [second, first], [99, 100, 0, 199, 200], ASKED)

    one, two = Address("10.0.0.1", 7001), Address("10.0.0.2", 7002)
    assert view == View(
        is_well=True, epoch=7, owners=(one, two, one, two, None), replicas=frozenset({Address("10.0.0.3", 7003)})
    )


def test_a_server_that_names_no_host_is_where_it_was_asked() -> None:
    for host in (b"", None):
        assert View.read(INFO, [[0, 9, [host, 7001, b"id"]]], [5], ASKED).owners == (Address("asked", 7001),)


def test_a_server_without_the_name_it_should_have_holds_nothing_that_can_be_reached() -> None:
    view = View.read(INFO, [[0, 9, [b"?", 7001, b"id"], [b"?", 7002, b"id"]]], [5], ASKED)

    assert view.owners == (None,)
    assert view.replicas == frozenset()


def test_a_cluster_that_is_down_is_not_well() -> None:
    assert not View.read(INFO.replace(b"ok", b"fail"), [], [], ASKED).is_well


def test_a_redirection_names_a_host_of_any_kind_or_none() -> None:
    assert redirected("MOVED 3999 10.0.0.1:7001", ASKED) == Address("10.0.0.1", 7001)
    assert redirected("ASK 3999 node.example.com:7001", ASKED) == Address("node.example.com", 7001)
    assert redirected("MOVED 3999 2001:db8::1:7001", ASKED) == Address("2001:db8::1", 7001)
    assert redirected("MOVED 3999 :7001", ASKED) == Address("asked", 7001)
    assert redirected("MOVED 3999 ?:7001", ASKED) is None


def test_the_buckets_of_a_store_lie_in_slots_of_their_own() -> None:
    slots = {slot_of(b"store:records:{%d}" % bucket) for bucket in range(128)}

    assert len(slots) == 128
    assert {slot_of(b"store:meta:{%d}" % bucket) for bucket in range(128)} == slots
