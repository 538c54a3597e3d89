package io.github.misocrdt;

import java.net.URI;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.function.UnaryOperator;

/** Where the node is and for which function we speak. */
record Settings(
        String host, int port, boolean tls, String user, String password, String function, String replica) {
    private static final int DEFAULT_PORT = 6379;
    /** In open mode any password will do; clients drop a user name that has none. */
    private static final String ANY_PASSWORD = "-";

    static Settings resolve(Options options, UnaryOperator<String> environment) {
        String name = first(options.function, environment.apply("MISO_FUNCTION_NAME"));
        String replica =
                first(options.replica, environment.apply("MISO_REPLICA_ID"), environment.apply("HOSTNAME"), "replica");
        String url = first(options.url, environment.apply("MISO_URL"));
        if (url != null) {
            return ofUrl(url, name, replica);
        }
        String host = first(environment.apply("MISO_HOST_IP"));
        if (host == null) {
            throw new MisoException.Setting(
                    "MISO_URL",
                    "where is the node? Set MISO_URL=redis://FUNCTION:-@HOST:6379, or MISO_HOST_IP and"
                            + " MISO_FUNCTION_NAME");
        }
        String user = first(name, environment.apply("OPENFAAS_NAME"));
        if (user == null) {
            throw new MisoException.Setting(
                    "MISO_FUNCTION_NAME", "MISO_HOST_IP is set: set MISO_FUNCTION_NAME too");
        }
        String port = first(environment.apply("MISO_HOST_PORT"), Integer.toString(DEFAULT_PORT));
        return new Settings(host, port(port), false, user, ANY_PASSWORD, user, replica);
    }

    private static int port(String text) {
        try {
            int port = Integer.parseInt(text);
            if (port >= 1 && port <= 65535) {
                return port;
            }
        } catch (NumberFormatException none) {
            // It is refused below, as a number out of range is.
        }
        throw new MisoException.Setting(
                "MISO_HOST_PORT", "MISO_HOST_PORT is '" + text + "', expected a port from 1 to 65535");
    }

    private static Settings ofUrl(String text, String name, String replica) {
        URI url;
        try {
            url = URI.create(text);
        } catch (IllegalArgumentException none) {
            throw noUrl();
        }
        boolean tls = "rediss".equals(url.getScheme());
        if (!tls && !"redis".equals(url.getScheme()) || url.getHost() == null || url.getPort() > 65535) {
            throw noUrl();
        }
        String host = url.getHost().replaceAll("[\\[\\]]", "");
        String[] login = url.getRawUserInfo() == null ? new String[0] : url.getRawUserInfo().split(":", 2);
        String user = login.length > 0 ? first(decoded(login[0])) : null;
        String password = login.length > 1 ? first(decoded(login[1])) : null;
        if (user == null && password == null) {
            user = name;
        }
        if (user != null && password == null) {
            password = ANY_PASSWORD;
        }
        int port = url.getPort() < 1 ? DEFAULT_PORT : url.getPort();
        return new Settings(host, port, tls, user, password, first(name, user), replica);
    }

    private static MisoException.Setting noUrl() {
        return new MisoException.Setting(
                "MISO_URL", "MISO_URL (or the url) is no address of a node, expected redis://FUNCTION:-@HOST:6379");
    }

    private static String decoded(String part) {
        return URLDecoder.decode(part.replace("+", "%2B"), StandardCharsets.UTF_8);
    }

    static String first(String... values) {
        for (String value : values) {
            if (value != null && !value.isEmpty()) {
                return value;
            }
        }
        return null;
    }

    /** The id of a function's own object: the same on every node, and for programs written for the paper's SDK. */
    static String defaultId(String function) {
        try {
            byte[] text = first(function, "default").getBytes(StandardCharsets.UTF_8);
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(text));
        } catch (NoSuchAlgorithmException never) {
            throw new IllegalStateException("every Java has SHA-256", never);
        }
    }

    /** Without the password: settings stand in messages. */
    @Override
    public String toString() {
        return host + ":" + port;
    }
}
