"""redis-py's own options on two nodes: databases."""

import redis
from conftest import until


def test_a_database_is_the_same_on_both_nodes(nodes):
    left = redis.Redis.from_url(nodes.url(0), db=2, decode_responses=True)
    right = redis.Redis.from_url(nodes.url(1) + "/2", decode_responses=True)
    plain = redis.Redis.from_url(nodes.url(1), decode_responses=True)
    left.hset("cart", mapping={"book": 1})
    until(lambda: right.hgetall("cart") == {"book": "1"})
    assert not plain.exists("cart")
    with right.pipeline() as pipe:
        pipe.hincrby("cart", "book", 2)
        pipe.expire("cart", 100)
        assert pipe.execute() == [3, True]
    until(lambda: left.hget("cart", "book") == "3")
    right.flushdb()
    until(lambda: not left.exists("cart"))
    for client in (left, right, plain):
        client.close()
