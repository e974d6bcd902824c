package weir.common;

import java.util.Map;
import java.util.function.DoubleSupplier;
import org.apache.kafka.common.Metric;
import org.apache.kafka.common.MetricName;

/** A client's own counts. */
public final class Metrics {
    private Metrics() {}

    /** A count of a client's, by group and name, over everything it does. */
    public static DoubleSupplier of(Map<MetricName, ? extends Metric> metrics, String group, String name) {
        for (Map.Entry<MetricName, ? extends Metric> each : metrics.entrySet()) {
            MetricName key = each.getKey();
            if (key.group().equals(group) && key.name().equals(name) && !key.tags().containsKey("topic")) {
                Metric metric = each.getValue();
                return () -> ((Number) metric.metricValue()).doubleValue();
            }
        }
        throw new IllegalStateException("the client has no count " + name);
    }
}
