package weir.common;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.ServiceLoader;
import java.util.Set;

/**
 * A runtime whose jars are a part of their own: an engine has it where the harness put them on the class path, and finds
 * it by `META-INF/services/weir.common.Scoring`.
 */
public interface Scoring {
    /** The words of a scenario that mean it. */
    Set<String> words();

    /**
     * Loads a model's file.
     *
     * @param word Which of its words was asked for.
     * @param shape Of one point.
     */
    Scorer load(String word, Path path, long[] shape) throws Exception;

    /** The one of a word. */
    static Scoring of(String word) {
        List<String> known = new ArrayList<>();
        for (Scoring each : ServiceLoader.load(Scoring.class, Scoring.class.getClassLoader())) {
            if (each.words().contains(word)) {
                return each;
            }
            known.addAll(each.words());
        }
        throw new IllegalArgumentException("no runtime " + word + " on the class path; beside onnx and pmml there are " + known);
    }
}
