"""Flask-Caching: two Flask applications that share a cache, one beside each node."""

import flask
import flask_caching
import redis
from conftest import until


def site(url):
    app = flask.Flask(__name__)
    app.config.update(CACHE_TYPE="RedisCache", CACHE_REDIS_URL=url, CACHE_DEFAULT_TIMEOUT=600, CACHE_KEY_PREFIX="web:")
    cache = flask_caching.Cache(app)
    calls = []

    @app.route("/square/<int:number>")
    @cache.cached()
    def square(number):
        calls.append(number)
        return str(number * number)

    @cache.memoize()
    def cube(number):
        calls.append(-number)
        return number**3

    app.cube, app.calls, app.cache_ = cube, calls, cache
    return app


def test_pages_values_and_a_cut(nodes):
    left, right = site(nodes.url(0)), site(nodes.url(1))
    assert left.test_client().get("/square/7").data == b"49"
    page = "view//square/7"
    until(lambda: right.cache_.get(page) == "49")
    assert right.test_client().get("/square/7").data == b"49"
    assert right.calls == []

    nodes.do("cut")
    left.cache_.set("l", {"a": 1})
    right.cache_.set("r", [1, 2])
    right.cache_.delete(page)
    assert right.cache_.get("l") is None
    assert right.cube(3) == 27
    nodes.do("heal")
    until(lambda: right.cache_.get_many("l", "r") == [{"a": 1}, [1, 2]])
    until(lambda: left.cache_.get(page) is None)
    clients = [redis.Redis.from_url(nodes.url(node)) for node in range(2)]
    until(lambda: sorted(clients[0].keys()) == sorted(clients[1].keys()))
    assert left.cube(3) == 27
    assert left.calls == [7], "what the other node has computed is not computed again"
    assert left.cache_.add("l", 2) is False
    assert left.cache_.has("r") is True


def test_deadlines_counts_and_clear(nodes):
    left, right = site(nodes.url(0)), site(nodes.url(1))
    client = redis.Redis.from_url(nodes.url(1))
    backend = left.cache_.cache
    backend.set("page", 1, timeout=300)
    until(lambda: 290 < client.ttl("web:page") <= 300)
    assert backend.inc("hits", 2) == 2
    assert backend.dec("hits") == 1
    until(lambda: right.cache_.get("hits") == 1)
    assert right.cache_.cache.inc("hits", 10) == 11
    assert backend.set_many({"a": 1, "b": 2}, timeout=300) == ["a", "b"]
    until(lambda: right.cache_.cache.get_dict("a", "b") == {"a": 1, "b": 2})
    assert backend.delete_many("a", "b") == ["a", "b"]
    assert backend.clear()
    until(lambda: client.dbsize() == 0)
