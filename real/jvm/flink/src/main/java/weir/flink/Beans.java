package weir.flink;

import java.lang.management.ManagementFactory;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.DoubleSupplier;
import javax.management.JMException;
import javax.management.MBeanServer;
import javax.management.ObjectName;

/** Counts that the Kafka clients keep of themselves, found by the client's name. */
final class Beans {
    private static final MBeanServer SERVER = ManagementFactory.getPlatformMBeanServer();

    private Beans() {}

    /** A count; 0 while the client is not there. */
    static DoubleSupplier count(String domain, String type, String client, String attribute) {
        ObjectName name = name(domain + ":type=" + type + ",client-id=" + client);
        return () -> {
            try {
                return ((Number) SERVER.getAttribute(name, attribute)).doubleValue();
            } catch (JMException gone) {
                return 0;
            }
        };
    }

    /** The partitions of a topic that each consumer fetches, by its client's name. */
    static Map<String, TreeSet<Integer>> fetched(String topic) {
        Map<String, TreeSet<Integer>> found = new TreeMap<>();
        String of = "kafka.consumer:type=consumer-fetch-manager-metrics,topic=" + topic + ",*";
        for (ObjectName each : SERVER.queryNames(name(of), null)) {
            String partition = each.getKeyProperty("partition");
            if (partition != null) {
                found.computeIfAbsent(each.getKeyProperty("client-id"), any -> new TreeSet<>())
                        .add(Integer.parseInt(partition));
            }
        }
        return found;
    }

    private static ObjectName name(String text) {
        try {
            return new ObjectName(text);
        } catch (JMException error) {
            throw new IllegalArgumentException(error);
        }
    }
}
