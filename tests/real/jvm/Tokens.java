import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.spark.kafka010.KafkaConfigUpdater;
import org.apache.spark.kafka010.KafkaRedactionUtil$;
import scala.Tuple2;
import scala.jdk.javaapi.CollectionConverters;

/** What the stand-ins for Spark's delegation tokens make of a client's properties, given as KEY=VALUE KEY=VALUE. */
public final class Tokens {
    public static void main(String[] args) {
        for (String arg : args) {
            told(arg.split(" "));
        }
    }

    private static void told(String[] pairs) {
        Map<String, Object> given = new HashMap<>();
        for (String each : pairs) {
            given.put(each.substring(0, each.indexOf('=')), each.substring(each.indexOf('=') + 1));
        }
        for (String module : List.of("executor", "source")) {
            try {
                Map<String, Object> made =
                        new KafkaConfigUpdater(module, scala.collection.immutable.Map.from(CollectionConverters.asScala(given)))
                                .set("set", 1)
                                .setIfUnset("set", 2)
                                .setAuthenticationConfigIfNeeded()
                                .build();
                System.out.println(module + " " + new java.util.TreeMap<>(made));
            } catch (IllegalArgumentException error) {
                System.out.println(module + " refused: " + error.getMessage());
            }
        }
        List<Tuple2<String, Object>> all =
                new java.util.TreeMap<>(given).entrySet().stream().map(e -> new Tuple2<>(e.getKey(), e.getValue())).toList();
        System.out.println(
                CollectionConverters.asJava(
                        KafkaRedactionUtil$.MODULE$.redactParams(CollectionConverters.asScala(all).toList())));
    }
}
