package weir.dl4j;

import java.nio.file.Path;
import java.util.Set;
import weir.common.Scoring;
import weir.common.Scorer;

/** Keras files (the layout of Keras 2): by DL4J, or their matrices by ND4J alone. */
public final class Keras implements Scoring {
    /** For the service loader. */
    public Keras() {}

    @Override
    public Set<String> words() {
        return Set.of("dl4j", "nd4j");
    }

    @Override
    public Scorer load(String word, Path path, long[] shape) throws Exception {
        return word.equals("dl4j") ? new Dl4jScorer(path, shape) : new Nd4jScorer(path);
    }
}
