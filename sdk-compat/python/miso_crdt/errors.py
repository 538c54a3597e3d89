"""What can go wrong, one class per thing that a program may do about it."""


class MisoError(Exception):
    """The base of all errors of this package."""


class SettingError(MisoError, ValueError):
    """A setting is missing or unusable; `variable` is the environment variable that gives it."""

    def __init__(self, variable: str, message: str) -> None:
        super().__init__(message)
        self.variable = variable


class ArgumentError(MisoError, ValueError):
    """An argument that no call can take: an id that is too long, an amount that is no integer."""


class Unreachable(MisoError, ConnectionError):
    """The node does not answer. A read may simply be tried again."""


class NotSent(Unreachable):
    """The command did not reach the node: it has not run and may be tried again."""


class UnknownOutcome(MisoError):
    """A write was sent and its reply was lost, so it may or may not have run.

    Read before you repeat it, or use a server that knows MISO.ONCE, where the SDK repeats it safely by itself.
    """


class FunctionMismatch(MisoError):
    """The connection speaks for another function than the one asked for: the user name was dropped on the way."""


class AccessError(MisoError, PermissionError):
    """The server refuses the login, or the user may not do this."""


class WrongType(MisoError, TypeError):
    """The name holds another type."""


class OnceError(MisoError):
    """MISO.ONCE refuses: its window is full, or the command cannot run once."""


class ReplyError(MisoError):
    """Any other error that the server answered."""


class Unencodable(MisoError, ValueError):
    """The codec cannot hold the value."""


class Undecodable(MisoError, ValueError):
    """What is stored was not written by the codec."""


def of_reply(text: str, command: str) -> MisoError:
    """The typed error for an error reply with this text."""
    prefix = text.split(" ", 1)[0]
    if prefix == "WRONGTYPE":
        return WrongType(f"{text} ({command}); take another name, or the getter of its type")
    if prefix in ("NOAUTH", "WRONGPASS", "NOPERM"):
        return AccessError(f"{text} ({command}); check the user and password in MISO_URL")
    if text.lower().startswith("err once"):
        return OnceError(f"{text} ({command}); see once-window and once-max in the server's settings")
    return ReplyError(f"{text} ({command})")
