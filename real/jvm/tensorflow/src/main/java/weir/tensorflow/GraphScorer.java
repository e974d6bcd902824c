package weir.tensorflow;

import com.google.protobuf.InvalidProtocolBufferException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.tensorflow.Graph;
import org.tensorflow.Output;
import org.tensorflow.Result;
import org.tensorflow.SavedModelBundle;
import org.tensorflow.Session;
import org.tensorflow.ndarray.Shape;
import org.tensorflow.ndarray.buffer.DataBuffers;
import org.tensorflow.proto.ConfigProto;
import org.tensorflow.proto.GraphDef;
import org.tensorflow.proto.MetaGraphDef;
import org.tensorflow.proto.SavedModel;
import org.tensorflow.proto.SignatureDef;
import org.tensorflow.proto.TensorInfo;
import org.tensorflow.types.TFloat32;
import weir.common.Scorer;
import weir.models.LoadException;

/** A graph of one input and one output, on the thread that asks; its operators were looked at before TensorFlow was. */
final class GraphScorer implements Scorer {
    private static final String SERVE = "serve";
    private static final String FIRST = "serving_default";
    /** A negative number of threads between operators: the caller's own runs them. */
    private static final ConfigProto ONE =
            ConfigProto.newBuilder()
                    .setIntraOpParallelismThreads(1)
                    .setInterOpParallelismThreads(-1)
                    .putDeviceCount("GPU", 0)
                    .build();

    private final Session session;
    private final AutoCloseable owner;
    private final Output<?> feed;
    private final Output<?> fetch;
    private final long[] shape;

    private GraphScorer(Graph graph, Session session, AutoCloseable owner, String feed, String fetch) {
        this.session = session;
        this.owner = owner;
        this.feed = graph.outputOrThrow(feed);
        this.fetch = graph.outputOrThrow(fetch);
        Shape known = this.feed.shape();
        shape = known.isUnknown() ? new long[2] : known.asArray().clone();
        for (int i = 1; i < shape.length && shape.length > 2; i++) {
            if (shape[i] < 1) {
                throw new IllegalArgumentException("an input of shape " + known);
            }
        }
    }

    /** A frozen graph: its only placeholder is the input, the only node that no other reads the output. */
    static GraphScorer frozen(byte[] data) throws LoadException {
        GraphDef definition;
        try {
            definition = GraphDef.parseFrom(data);
        } catch (InvalidProtocolBufferException error) {
            throw new LoadException("not a TensorFlow graph: " + error.getMessage());
        }
        Rules.frozen(definition);
        String[] ends = Rules.ends(definition);
        Graph graph = new Graph();
        try {
            graph.importGraphDef(definition);
            Session session = new Session(graph, ONE);
            return new GraphScorer(
                    graph,
                    session,
                    () -> {
                        session.close();
                        graph.close();
                    },
                    ends[0] + ":0",
                    ends[1] + ":0");
        } catch (RuntimeException error) {
            graph.close();
            throw error;
        }
    }

    /** A SavedModel: the signature of its tag `serve` that has one input and one output. */
    static GraphScorer saved(Path folder) throws LoadException {
        SavedModel content;
        try {
            content = SavedModel.parseFrom(Files.readAllBytes(folder.resolve("saved_model.pb")));
        } catch (IOException error) {
            throw new LoadException("not a SavedModel: " + error);
        }
        List<MetaGraphDef> metas = new ArrayList<>();
        for (MetaGraphDef each : content.getMetaGraphsList()) {
            if (each.getMetaInfoDef().getTagsList().contains(SERVE)) {
                metas.add(each);
            }
        }
        if (metas.size() != 1) {
            throw new LoadException("a SavedModel with one graph for serving, not " + metas.size());
        }
        String[] ends = signature(metas.get(0).getSignatureDefMap());
        Rules.saved(metas.get(0), ends);
        SavedModelBundle bundle = SavedModelBundle.loader(folder.toString()).withTags(SERVE).withConfigProto(ONE).load();
        try {
            return new GraphScorer(bundle.graph(), bundle.session(), bundle, ends[0], ends[1]);
        } catch (RuntimeException error) {
            bundle.close();
            throw error;
        }
    }

    private static String[] signature(Map<String, SignatureDef> signatures) throws LoadException {
        List<String> names = new ArrayList<>(new TreeMap<>(signatures).keySet());
        if (names.remove(FIRST)) {
            names.add(0, FIRST);
        }
        for (String name : names) {
            SignatureDef found = signatures.get(name);
            if (!name.startsWith("__") && found.getInputsCount() == 1 && found.getOutputsCount() == 1) {
                TensorInfo source = found.getInputsMap().values().iterator().next();
                TensorInfo result = found.getOutputsMap().values().iterator().next();
                return new String[] {source.getName(), result.getName()};
            }
        }
        throw new LoadException("no signature of one input and one output");
    }

    @Override
    public float[] score(float[] values, int points) {
        shape[0] = points;
        if (shape.length == 2) {
            shape[1] = values.length / points;
        }
        try (TFloat32 input = TFloat32.tensorOf(Shape.of(shape), DataBuffers.of(values, true, false));
                Result result = session.runner().feed(feed, input).fetch(fetch).run()) {
            if (!(result.get(0) instanceof TFloat32 answer)) {
                throw new IllegalStateException("TensorFlow: the answer is not float32");
            }
            float[] found = new float[Math.toIntExact(answer.size())];
            answer.copyTo(DataBuffers.of(found, false, false));
            return found;
        }
    }

    @Override
    public void close() throws Exception {
        owner.close();
    }
}
