package weir.common;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/** TLS and SASL of clients, from the environment alone: no file that the harness writes holds a secret. */
final class Security {
    private static final String PREFIX = "WEIR_KAFKA_";
    private static final String MODULES = "org.apache.kafka.common.security.";

    private Security() {}

    /** Adds what the environment asks for to the properties of every client. */
    static void add(Map<String, Object> properties) throws IOException {
        String protocol = get("SECURITY_PROTOCOL", "PLAINTEXT");
        if (protocol.equals("PLAINTEXT")) {
            return;
        }
        properties.put("security.protocol", protocol);
        if (protocol.startsWith("SASL")) {
            String mechanism = get("SASL_MECHANISM", "PLAIN");
            String login = mechanism.equals("PLAIN") ? "plain.PlainLoginModule" : "scram.ScramLoginModule";
            properties.put("sasl.mechanism", mechanism);
            properties.put(
                    "sasl.jaas.config",
                    MODULES + login + " required username=" + quoted(get("SASL_USERNAME", ""))
                            + " password=" + quoted(get("SASL_PASSWORD", "")) + ";");
        }
        if (protocol.endsWith("SSL")) {
            tls(properties);
        }
    }

    private static void tls(Map<String, Object> properties) throws IOException {
        String ca = get("SSL_CA", "");
        if (!ca.isEmpty()) {
            properties.put("ssl.truststore.type", "PEM");
            properties.put("ssl.truststore.certificates", Files.readString(Path.of(ca)));
        }
        String certificate = get("SSL_CERTIFICATE", "");
        if (!certificate.isEmpty()) {
            properties.put("ssl.keystore.type", "PEM");
            properties.put("ssl.keystore.certificate.chain", Files.readString(Path.of(certificate)));
            properties.put("ssl.keystore.key", Files.readString(Path.of(get("SSL_KEY", ""))));
            String password = get("SSL_KEY_PASSWORD", "");
            if (!password.isEmpty()) {
                properties.put("ssl.key.password", password);
            }
        }
    }

    private static String quoted(String word) {
        return '"' + word.replace("\\", "\\\\").replace("\"", "\\\"") + '"';
    }

    private static String get(String name, String otherwise) {
        String found = System.getenv(PREFIX + name);
        return found == null || found.isEmpty() ? otherwise : found;
    }
}
