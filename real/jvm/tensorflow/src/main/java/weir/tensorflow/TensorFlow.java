package weir.tensorflow;

import java.nio.file.Path;
import java.util.Set;
import weir.common.Scoring;
import weir.common.Scorer;
import weir.models.Format;

/** TensorFlow's models: a run's own SavedModel, and what comes from a topic. The same rules hold for both. */
public final class TensorFlow implements Scoring, Format {
    /** For the service loader. */
    public TensorFlow() {}

    @Override
    public Set<String> words() {
        return Set.of("tensorflow", "savedmodel");
    }

    @Override
    public Scorer load(String word, Path path, long[] shape) throws Exception {
        return GraphScorer.saved(path);
    }

    @Override
    public Set<String> files() {
        return Set.of("tensorflow");
    }

    @Override
    public Set<String> folders() {
        return Set.of("savedmodel");
    }

    @Override
    public void prepare() {
        org.tensorflow.TensorFlow.version();
    }

    @Override
    public Scorer load(String format, byte[] data) throws Exception {
        return GraphScorer.frozen(data);
    }

    @Override
    public Scorer load(String format, Path folder) throws Exception {
        return GraphScorer.saved(folder);
    }
}
