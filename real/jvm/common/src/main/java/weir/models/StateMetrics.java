package weir.models;

import java.util.LinkedHashMap;
import java.util.Map;

/** What a worker tells of its models, in Prometheus' text format; the families of `real/model_stream/state_http.py`. */
final class StateMetrics {
    private static final Map<String, String> COUNTERS = new LinkedHashMap<>();

    static {
        COUNTERS.put("models_received", "Model messages read.");
        COUNTERS.put("loaded", "Models loaded.");
        COUNTERS.put("load_failures", "Models not taken: corrupt, of unknown format, missing.");
        COUNTERS.put("superseded", "Models that another replaced before a record came.");
        COUNTERS.put("swaps", "Models that took over.");
        COUNTERS.put("dropped_no_model", "Records of a type that had no model.");
        COUNTERS.put("bad", "Records that cannot be parsed.");
        COUNTERS.put("records", "Records handled.");
        COUNTERS.put("changelog_bytes", "Bytes of state written to the changelog.");
        COUNTERS.put("restored", "Models that a restart brought back.");
    }

    private final StringBuilder out = new StringBuilder();

    private StateMetrics() {}

    static String text(Map<String, Object> told) {
        StateMetrics all = new StateMetrics();
        String instance = told.get("instance").toString();
        COUNTERS.forEach(
                (key, words) -> {
                    if (told.get(key) instanceof Long value) {
                        all.head(key + "_total", "counter", words);
                        all.sample(key + "_total", value, "instance", instance);
                    }
                });
        all.models(told, instance, "usage", 1, "usage_total", "counter", "Records the current model scored.");
        all.models(told, instance, "total_ns", 1e-9, "score_seconds_total", "counter", "Time the current model scored.");
        all.models(told, instance, "since", 1e-3, "since_seconds", "gauge", "When it took over, epoch.");
        all.models(told, instance, "version", 1, "version", "gauge", "Its version.");
        all.models(told, instance, "min_ns", 1e-9, "score_min_seconds", "gauge", "Its shortest score.");
        all.models(told, instance, "max_ns", 1e-9, "score_max_seconds", "gauge", "Its longest score.");
        return all.out.toString();
    }

    private void models(
            Map<String, Object> told, String instance, String key, double unit, String name, String type, String words) {
        head("model_" + name, type, words);
        for (Map.Entry<?, ?> each : ((Map<?, ?>) told.get("types")).entrySet()) {
            Map<?, ?> model = (Map<?, ?>) each.getValue();
            String kind = each.getKey().toString();
            String[] labels = {"instance", instance, "type", kind, "model", model.get("name").toString()};
            sample("model_" + name, ((Long) model.get(key)) * unit, labels);
        }
    }

    private void head(String name, String type, String words) {
        out.append("# HELP weir_").append(name).append(' ').append(words).append('\n');
        out.append("# TYPE weir_").append(name).append(' ').append(type).append('\n');
    }

    /** A sample; names and values of its labels in turn. */
    private void sample(String name, double value, String... labels) {
        out.append("weir_").append(name);
        for (int i = 0; i < labels.length; i += 2) {
            String safe = labels[i + 1].replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n");
            out.append(i == 0 ? '{' : ',').append(labels[i]).append("=\"").append(safe).append('"');
        }
        out.append("} ").append(value).append('\n');
    }
}
