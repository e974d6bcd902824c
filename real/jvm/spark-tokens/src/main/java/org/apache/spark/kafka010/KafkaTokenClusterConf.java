package org.apache.spark.kafka010;

/** A cluster that gives tokens; there is none. */
public final class KafkaTokenClusterConf {
    private KafkaTokenClusterConf() {}
}
