import io.lettuce.core.RedisURI;
import io.lettuce.core.api.StatefulRedisConnection;
import io.lettuce.core.api.sync.RedisCommands;
import io.lettuce.core.codec.StringCodec;
import io.lettuce.core.output.NestedMultiOutput;
import io.lettuce.core.protocol.AsyncCommand;
import io.lettuce.core.protocol.Command;
import io.lettuce.core.protocol.CommandArgs;
import io.lettuce.core.protocol.ProtocolKeyword;
import io.lettuce.core.protocol.ProtocolVersion;
import io.lettuce.core.pubsub.RedisPubSubAdapter;
import java.io.BufferedReader;
import java.io.File;
import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.TrustManagerFactory;
import redis.clients.jedis.AbstractPipeline;
import redis.clients.jedis.AbstractTransaction;
import redis.clients.jedis.BuilderFactory;
import redis.clients.jedis.CommandArguments;
import redis.clients.jedis.CommandObject;
import redis.clients.jedis.DefaultJedisClientConfig;
import redis.clients.jedis.HostAndPort;
import redis.clients.jedis.JedisPubSub;
import redis.clients.jedis.RedisClient;
import redis.clients.jedis.RedisProtocol;

/** Jedis and Lettuce, by URL: the argument says which. */
public class Driver {
    interface Client {
        Object open(String url, String protocol) throws Exception;

        Object call(String[] words) throws Exception;

        int run(List<String[]> lines, boolean atomic) throws Exception;

        void listen(String channel) throws Exception;
    }

    static final LinkedBlockingQueue<String> MESSAGES = new LinkedBlockingQueue<>();

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** Certificates in PEM form. */
    static Certificate certificate(String file) throws Exception {
        try (FileInputStream input = new FileInputStream(file)) {
            return CertificateFactory.getInstance("X.509").generateCertificate(input);
        }
    }

    /** The TLS of the environment: the CA that is trusted, and a certificate of the client's own if there is one. */
    static SSLContext encrypted() throws Exception {
        KeyStore trusted = KeyStore.getInstance("PKCS12");
        trusted.load(null, null);
        trusted.setCertificateEntry("ca", certificate(System.getenv("TLS_CA")));
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(trusted);
        KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        KeyStore own = KeyStore.getInstance("PKCS12");
        own.load(null, null);
        if (System.getenv("TLS_CERT") != null) {
            String pem = Files.readString(Path.of(System.getenv("TLS_KEY")));
            byte[] key = Base64.getMimeDecoder().decode(pem.replaceAll("-----[A-Z ]+-----", ""));
            Certificate[] chain = {certificate(System.getenv("TLS_CERT"))};
            var secret = KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(key));
            own.setKeyEntry("own", secret, new char[0], chain);
        }
        keys.init(own, new char[0]);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
        return context;
    }

    static final class OfJedis implements Client {
        private RedisClient client;

        @Override
        public Object open(String url, String protocol) throws Exception {
            if (System.getenv("TLS_CA") == null) {
                client = RedisClient.create(url + "?protocol=" + protocol);
                return client.ping();
            }
            URI parts = URI.create(url);
            String[] login = parts.getUserInfo().split(":", 2);
            SSLParameters checked = new SSLParameters();
            checked.setEndpointIdentificationAlgorithm("HTTPS");
            var config =
                    DefaultJedisClientConfig.builder()
                            .user(login[0])
                            .password(login[1])
                            .protocol(protocol.equals("3") ? RedisProtocol.RESP3 : RedisProtocol.RESP2)
                            .ssl(true)
                            .sslSocketFactory(encrypted().getSocketFactory())
                            .sslParameters(checked)
                            .build();
            var address = new HostAndPort(parts.getHost(), parts.getPort());
            client = RedisClient.builder().hostAndPort(address).clientConfig(config).build();
            return client.ping();
        }

        static CommandArguments arguments(String[] words) {
            CommandArguments line = new CommandArguments(() -> bytes(words[0]));
            Arrays.stream(words).skip(1).forEach(line::add);
            return line;
        }

        static CommandObject<Object> raw(String[] words) {
            return new CommandObject<>(arguments(words), BuilderFactory.RAW_OBJECT);
        }

        @Override
        public Object call(String[] words) {
            return client.executeCommand(arguments(words));
        }

        @Override
        public int run(List<String[]> lines, boolean atomic) {
            if (atomic) {
                try (AbstractTransaction transaction = client.multi()) {
                    lines.forEach(words -> transaction.executeCommand(raw(words)));
                    return transaction.exec().size();
                }
            }
            try (AbstractPipeline pipeline = client.pipelined()) {
                lines.forEach(words -> pipeline.executeCommand(raw(words)));
                pipeline.sync();
                return lines.size();
            }
        }

        @Override
        public void listen(String channel) throws Exception {
            CountDownLatch ready = new CountDownLatch(1);
            JedisPubSub listener =
                    new JedisPubSub() {
                        @Override
                        public void onSubscribe(String name, int count) {
                            ready.countDown();
                        }

                        @Override
                        public void onMessage(String name, String message) {
                            MESSAGES.add(message);
                        }
                    };
            Thread thread = new Thread(() -> client.subscribe(listener, channel));
            thread.setDaemon(true);
            thread.start();
            ready.await(5, TimeUnit.SECONDS);
        }
    }

    /** Its output for any reply knows no boolean of RESP3. */
    static final class Flagged extends NestedMultiOutput<String, String> {
        private Boolean flag;

        Flagged() {
            super(StringCodec.UTF8);
        }

        @Override
        public void set(boolean value) {
            flag = value;
        }
    }

    static final class OfLettuce implements Client {
        private io.lettuce.core.RedisClient client;
        private StatefulRedisConnection<String, String> connection;

        @Override
        public Object open(String url, String protocol) {
            client = io.lettuce.core.RedisClient.create(RedisURI.create(url));
            ProtocolVersion version = protocol.equals("3") ? ProtocolVersion.RESP3 : ProtocolVersion.RESP2;
            boolean reconnect = System.getenv("CAREFUL") == null;
            var tls = io.lettuce.core.SslOptions.builder();
            if (System.getenv("TLS_CA") != null) {
                tls.trustManager(new File(System.getenv("TLS_CA")));
            }
            if (System.getenv("TLS_CERT") != null) {
                char[] none = null;
                tls.keyManager(new File(System.getenv("TLS_CERT")), new File(System.getenv("TLS_KEY")), none);
            }
            client.setOptions(
                    io.lettuce.core.ClientOptions.builder()
                            .sslOptions(tls.build())
                            .protocolVersion(version)
                            .autoReconnect(reconnect)
                            .build());
            connection = client.connect();
            return connection.sync().ping();
        }

        private AsyncCommand<String, String, List<Object>> send(String[] words) {
            CommandArgs<String, String> args = new CommandArgs<>(StringCodec.UTF8);
            Arrays.stream(words).skip(1).forEach(args::add);
            ProtocolKeyword verb =
                    new ProtocolKeyword() {
                        @Override
                        public byte[] getBytes() {
                            return bytes(words[0]);
                        }

                        @Override
                        public String toString() {
                            return words[0];
                        }
                    };
            var command = new AsyncCommand<>(new Command<>(verb, new Flagged(), args));
            connection.dispatch(command);
            return command;
        }

        @Override
        public Object call(String[] words) throws Exception {
            var command = send(words);
            List<Object> reply = command.get(10, TimeUnit.SECONDS);
            Boolean flag = ((Flagged) command.getOutput()).flag;
            if (flag != null) {
                return flag;
            }
            return reply != null && reply.size() == 1 ? reply.get(0) : reply;
        }

        @Override
        public int run(List<String[]> lines, boolean atomic) throws Exception {
            RedisCommands<String, String> sync = connection.sync();
            if (atomic) {
                sync.multi();
            }
            List<AsyncCommand<String, String, List<Object>>> sent = new ArrayList<>();
            lines.forEach(words -> sent.add(send(words)));
            if (atomic) {
                return sync.exec().size();
            }
            for (var each : sent) {
                each.get(10, TimeUnit.SECONDS);
            }
            return sent.size();
        }

        @Override
        public void listen(String channel) {
            var listener = client.connectPubSub();
            listener.addListener(
                    new RedisPubSubAdapter<>() {
                        @Override
                        public void message(String name, String message) {
                            MESSAGES.add(message);
                        }
                    });
            listener.sync().subscribe(channel);
        }
    }

    static String shown(Object value) {
        if (value instanceof byte[] text) {
            return new String(text, StandardCharsets.UTF_8);
        }
        return String.valueOf(value).replaceAll("\\s+", " ");
    }

    public static void main(String[] args) throws Exception {
        Client client = args[0].equals("lettuce") ? new OfLettuce() : new OfJedis();
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        List<String[]> queued = new ArrayList<>();
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            String[] parts = line.split("\t");
            String[] words = Arrays.copyOfRange(parts, 1, parts.length);
            try {
                Object value = null;
                switch (parts[0]) {
                    case "open" -> value = client.open(words[0], words[1]);
                    case "call" -> value = client.call(words);
                    case "queue" -> queued.add(words);
                    case "pipeline", "multi" -> {
                        List<String[]> lines = queued;
                        queued = new ArrayList<>();
                        value = client.run(lines, parts[0].equals("multi"));
                    }
                    case "listen" -> client.listen(words[0]);
                    default -> value = MESSAGES.poll(5, TimeUnit.SECONDS);
                }
                String kind = value == null ? "null" : value.getClass().getSimpleName();
                System.out.println("ok\t" + kind + "\t" + shown(value));
            } catch (Exception error) {
                Throwable cause = error.getCause() == null ? error : error.getCause();
                System.out.println("error\t" + cause.getClass().getSimpleName() + ": " + shown(cause.getMessage()));
            }
        }
        System.exit(0);
    }
}
