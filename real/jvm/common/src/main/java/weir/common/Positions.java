package weir.common;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;

/** Where the engine's group stands. */
public final class Positions {
    private static final long LIMIT_S = 10;

    private Positions() {}

    /** The committed position of each partition, as the broker has it. */
    public static Map<String, Object> committed(Control control) throws Exception {
        Map<String, Object> config = new LinkedHashMap<>(control.get("common"));
        config.put(AdminClientConfig.CLIENT_ID_CONFIG, "weir-positions");
        Map<String, Object> found = new LinkedHashMap<>();
        try (Admin admin = Admin.create(config)) {
            Map<TopicPartition, OffsetAndMetadata> positions =
                    admin.listConsumerGroupOffsets(control.<String>get("group"))
                            .partitionsToOffsetAndMetadata()
                            .get(LIMIT_S, TimeUnit.SECONDS);
            positions.forEach(
                    (partition, at) -> {
                        if (at != null) {
                            found.put(Integer.toString(partition.partition()), at.offset());
                        }
                    });
        }
        return found;
    }
}
