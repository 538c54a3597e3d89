"""The clients of the table: their versions, how each is installed, the line that runs its driver."""

import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
DRIVERS = HERE / "drivers"
REPOSITORY = HERE.parents[1]
#: Where everything is installed; nothing of it is under version control.
INSTALLED = REPOSITORY / "target" / "clients"

NODE = {"redis": "6.3.1", "ioredis": "6.0.0", "iovalkey": "0.4.0", "@valkey/valkey-glide": "2.5.2"}
PYTHON = {"redis": "8.1.0", "valkey-glide": "2.6.0"}
#: What Debian serves of languages that no registry here has.
DEBIAN = ["php-cli", "php-redis", "php-predis", "libredis-perl", "libredis-fast-perl", "ruby", "ruby-redis",
          "lua5.1", "lua-redis", "gcc", "libc6-dev", "libhiredis-dev", "ghc", "libghc-hedis-dev"]


@dataclasses.dataclass(frozen=True)
class Client:
    name: str
    install: str  # The function below that installs it.
    line: tuple
    package: str = ""  # In Debian, to ask for its version.
    version: str = ""
    url: str = "URL"  # How the login is given: by "URL", by "options", or "AUTH by hand".
    light: bool = False  # Whether CI runs it.
    tls: bool = False  # Whether its driver speaks TLS.
    set: str = ""  # What a program that counts has to set: the driver does with CAREFUL in its environment.


PYTHON_BIN = str(INSTALLED / "python" / "bin" / "python")
NODE_LINE = ("node", str(DRIVERS / "node.mjs"))
JAVA_LINE = ("java", "-cp", f"{INSTALLED}/java:{INSTALLED}/java/jars/*", "Driver")
GO_LINE = (str(INSTALLED / "go"),)
RUST_LINE = (str(INSTALLED / "rust" / "debug" / "drivers"),)

CLIENTS = [
    Client("redis-py, `from_url`", "python", (PYTHON_BIN, f"{DRIVERS}/redis_py.py"), version=PYTHON["redis"], light=True, tls=True),
    Client("redis-py, `Redis(host)`", "python", (PYTHON_BIN, f"{DRIVERS}/redis_py.py", "constructor"),
           version=PYTHON["redis"], url="options", light=True, set="`retry=Retry(NoBackoff(), 0)`", tls=True),
    Client("redis-py, asyncio", "python", (PYTHON_BIN, f"{DRIVERS}/redis_py_async.py"), version=PYTHON["redis"], light=True, tls=True),
    Client("valkey-glide, Python", "python", (PYTHON_BIN, f"{DRIVERS}/valkey_glide.py"), version=PYTHON["valkey-glide"], url="options"),
    Client("node-redis", "node", (*NODE_LINE, "redis", f"{INSTALLED}/node"), version=NODE["redis"], light=True,
           set="", tls=True),
    Client("ioredis", "node", (*NODE_LINE, "ioredis", f"{INSTALLED}/node"), version=NODE["ioredis"], light=True,
           set="`maxRetriesPerRequest: 0`, `stringNumbers: true`", tls=True),
    Client("iovalkey", "node", (*NODE_LINE, "iovalkey", f"{INSTALLED}/node"), version=NODE["iovalkey"],
           set="`maxRetriesPerRequest: 0`, `stringNumbers: true`", tls=True),
    Client("valkey-glide, Node", "node", (*NODE_LINE, "glide", f"{INSTALLED}/node"),
           version=NODE["@valkey/valkey-glide"], url="options"),
    Client("redis-rs", "rust", (*RUST_LINE, "redis"), version="1.8.1", set="", tls=True),
    Client("fred, reconnecting", "rust", (*RUST_LINE, "fred"), version="10.1.0", set="`max_command_attempts: 1`"),
    Client("go-redis", "go", (*GO_LINE, "goredis"), version="9.17.0", set="`MaxRetries: -1`", tls=True),
    Client("redigo", "go", (*GO_LINE, "redigo"), version="1.9.3", tls=True),
    Client("Jedis", "java", (*JAVA_LINE, "jedis"), version="8.0.2", tls=True),
    Client("Lettuce", "java", (*JAVA_LINE, "lettuce"), version="7.7.0", set="`autoReconnect(false)`", tls=True),
    Client("phpredis", "debian", ("php", f"{DRIVERS}/phpredis.php"), package="php-redis", url="options"),
    Client("Predis", "debian", ("php", f"{DRIVERS}/predis.php"), package="php-predis"),
    Client("Redis for Perl", "debian", ("perl", f"{DRIVERS}/perl.pl", "Redis"), package="libredis-perl", url="options"),
    Client("Redis::Fast", "debian", ("perl", f"{DRIVERS}/perl.pl", "Redis::Fast"), package="libredis-fast-perl", url="options"),
    Client("redis for Ruby", "debian", ("ruby", f"{DRIVERS}/redis.rb"), package="ruby-redis", set="`reconnect_attempts: 0`"),
    Client("redis-lua", "debian", ("lua5.1", f"{DRIVERS}/redis.lua"), package="lua-redis"),
    Client("hiredis", "debian", (str(INSTALLED / "hiredis"),), package="libhiredis-dev", url="AUTH by hand"),
    Client("hedis", "debian", (str(INSTALLED / "hedis"),), package="libghc-hedis-dev", url="AUTH by hand"),
]


def run(*line, folder=HERE, **environment):
    """Runs a line of an installation; what it wrote is shown only if it fails."""
    done = subprocess.run(line, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, line))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def python():
    if not pathlib.Path(PYTHON_BIN).exists():
        run("python3", "-m", "venv", str(INSTALLED / "python"))
    packages = [f"{name}=={version}" for name, version in PYTHON.items()]
    run(PYTHON_BIN, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)


def node():
    folder = INSTALLED / "node"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"private": true}\n')
    packages = [f"{name}@{version}" for name, version in NODE.items()]
    run("npm", "install", "--no-audit", "--no-fund", "--loglevel=error", *packages, folder=folder)


def rust():
    run("cargo", "build", "--locked", "--quiet", folder=DRIVERS / "rust", CARGO_TARGET_DIR=str(INSTALLED / "rust"))


def go():
    run("go", "build", "-o", GO_LINE[0], ".", folder=DRIVERS / "go")


def java():
    classes = INSTALLED / "java"
    run("mvn", "-q", "-B", "-ntp", "dependency:copy-dependencies", f"-DoutputDirectory={classes}/jars", folder=DRIVERS / "java")
    run("javac", "-d", str(classes), "-cp", f"{classes}/jars/*", "Driver.java", folder=DRIVERS / "java")


def debian():
    if shutil.which("apt-get") is None:
        sys.exit(f"install by hand: {' '.join(DEBIAN)}")
    missing = [name for name in DEBIAN if subprocess.run(["dpkg", "-s", name], capture_output=True).returncode]
    if missing:
        run("apt-get", "update", "-qq")
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing, DEBIAN_FRONTEND="noninteractive")
    run("gcc", "-O1", "-o", str(INSTALLED / "hiredis"), str(DRIVERS / "hiredis.c"), "-lhiredis")
    objects = INSTALLED / "hedis-objects"
    run("ghc", "-v0", "-threaded", "-outputdir", str(objects), "-o", str(INSTALLED / "hedis"), str(DRIVERS / "Hedis.hs"))


def version(client):
    """The version that a table names."""
    if not client.package:
        return client.version
    found = run("dpkg-query", "-W", "-f", "${Version}", client.package)
    return found.split(":")[-1].split("-")[0].split("+")[0].split("~")[0]


def install(clients):
    """Installs what these clients need."""
    INSTALLED.mkdir(parents=True, exist_ok=True)
    for kind in dict.fromkeys(client.install for client in clients):
        print(f"installing: {kind}", file=sys.stderr, flush=True)
        globals()[kind]()
