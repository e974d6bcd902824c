package weir.spark;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.stream.Stream;
import weir.common.Json;

/** What a query has committed: nothing of it is with the broker, its checkpoint tells. */
final class Committed {
    private Committed() {}

    /** The position of each partition after the last whole batch. */
    @SuppressWarnings("unchecked")
    static Map<String, Object> positions(Path checkpoint, String topic) throws IOException {
        OptionalLong last;
        Path commits = checkpoint.resolve("commits");
        if (!Files.isDirectory(commits)) {
            return Map.of();
        }
        try (Stream<Path> files = Files.list(commits)) {
            last =
                    files.map(path -> path.getFileName().toString())
                            .filter(name -> name.matches("\\d+"))
                            .mapToLong(Long::parseLong)
                            .max();
        }
        if (last.isEmpty()) {
            return Map.of();
        }
        // A version, what the batch was planned with, then a line a source.
        List<String> lines = Files.readAllLines(checkpoint.resolve("offsets").resolve(Long.toString(last.getAsLong())));
        Map<String, Object> topics = Json.object(lines.get(2).getBytes(StandardCharsets.UTF_8));
        return (Map<String, Object>) topics.getOrDefault(topic, Map.of());
    }
}
