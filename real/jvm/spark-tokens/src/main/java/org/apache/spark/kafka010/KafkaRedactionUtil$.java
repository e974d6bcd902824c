package org.apache.spark.kafka010;

import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.regex.Pattern;
import scala.Tuple2;
import scala.collection.immutable.Seq;
import scala.jdk.javaapi.CollectionConverters;

/** Properties as they may be logged. The name is that of a Scala object's class. */
public final class KafkaRedactionUtil$ {
    public static final KafkaRedactionUtil$ MODULE$ = new KafkaRedactionUtil$();

    private static final String BLANK = "*********(redacted)";
    private static final Pattern SECRET =
            Pattern.compile("secret|password|token|credential|jaas|access[._-]?key|keystore\\.key", Pattern.CASE_INSENSITIVE);

    private KafkaRedactionUtil$() {}

    /** The same with secrets blanked: those whose name, or whose text, tells so. */
    public Seq<Tuple2<String, Object>> redactParams(Seq<Tuple2<String, Object>> properties) {
        List<Tuple2<String, Object>> found = new ArrayList<>();
        for (Tuple2<String, Object> each : CollectionConverters.asJava(properties)) {
            String text = Objects.toString(each._2());
            boolean secret = SECRET.matcher(each._1()).find() || SECRET.matcher(text).find();
            found.add(secret ? new Tuple2<>(each._1(), BLANK) : each);
        }
        return CollectionConverters.asScala(found).toList();
    }
}
