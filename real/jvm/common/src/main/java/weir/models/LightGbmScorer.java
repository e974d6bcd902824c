package weir.models;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import weir.common.Scorer;

/**
 * LightGBM's text, read and scored here as in `real/model_stream/lightgbm_text.py`: LightGBM's own reader trusts its
 * input and could end the process. Numerical splits, missing values and the objectives below; the rest is refused.
 */
public final class LightGbmScorer implements Scorer {
    private static final int MOST_TREES = 100_000;
    private static final int MOST_LEAVES = 1_000_000;
    private static final int MOST_FEATURES = 1_000_000;
    private static final int CATEGORICAL = 1;
    private static final int DEFAULT_LEFT = 2;
    private static final double ZERO = 1e-35; // LightGBM's: what is nearer to 0 counts as 0
    private static final int ZERO_IS_MISSING = 1;
    private static final int NAN_IS_MISSING = 2;
    private static final Set<String> SIGMOID = Set.of("binary", "cross_entropy", "multiclassova");
    private static final Set<String> EXPONENTIAL = Set.of("poisson", "gamma", "tweedie");
    private static final Set<String> RAW =
            Set.of("none", "regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg", "custom");

    private record Tree(int[] feature, double[] threshold, int[] decision, int[] left, int[] right, double[] value) {
        double leaf(float[] values, int from) {
            int node = feature.length == 0 ? -1 : 0;
            while (node >= 0) {
                double x = values[from + feature[node]];
                int missing = decision[node] >> 2 & 3;
                if (Double.isNaN(x) && missing != NAN_IS_MISSING) {
                    x = 0;
                }
                boolean absent =
                        missing == ZERO_IS_MISSING && -ZERO <= x && x <= ZERO || missing == NAN_IS_MISSING && Double.isNaN(x);
                boolean goLeft = absent ? (decision[node] & DEFAULT_LEFT) != 0 : x <= threshold[node];
                node = goLeft ? left[node] : right[node];
            }
            return value[~node];
        }
    }

    private final List<Tree> trees = new ArrayList<>();
    private final int features;
    private final int outputs;
    private final String objective;
    private final boolean average;
    private double sigmoid = 1;

    /** Reads a file. */
    public LightGbmScorer(byte[] data) throws LoadException {
        for (byte each : data) {
            if (each < 0) {
                throw refused("it is not text");
            }
        }
        List<String> lines = new String(data, StandardCharsets.US_ASCII).lines().toList();
        if (lines.isEmpty() || !lines.get(0).strip().equals("tree")) {
            throw refused("it does not begin with 'tree'");
        }
        int end = lines.indexOf("end of trees");
        if (end < 0) {
            throw refused("it ends before 'end of trees'");
        }
        List<Map<String, String>> blocks = blocks(lines.subList(1, end));
        Map<String, String> head = blocks.get(0);
        features = count(head, "max_feature_idx", MOST_FEATURES) + 1;
        outputs = count(head, "num_tree_per_iteration", 10_000);
        String[] words = head.getOrDefault("objective", "regression").strip().split("\\s+");
        objective = words[0];
        boolean known = SIGMOID.contains(objective) || EXPONENTIAL.contains(objective) || RAW.contains(objective);
        if (!known && !objective.equals("multiclass") || List.of(words).contains("sqrt")) {
            throw refused("objective '" + String.join(" ", words) + "' is not taken");
        }
        for (String word : words) {
            if (word.startsWith("sigmoid:")) {
                sigmoid = number(word.substring("sigmoid:".length()), "sigmoid");
            }
        }
        average = head.containsKey("average_output");
        int found = blocks.size() - 1;
        if (outputs < 1 || found % outputs != 0 || found > MOST_TREES) {
            throw refused(found + " trees for " + outputs + " outputs");
        }
        for (Map<String, String> block : blocks.subList(1, blocks.size())) {
            trees.add(tree(block));
        }
    }

    private static LoadException refused(String why) {
        return new LoadException("not LightGBM's text: " + why);
    }

    /** The head, then a block a tree: key=value, a bare word with an empty value. */
    private static List<Map<String, String>> blocks(List<String> lines) {
        List<Map<String, String>> found = new ArrayList<>(List.of(new HashMap<>()));
        for (String line : lines) {
            int at = line.indexOf('=');
            String key = at < 0 ? line : line.substring(0, at);
            if (key.equals("Tree")) {
                found.add(new HashMap<>());
            } else if (!line.isBlank()) {
                found.get(found.size() - 1).put(key.strip(), at < 0 ? "" : line.substring(at + 1));
            }
        }
        return found;
    }

    private static int count(Map<String, String> block, String key, int most) throws LoadException {
        String text = block.get(key);
        try {
            int number = Integer.parseInt(text == null ? "" : text.strip());
            if (number >= 0 && number <= most) {
                return number;
            }
        } catch (NumberFormatException error) {
            // told below
        }
        throw refused(key + ": a whole number from 0 to " + most + ", not '" + text + "'");
    }

    private static double number(String word, String key) throws LoadException {
        String plain = word.toLowerCase().replaceFirst("^([+-]?)inf(inity)?$", "$1Infinity").replaceFirst("^[+-]?nan$", "NaN");
        try {
            return Double.parseDouble(plain);
        } catch (NumberFormatException error) {
            throw refused(key + ": '" + word + "' is no number");
        }
    }

    private static double[] numbers(Map<String, String> block, String key, int count) throws LoadException {
        String text = block.getOrDefault(key, "").strip();
        String[] words = text.isEmpty() ? new String[0] : text.split("\\s+");
        if (words.length != count) {
            throw refused(key + ": " + words.length + " values, expected " + count);
        }
        double[] found = new double[count];
        for (int i = 0; i < count; i++) {
            found[i] = number(words[i], key);
        }
        return found;
    }

    private static int[] integers(Map<String, String> block, String key, int count, int low, int high) throws LoadException {
        double[] read = numbers(block, key, count);
        int[] found = new int[count];
        for (int i = 0; i < count; i++) {
            if (!(read[i] == Math.rint(read[i]) && read[i] >= low && read[i] <= high)) {
                throw refused(key + ": whole numbers from " + low + " to " + high);
            }
            found[i] = (int) read[i];
        }
        return found;
    }

    private Tree tree(Map<String, String> block) throws LoadException {
        int leaves = count(block, "num_leaves", MOST_LEAVES);
        if (leaves < 1) {
            throw refused("a tree without leaves");
        }
        String linear = block.getOrDefault("is_linear", "0").strip();
        if (!block.getOrDefault("num_cat", "0").strip().equals("0") || !linear.isEmpty() && !linear.equals("0")) {
            throw refused("categorical splits and linear leaves are not taken");
        }
        int inner = leaves - 1;
        double[] value = numbers(block, "leaf_value", leaves);
        for (double each : value) {
            if (!Double.isFinite(each)) {
                throw refused("leaf_value: a value is not finite");
            }
        }
        if (inner == 0) {
            return new Tree(new int[0], new double[0], new int[0], new int[0], new int[0], value);
        }
        int[] decision = integers(block, "decision_type", inner, 0, 15);
        for (int each : decision) {
            if ((each & CATEGORICAL) != 0 || (each >> 2 & 3) > NAN_IS_MISSING) {
                throw refused("decision_type: categorical splits are not taken");
            }
        }
        int[] left = integers(block, "left_child", inner, -leaves, inner - 1);
        int[] right = integers(block, "right_child", inner, -leaves, inner - 1);
        for (int node = 0; node < inner; node++) {
            if (left[node] >= 0 && left[node] <= node || right[node] >= 0 && right[node] <= node) {
                throw refused("a tree that goes in circles"); // children are written after their parents
            }
        }
        int[] feature = integers(block, "split_feature", inner, 0, features - 1);
        return new Tree(feature, numbers(block, "threshold", inner), decision, left, right, value);
    }

    @Override
    public float[] score(float[] values, int points) {
        int width = values.length / points;
        if (width < features) {
            throw new IllegalArgumentException(width + " values, the model has " + features);
        }
        float[] found = new float[points * outputs];
        double[] raw = new double[outputs];
        for (int point = 0; point < points; point++) {
            Arrays.fill(raw, 0);
            for (int i = 0; i < trees.size(); i++) {
                raw[i % outputs] += trees.get(i).leaf(values, point * width);
            }
            if (average && !trees.isEmpty()) {
                for (int k = 0; k < outputs; k++) {
                    raw[k] /= trees.size() / outputs;
                }
            }
            transform(raw);
            for (int k = 0; k < outputs; k++) {
                found[point * outputs + k] = (float) raw[k];
            }
        }
        return found;
    }

    private void transform(double[] raw) {
        if (objective.equals("multiclass")) {
            double top = Double.NEGATIVE_INFINITY;
            for (double each : raw) {
                top = Math.max(top, each);
            }
            double total = 0;
            for (int k = 0; k < raw.length; k++) {
                raw[k] = Math.exp(raw[k] - top);
                total += raw[k];
            }
            for (int k = 0; k < raw.length; k++) {
                raw[k] /= total;
            }
            return;
        }
        for (int k = 0; k < raw.length; k++) {
            if (SIGMOID.contains(objective)) {
                raw[k] = 1 / (1 + Math.exp(-sigmoid * raw[k]));
            } else if (EXPONENTIAL.contains(objective)) {
                raw[k] = Math.exp(raw[k]);
            }
        }
    }
}
