"""redis-py, unmodified, in RESP2 and RESP3: every type, transactions, open mode, messages, asyncio."""

import asyncio
import threading

import pytest
import redis
import redis.asyncio


def do(client, line, *more):
    """A command as its words."""
    return client.execute_command(*line.split(), *more)


def pairs(reply):
    """A map as a dictionary, whichever protocol brought it."""
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2]))


def test_gcounter(r):
    assert do(r, "GCOUNTER.GET o n") == 0
    assert do(r, "GCOUNTER.ADD o n") == 1
    assert do(r, "GCOUNTER.ADD o n 41") == 42
    assert do(r, "GCOUNTER.MADD o n 1 m 2") == [43, 2]
    assert do(r, "GCOUNTER.MGET o n m x") == [43, 2, 0]
    with pytest.raises(redis.ResponseError, match="a grow-only counter cannot decrease"):
        do(r, "GCOUNTER.ADD o n -1")
    with pytest.raises(redis.ResponseError, match="value is not an integer or out of range"):
        do(r, "GCOUNTER.ADD o n 1.5")


def test_integers_are_exact(r):
    assert do(r, "GCOUNTER.ADD o n", 2**53) == 2**53
    assert do(r, "GCOUNTER.ADD o n 1") == 2**53 + 1
    assert do(r, "GCOUNTER.ADD o n", 2**63 - 1 - 2**53 - 1) == 2**63 - 1
    with pytest.raises(redis.ResponseError, match="overflow"):
        do(r, "GCOUNTER.ADD o n 1")


def test_pncounter(r):
    assert do(r, "PNCOUNTER.ADD o n 5") == 5
    assert do(r, "PNCOUNTER.SUB o n 8") == -3
    assert do(r, "PNCOUNTER.MADD o n 1 m -2") == [-2, -2]
    assert do(r, "PNCOUNTER.GET o n") == -2


@pytest.mark.parametrize("kind", ["GSET", "ORSET"])
def test_sets(r, kind):
    assert do(r, f"{kind}.ADD o n a b c") == 3
    assert do(r, f"{kind}.ADD o n a") == 0
    assert do(r, f"{kind}.CARD o n") == 3
    assert sorted(do(r, f"{kind}.MEMBERS o n")) == ["a", "b", "c"]
    assert do(r, f"{kind}.ISMEMBER o n a") == 1
    assert do(r, f"{kind}.MISMEMBER o n a x") == [1, 0]
    assert do(r, f"{kind}.RANDMEMBER o n") in ("a", "b", "c")
    cursor, page = do(r, f"{kind}.SCAN o n 0 COUNT 100")
    assert cursor == "0" and sorted(page) == ["a", "b", "c"]


def test_orset_removes(r):
    do(r, "ORSET.ADD o n a b c")
    assert do(r, "ORSET.REM o n a x") == 1
    assert do(r, "ORSET.CLEAR o n") == 2
    assert list(do(r, "ORSET.MEMBERS o n")) == []


def test_mvregister(r):
    assert do(r, "MVREG.VALUE o n") is None
    assert do(r, "MVREG.GET o n") == []
    assert do(r, "MVREG.SET o n", "hello world") in (True, "OK")
    assert do(r, "MVREG.VALUE o n") == "hello world"
    assert do(r, "MVREG.GET o n") == ["hello world"]


def test_ewflag(r, protocol):
    off = do(r, "EWFLAG.GET o n")
    assert not off and isinstance(off, bool) == (protocol == 3)
    assert do(r, "EWFLAG.ENABLE o n") == 1
    assert do(r, "EWFLAG.GET o n")
    assert do(r, "EWFLAG.SET o n 0") == 1
    assert do(r, "EWFLAG.DISABLE o n") == 0


def test_ormap(r):
    assert do(r, "ORMAP.SET o n f 1 g 2") == 2
    assert do(r, "ORMAP.INCRBY o n c 5") == 5
    assert do(r, "ORMAP.GET o n f") == "1"
    assert do(r, "ORMAP.GETMV o n f") == ["1"]
    assert do(r, "ORMAP.MGET o n f x") == ["1", None]
    assert pairs(do(r, "ORMAP.GETALL o n")) == {"f": "1", "g": "2", "c": "5"}
    assert sorted(do(r, "ORMAP.KEYS o n")) == ["c", "f", "g"]
    assert do(r, "ORMAP.DEL o n f x") == 1
    assert do(r, "ORMAP.LEN o n") == 2
    assert do(r, "ORMAP.EXISTS o n f") == 0


def test_wrong_type(r):
    do(r, "GCOUNTER.ADD o n")
    with pytest.raises(redis.ResponseError, match="^WRONGTYPE"):
        do(r, "ORSET.ADD o n a")


def test_bytes_pass_unchanged(node, protocol):
    with redis.Redis.from_url(node.url(), protocol=protocol) as client:
        value = bytes(range(256)) * 100
        client.execute_command("MVREG.SET", b"\x00\xff", b"\r\n", value)
        assert client.execute_command("MVREG.VALUE", b"\x00\xff", b"\r\n") == value


def test_multi(r):
    with r.pipeline(transaction=True) as pipe:
        pipe.execute_command("GCOUNTER.ADD", "o", "n", 5)
        pipe.execute_command("ORSET.ADD", "o", "s", "a", "b")
        pipe.execute_command("GCOUNTER.GET", "o", "n")
        assert pipe.execute() == [5, 2, 5]


def test_watch(r):
    with r.pipeline() as pipe:
        pipe.watch("o")
        do(r, "GCOUNTER.ADD o n")
        pipe.multi()
        pipe.execute_command("GCOUNTER.ADD", "o", "n")
        with pytest.raises(redis.WatchError):
            pipe.execute()
    assert do(r, "GCOUNTER.GET o n") == 1

    def add(pipe):
        pipe.multi()
        pipe.execute_command("GCOUNTER.ADD", "o", "n")

    assert r.transaction(add, "o") == [2]


def test_pipeline_without_transaction(r):
    with r.pipeline(transaction=False) as pipe:
        for _ in range(1000):
            pipe.execute_command("GCOUNTER.ADD", "o", "n")
        assert pipe.execute() == list(range(1, 1001))


def test_open_mode_by_url(node, protocol):
    """The URL alone says the function, on every connection of a pool and after a reconnect."""
    with redis.Redis.from_url(node.url("checkout:-"), protocol=protocol, decode_responses=True) as client:
        assert do(client, "MISO.FUNCTION") == "checkout"
        do(client, "GCOUNTER.ADD o n 7")
        client.connection_pool.disconnect()
        assert do(client, "MISO.FUNCTION") == "checkout"
        threads = [threading.Thread(target=lambda: do(client, "GCOUNTER.ADD o n")) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert do(client, "GCOUNTER.GET o n") == 27
    with redis.Redis.from_url(node.url(), protocol=protocol) as client:
        assert do(client, "GCOUNTER.GET o n") == 0


def test_messages(node, r):
    with r.pubsub() as listener:
        listener.subscribe("__miso__:default:o")
        assert listener.get_message(timeout=10)["type"] == "subscribe"
        do(r, "EWFLAG.ENABLE o open")
        message = listener.get_message(timeout=10)
        assert message["channel"] == "__miso__:default:o"
        assert "open" in message["data"] and "ewflag" in message["data"]


def test_publish(r):
    with r.pubsub() as listener:
        listener.psubscribe("news.*")
        assert listener.get_message(timeout=10)["type"] == "psubscribe"
        assert r.publish("news.today", "hello") == 1
        message = listener.get_message(timeout=10)
        assert (message["pattern"], message["channel"], message["data"]) == ("news.*", "news.today", "hello")


def test_objects_as_keys(r):
    for i in range(50):
        do(r, f"GCOUNTER.ADD object:{i} n {i}")
    assert sorted(r.scan_iter("object:1?")) == [f"object:1{i}" for i in range(10)]
    assert r.type("object:7") == "hash"
    assert r.hgetall("object:7") == {"n": "7"}
    assert dict(r.hscan_iter("object:7")) == {"n": "7"}
    assert r.exists("object:7", "absent") == 1
    assert r.ttl("object:7") == -1
    assert r.memory_usage("object:7") > 0
    assert r.dbsize() == 50
    assert r.delete("object:7", "object:8") == 2
    with pytest.raises(redis.ResponseError, match="^WRONGTYPE"):
        r.hset("object:9", "n", "1")


def test_what_the_client_asks_about_the_server(r):
    assert r.ping()
    assert r.echo("x") == "x"
    info = r.info()
    assert info["redis_mode"] == "standalone" and info["role"] == "master" and info["loading"] == 0
    assert r.info("keyspace") == {}
    assert r.config_get("maxmemory") == {"maxmemory": "0"}
    assert r.config_set("maxmemory", "100mb")
    assert r.client_setname("me") and r.client_getname() == "me"
    assert any(client["name"] == "me" and client["lib-name"].startswith("redis-py") for client in r.client_list())
    assert r.client_id() > 0
    assert r.command_count() > 100
    assert "gcounter.add" in r.command()
    assert r.command_getkeys("GCOUNTER.ADD", "o", "n", "1") == ["o"]
    assert r.slowlog_len() >= 0
    assert r.acl_whoami() == "default"
    assert isinstance(r.time(), tuple)
    assert r.module_list()[0]


def test_users(node, r, protocol):
    assert r.acl_setuser("cart", enabled=True, passwords=["+pw"], keys=["cart:*"], categories=["+@gcounter", "+@connection"])
    user = r.acl_getuser("cart")
    assert "on" in user["flags"]
    with redis.Redis.from_url(node.url("cart:pw"), protocol=protocol, decode_responses=True) as client:
        assert do(client, "GCOUNTER.ADD cart:1 n") == 1
        with pytest.raises(redis.exceptions.NoPermissionError):
            do(client, "GCOUNTER.ADD other n")
    with pytest.raises(redis.AuthenticationError):
        redis.Redis.from_url(node.url("cart:wrong"), protocol=protocol).ping()


def test_blocking_pool_and_health_check(node, protocol):
    pool = redis.BlockingConnectionPool.from_url(node.url("pool:-"), protocol=protocol, max_connections=3, health_check_interval=1)
    client = redis.Redis(connection_pool=pool)
    assert [do(client, "GCOUNTER.ADD o n") for _ in range(10)] == list(range(1, 11))
    pool.disconnect()


def test_asyncio(node, protocol):
    async def run():
        client = redis.asyncio.Redis.from_url(node.url("later:-"), protocol=protocol, decode_responses=True)
        async with client:
            assert await client.execute_command("MISO.FUNCTION") == "later"
            await asyncio.gather(*(client.execute_command("GCOUNTER.ADD", "o", "n") for _ in range(50)))
            assert await client.execute_command("GCOUNTER.GET", "o", "n") == 50
            async with client.pipeline(transaction=True) as pipe:
                pipe.execute_command("PNCOUNTER.SUB", "o", "p", 3)
                pipe.execute_command("ORSET.ADD", "o", "s", "x")
                assert await pipe.execute() == [-3, 1]
            async with client.pubsub() as listener:
                await listener.subscribe("__miso__:later:o")
                assert (await listener.get_message(timeout=10))["type"] == "subscribe"
                await client.execute_command("MVREG.SET", "o", "r", "x")
                assert "mvreg" in (await listener.get_message(timeout=10))["data"]

    asyncio.run(run())
