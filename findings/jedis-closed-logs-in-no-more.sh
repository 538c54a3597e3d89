#!/usr/bin/env bash
# Jedis 8.0.2: a `Jedis` that is used after `close()` or `disconnect()` opens a new connection in silence, and sends
# neither AUTH nor SELECT on it: made with user `shop` and database 3, it goes on as the user `default` in database 0.
# Nothing is thrown, and the reply is OK.
#
# Server: a few lines below, which answer OK and record what each connection sends. Seen: the first connection sends
# AUTH, SELECT 3, SET k 1; the one after the end sends SET k 2 and nothing before it. Likely where an object outlives a
# try-with-resources block, or where one thread closes what another still uses. A program keeps no reference past the
# end, or takes its connections from a pool (`RedisClient`), which logs each one in.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/pom.xml" <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>finding</groupId><artifactId>finding</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>redis.clients</groupId><artifactId>jedis</artifactId><version>8.0.2</version></dependency>
  </dependencies>
</project>
XML
(cd "$work" && mvn -q -B -ntp dependency:copy-dependencies -DoutputDirectory=jars)
cat >"$work/Try.java" <<'JAVA'
import redis.clients.jedis.DefaultJedisClientConfig;
import redis.clients.jedis.HostAndPort;
import redis.clients.jedis.Jedis;

class Try {
    public static void main(String[] args) {
        var login = DefaultJedisClientConfig.builder().user("shop").password("secret").database(3).build();
        Jedis kept;
        try (Jedis jedis = new Jedis(new HostAndPort("127.0.0.1", Integer.parseInt(args[0])), login)) {
            jedis.set("k", "1");
            kept = jedis;
        }
        System.out.println(kept.set("k", "2"));
    }
}
JAVA
cat >"$work/try.py" <<'PY'
import socket, subprocess, sys, threading

work = sys.argv[1]
listener = socket.create_server(("127.0.0.1", 0))
sent = []  # What each connection sends.


def serve(connection, lines):
    try:
        stream = connection.makefile("rb")
        while header := stream.readline():
            words = []
            for _ in range(int(header[1:])):
                size = int(stream.readline()[1:])
                words.append(stream.read(size + 2)[:-2].decode())
            lines.append(" ".join(words))
            connection.sendall(b"-ERR unknown command\r\n" if words[0] == "HELLO" else b"+OK\r\n")
    except ConnectionError:
        pass


def accept():
    while True:
        connection, _ = listener.accept()
        sent.append([])
        threading.Thread(target=serve, args=(connection, sent[-1]), daemon=True).start()


threading.Thread(target=accept, daemon=True).start()
line = ["java", "-cp", f"{work}/jars/*", f"{work}/Try.java", str(listener.getsockname()[1])]
done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=60)
print("Jedis 8.0.2, SET after close() answers:", done.stdout.strip())
for number, lines in enumerate(sent, 1):
    print(f"connection {number}:", lines)
assert done.returncode == 0 and done.stdout.strip() == "OK", done
assert len(sent) == 2, sent
assert "AUTH shop secret" in sent[0] and "SELECT 3" in sent[0], sent
assert sent[1] == ["SET k 2"], sent
PY
python3 "$work/try.py" "$work"
