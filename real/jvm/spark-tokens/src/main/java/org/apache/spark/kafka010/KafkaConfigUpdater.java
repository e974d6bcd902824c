package org.apache.spark.kafka010;

import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import scala.Option;
import scala.jdk.javaapi.CollectionConverters;

/** Properties of a client, being put together. Nobody signs in: what would need that is refused. */
public final class KafkaConfigUpdater {
    private static final String POLLS = "weir.polls";
    private static final String INTERCEPTORS = "interceptor.classes";
    private static final String PROTOCOL = "security.protocol";
    private static final Set<String> OPEN = Set.of("PLAINTEXT", "SSL");

    private final String module;
    private final Map<String, Object> properties;

    /**
     * Begins with properties.
     *
     * @param module Whose they are: "executor" of an executor's consumer.
     * @param given They, not changed.
     */
    public KafkaConfigUpdater(String module, scala.collection.immutable.Map<String, Object> given) {
        this.module = module;
        properties = new HashMap<>(CollectionConverters.asJava(given));
    }

    /** Sets one. */
    public KafkaConfigUpdater set(String key, Object value) {
        properties.put(key, value);
        return this;
    }

    /** Sets one that is not set yet. */
    public KafkaConfigUpdater setIfUnset(String key, Object value) {
        properties.putIfAbsent(key, value);
        return this;
    }

    /** Refuses what has to sign in. */
    public KafkaConfigUpdater setAuthenticationConfigIfNeeded() {
        return setAuthenticationConfigIfNeeded(Option.empty());
    }

    /** Refuses what has to sign in; there is no cluster with tokens. */
    public KafkaConfigUpdater setAuthenticationConfigIfNeeded(Option<KafkaTokenClusterConf> none) {
        String protocol = Objects.toString(properties.getOrDefault(PROTOCOL, "PLAINTEXT"));
        if (!OPEN.contains(protocol)) {
            throw new IllegalArgumentException(PROTOCOL + " " + protocol + ": the engine spark has no SASL here");
        }
        for (String key : properties.keySet()) {
            if (key.startsWith("sasl.")) {
                throw new IllegalArgumentException(key + ": the engine spark has no SASL here");
            }
        }
        return this;
    }

    /** The properties. */
    public Map<String, Object> build() {
        Object polls = properties.remove(POLLS);
        if (polls != null && module.equals("executor")) {
            properties.put(INTERCEPTORS, polls);
        }
        return properties;
    }
}
