package io.github.misocrdt;

/** What can go wrong, one class per thing that a program may do about it. */
public class MisoException extends RuntimeException {
    private static final long serialVersionUID = 1;

    MisoException(String message, Throwable cause) {
        super(message, cause);
    }

    /** A setting is missing or unusable. */
    public static final class Setting extends MisoException {
        private static final long serialVersionUID = 1;
        private final String variable;

        Setting(String variable, String message) {
            super(message, null);
            this.variable = variable;
        }

        /** The environment variable that gives the setting. */
        public String variable() {
            return variable;
        }
    }

    /** No call can take this argument. */
    public static final class Argument extends MisoException {
        private static final long serialVersionUID = 1;

        Argument(String message) {
            super(message, null);
        }
    }

    /** The node does not answer. A read may simply be tried again. */
    public static class Unreachable extends MisoException {
        private static final long serialVersionUID = 1;

        Unreachable(String message, Throwable cause) {
            super(message, cause);
        }
    }

    /** The command did not reach the node: it has not run and may be tried again. */
    public static final class NotSent extends Unreachable {
        private static final long serialVersionUID = 1;

        NotSent(String message, Throwable cause) {
            super(message, cause);
        }
    }

    /**
     * A write was sent and its reply was lost, so it may or may not have run. Read before you repeat it, or use a
     * server that knows MISO.ONCE, where the SDK repeats it safely by itself.
     */
    public static final class UnknownOutcome extends MisoException {
        private static final long serialVersionUID = 1;

        UnknownOutcome(Throwable cause) {
            super(
                    "a write was sent and its reply was lost ("
                            + (cause == null ? "the connection ended" : cause.getMessage())
                            + "): it may or may not have run; read first",
                    cause);
        }
    }

    /** The connection speaks for another function than the one asked for: the user name was dropped on the way. */
    public static final class FunctionMismatch extends MisoException {
        private static final long serialVersionUID = 1;

        FunctionMismatch(String message) {
            super(message, null);
        }
    }

    /** The server refuses the login, or the user may not do this. */
    public static final class Access extends MisoException {
        private static final long serialVersionUID = 1;

        Access(String message) {
            super(message + "; check the user and password in MISO_URL", null);
        }
    }

    /** The name holds another type. */
    public static final class WrongType extends MisoException {
        private static final long serialVersionUID = 1;

        WrongType(String message) {
            super(message + "; take another name, or the getter of its type", null);
        }
    }

    /** MISO.ONCE refuses: its window is full, or the command cannot run once. */
    public static final class Once extends MisoException {
        private static final long serialVersionUID = 1;

        Once(String message) {
            super(message + "; see once-window and once-max in the server's settings", null);
        }
    }

    /** Any other error that the server answered. */
    public static final class Reply extends MisoException {
        private static final long serialVersionUID = 1;

        Reply(String message) {
            super(message, null);
        }
    }

    /** The codec cannot hold the value. */
    public static final class Unencodable extends MisoException {
        private static final long serialVersionUID = 1;

        Unencodable(String message) {
            super(message, null);
        }
    }

    /** What is stored was not written by the codec of an SDK; read it by a raw proxy. */
    public static final class Undecodable extends MisoException {
        private static final long serialVersionUID = 1;

        Undecodable(String message, Throwable cause) {
            super(message, cause);
        }
    }

    /** The typed error for an error reply with this text. */
    static MisoException ofReply(String text) {
        return switch (text.split(" ", 2)[0]) {
            case "WRONGTYPE" -> new WrongType(text);
            case "NOAUTH", "WRONGPASS", "NOPERM" -> new Access(text);
            default -> text.regionMatches(true, 0, "ERR once", 0, 8) ? new Once(text) : new Reply(text);
        };
    }
}
