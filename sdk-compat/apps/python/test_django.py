"""Django's caches: django-redis, and the one that Django brings itself."""

import django
import django.core.cache
import pytest
from conftest import until
from django.conf import settings

if not settings.configured:
    settings.configure()
    django.setup()

BACKENDS = {
    "django-redis": "django_redis.cache.RedisCache",
    "django": "django.core.cache.backends.redis.RedisCache",
}


@pytest.fixture
def caches(nodes):
    """Django's own cache on each node."""
    backend = BACKENDS["django"]
    places = {str(node): {"BACKEND": backend, "LOCATION": nodes.url(node), "TIMEOUT": 600} for node in range(2)}
    handler = django.core.cache.CacheHandler({"default": places["0"], **places})
    yield handler["0"], handler["1"]
    handler.close_all()


def test_integers_are_counted_together(nodes, caches):
    left, right = caches
    left.set("hits", 10)
    until(lambda: right.get("hits") == 10)
    nodes.do("cut")
    left.incr("hits", 2)
    right.incr("hits", 5)
    nodes.do("heal")
    until(lambda: left.get("hits") == right.get("hits") == 17)
    assert left.decr("hits") == 16


def test_what_django_redis_adds(nodes):
    location = {"BACKEND": BACKENDS["django-redis"], "LOCATION": nodes.url(0), "KEY_PREFIX": "site"}
    cache = django.core.cache.CacheHandler({"default": location})["default"]
    cache.set("a:1", 1, timeout=None)
    cache.set("a:2", 2, timeout=60)
    assert cache.ttl("a:1") is None
    assert 50 < cache.ttl("a:2") <= 60
    assert sorted(cache.keys("a:*")) == ["a:1", "a:2"]
    assert cache.expire("a:1", 100) and cache.persist("a:1")
    assert cache.set("a:1", 9, nx=True) is False
    assert cache.delete_pattern("a:*") == 2
    cache.close()
