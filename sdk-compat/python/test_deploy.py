"""What deploy/ holds: it parses, names settings that exist, and works as far as this machine can run it."""

import itertools
import json
import os
import re
import shutil
import subprocess
import tomllib

import pytest
import yaml

from conftest import REPOSITORY, Node, binary

DEPLOY = REPOSITORY / "deploy"
CHART = DEPLOY / "helm" / "miso"
VARIABLES = set(re.findall(r"`(MISO_\w+)`", (REPOSITORY / "docs" / "settings.md").read_text()))
# Of the health check, not of the server.
OTHERS = {"MISO_HEALTH_HOST"}

VARIANTS = [
    [],
    ["persistence.type=emptyDir", "networkPolicy.enabled=false"],
    ["persistence.type=ephemeral", "persistence.storageClassName=fast", "cluster.existingSecret=ours"],
    ["auth.existingSecret=users", "auth.requirepass=true", "auth.aclfile=true", "priorityClassName=system-node-critical"],
]


def text(*path):
    return DEPLOY.joinpath(*path).read_text()


@pytest.mark.parametrize(
    "path",
    ["docker/Dockerfile", "docker/compose.yaml", "docker/healthcheck", "systemd/miso.service", "helm/miso/templates/daemonset.yaml"],
)
def test_variables_are_settings(path):
    named = set(re.findall(r"\bMISO_[A-Z_]+[A-Z]\b", text(path)))
    assert named, "it sets something"
    assert named - OTHERS <= VARIABLES


def test_values_are_settings_and_are_used():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for name in values["settings"]:
        assert "MISO_" + name.upper().replace("-", "_") in VARIABLES, name
    templates = "".join(path.read_text() for path in (CHART / "templates").iterdir())
    used = set(re.findall(r"\.Values\.([\w.]+)", templates))
    for path in used:
        inner = values
        for part in path.split("."):
            assert part in inner, f"values.yaml has no {path}"
            inner = inner[part]
    for name in values:
        assert any(path.split(".")[0] == name for path in used), f"no template uses {name}"
    assert templates.count("{{") == templates.count("}}")
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["name"] == "miso"


def test_settings_of_the_chart_are_valid():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    flags = [part for name, value in values["settings"].items() for part in (f"--{name}", str(value))]
    flags += ["--bind", "*", "--peer-bind", "*", "--peer-announce", "10.0.0.1:7379", "--join", "miso-peers.miso.svc:7379"]
    subprocess.run([binary(), "--check-config", "--data-dir", "none", *flags], check=True, capture_output=True)


def test_compose():
    compose = yaml.safe_load(text("docker", "compose.yaml"))
    assert len(compose["services"]) == 3
    ports = [port for service in compose["services"].values() for port in service["ports"]]
    assert len(set(ports)) == 3 and all(port.startswith("127.0.0.1:") for port in ports)
    for name, service in compose["services"].items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"]
        assert set(service["environment"]) <= VARIABLES
        environment = {**os.environ, **service["environment"], "MISO_DATA_DIR": "none"}
        environment["MISO_CLUSTER_SECRET"] = "change-me"
        subprocess.run([binary(), "--check-config"], env=environment, check=True, capture_output=True)
        assert f"{name}:7379" in service["environment"]["MISO_JOIN"]


def test_image():
    dockerfile = text("docker", "Dockerfile")
    user = dockerfile.index("USER 10001")
    assert user < dockerfile.index("ENTRYPOINT") and "HEALTHCHECK" in dockerfile
    profile = re.search(r"cargo build --profile (\w+) ", dockerfile)[1]
    assert f"[profile.{profile}]" in (REPOSITORY / "Cargo.toml").read_text()
    assert f"/src/target/{profile}/miso-server " in dockerfile
    for source in re.findall(r"^COPY (deploy\S+)", dockerfile, re.MULTILINE):
        assert (REPOSITORY / source).exists(), source
    rust = re.search(r"rust:([\d.]+)", dockerfile)[1]
    wanted = re.search(r'rust-version = "([\d.]+)"', (REPOSITORY / "Cargo.toml").read_text())[1]
    assert tuple(map(int, rust.split("."))) >= tuple(map(int, wanted.split(".")))


def healthcheck(port, what):
    environment = {**os.environ, "MISO_PORT": str(port)}
    command = [DEPLOY / "docker" / "healthcheck", what]
    return subprocess.run(command, env=environment, capture_output=True, timeout=20).returncode


@pytest.mark.parametrize("flags", [[], ["--requirepass", "pw"]], ids=["open", "password"])
def test_healthcheck(tmp_path, flags):
    node = Node(tmp_path / "log", *flags)
    try:
        assert healthcheck(node.port, "live") == 0
        assert healthcheck(node.port, "ready") == 0
    finally:
        node.stop()
    assert healthcheck(node.port, "live") != 0
    assert healthcheck(node.port, "ready") != 0


def test_unit(tmp_path):
    settings = DEPLOY / "systemd" / "miso.toml"
    names = {"MISO_" + name.upper().replace("-", "_") for name in tomllib.loads(settings.read_text())}
    names |= {"MISO_" + name.upper().replace("-", "_") for name in re.findall(r"^#([a-z-]+) = ", settings.read_text(), re.MULTILINE)}
    assert names <= VARIABLES
    subprocess.run([binary(), "--config", settings, "--data-dir", tmp_path / "data", "--check-config"], check=True)
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not on the PATH")
    # It looks for the program where the unit says.
    unit = tmp_path / "miso.service"
    unit.write_text(text("systemd", "miso.service").replace("/usr/bin/miso-server", binary()))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
    assert "miso.service" not in done.stderr, done.stderr


def helm(*arguments):
    if not shutil.which("helm"):
        pytest.skip("helm is not on the PATH")
    done = subprocess.run(["helm", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def variant(options):
    return list(itertools.chain.from_iterable(("--set", option) for option in options))


@pytest.mark.parametrize("options", VARIANTS, ids=[" ".join(options) or "default" for options in VARIANTS])
def test_chart(options):
    helm("lint", "--strict", CHART, *variant(options))
    rendered = helm("template", "miso", CHART, "--namespace", "edge", "--kube-version", "1.30.0", *variant(options))
    documents = [document for document in yaml.safe_load_all(rendered) if document]
    kinds = {document["kind"]: document for document in documents}
    pod = kinds["DaemonSet"]["spec"]["template"]["spec"]
    names = [variable["name"] for variable in pod["containers"][0]["env"]]
    assert len(names) == len(set(names)) and set(names) - {"POD_IP"} <= VARIABLES
    assert pod["enableServiceLinks"] is False
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    services = {document["metadata"]["name"]: document["spec"] for document in documents if document["kind"] == "Service"}
    assert services["miso"]["internalTrafficPolicy"] == "Local"
    assert services["miso-peers"]["clusterIP"] == "None"
    labels = kinds["DaemonSet"]["spec"]["template"]["metadata"]["labels"].items()
    assert all(service["selector"].items() <= labels for service in services.values())
    assert ("MISO_PROTECTED_MODE" in names) == ("auth.existingSecret=users" not in options)


def test_chart_refuses_settings_that_it_makes_itself():
    if not shutil.which("helm"):
        pytest.skip("helm is not on the PATH")
    command = ["helm", "template", CHART, "--kube-version", "1.30.0", "--set", "settings.port=1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0 and "'port'" in done.stderr, done.stderr


def metrics():
    """The names of docs/metrics.md, and of each the labels that it has; histograms by their series."""
    page = (REPOSITORY / "docs" / "metrics.md").read_text()
    names = {}
    for name, label, kind in re.findall(r"`(miso_\w+)(?:\{(\w+)\})?` \| (\w+) \|", page):
        for suffix in ["_bucket", "_sum", "_count"] if kind == "histogram" else [""]:
            names[name + suffix] = {label, "instance", "le" if suffix == "_bucket" else ""}
    return names


def test_dashboard_and_alerts_name_metrics():
    names = metrics()
    assert len(names) > 50, "the page is read"
    dashboard = json.loads(text("monitoring", "grafana.json"))
    alerts = yaml.safe_load(text("monitoring", "alerts.yaml"))["groups"][0]["rules"]
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    expressions += [rule["expr"] for rule in alerts]
    assert len(expressions) > 20
    for expression in expressions:
        used = set(re.findall(r"\bmiso_\w+", expression))
        assert used <= names.keys(), expression
        labels = {label for words in re.findall(r"by \(([\w, ]+)\)", expression) for label in words.split(", ")}
        assert labels <= set().union(*(names[name] for name in used)), expression
    titles = [panel["title"] for panel in dashboard["panels"]]
    assert len(titles) == len(set(titles))


def test_every_alert_is_explained():
    alerts = yaml.safe_load(text("monitoring", "alerts.yaml"))["groups"][0]["rules"]
    page = (REPOSITORY / "docs" / "operation.md").read_text()
    explained = re.findall(r"^\| `(Miso\w+)` \| [^|]+ \| [^|]+ \|$", page, re.MULTILINE)
    assert explained == [rule["alert"] for rule in alerts]
    scrape = yaml.safe_load(text("monitoring", "prometheus.yaml"))["scrape_configs"][0]
    assert scrape["metrics_path"] == "/metrics" and scrape["job_name"] == "miso"
