package org.apache.spark.kafka010;

import java.util.Map;
import org.apache.spark.SparkConf;
import scala.Option;

/** Tokens; there are none. The name is that of a Scala object's class. */
public final class KafkaTokenUtil$ {
    public static final KafkaTokenUtil$ MODULE$ = new KafkaTokenUtil$();

    private KafkaTokenUtil$() {}

    /** The cluster whose tokens these brokers take: none. */
    public Option<KafkaTokenClusterConf> findMatchingTokenClusterConfig(SparkConf conf, String brokers) {
        return Option.empty();
    }

    /** Whether a client's token is out of date: it has none. */
    public boolean needTokenUpdate(Map<String, Object> properties, Option<KafkaTokenClusterConf> cluster) {
        return false;
    }
}
