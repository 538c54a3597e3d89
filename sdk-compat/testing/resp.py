"""Just enough of RESP2 and RESP3 to pass on one command or one reply at a time."""


async def frame(reader):
    """The bytes of one whole frame, of either protocol."""
    line = await reader.readuntil(b"\r\n")
    kind, rest = line[:1], line[1:-2]
    if kind in b"$=!" and rest != b"-1":
        return line + await reader.readexactly(int(rest) + 2)
    parts = {b"*": 1, b"~": 1, b">": 1, b"%": 2, b"|": 2}.get(kind, 0) * max(int(rest), 0) if kind in b"*~>%|" else 0
    if kind == b"|":  # An attribute comes before the value that it describes.
        parts += 1
    whole = [line]
    for _ in range(parts):
        whole.append(await frame(reader))
    return b"".join(whole)


def words(command):
    """The arguments of a command, which is an array of bulk strings."""
    found, rest = [], command.split(b"\r\n", 1)[1]
    while rest:
        size, rest = rest.split(b"\r\n", 1)
        length = int(size[1:])
        found.append(rest[:length])
        rest = rest[length + 2 :]
    return found


def command(*arguments):
    """A command as bytes."""
    return b"*%d\r\n" % len(arguments) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in arguments)
