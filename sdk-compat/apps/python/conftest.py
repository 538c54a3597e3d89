"""Two nodes for each test: those of the SDK's tests, ../../python/conftest.py."""

import importlib.util
import pathlib

import pytest

_path = pathlib.Path(__file__).resolve().parents[2] / "python" / "conftest.py"
_spec = importlib.util.spec_from_file_location("shared", _path)
shared = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(shared)

cluster = shared.cluster
until = shared.until


class Nodes:
    """Two nodes; `url(n)` is what an application is given instead of its Redis."""

    def __init__(self, cluster):
        self.do = cluster.do
        self.cluster = cluster

    def url(self, node):
        return self.cluster.url(node, "app")


@pytest.fixture
def nodes(cluster):
    return Nodes(cluster(2))
