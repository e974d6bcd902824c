package weir.dl4j;

import java.nio.file.Path;
import org.deeplearning4j.nn.modelimport.keras.KerasModelImport;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import weir.common.Scorer;

/** A sequential Keras model by DL4J. */
final class Dl4jScorer implements Scorer {
    private final MultiLayerNetwork network;
    private final long[] shape;

    Dl4jScorer(Path path, long[] point) throws Exception {
        network = KerasModelImport.importKerasSequentialModelAndWeights(path.toString(), false);
        shape = new long[point.length + 1];
        System.arraycopy(point, 0, shape, 1, point.length);
    }

    @Override
    public float[] score(float[] values, int points) {
        shape[0] = points;
        try (INDArray input = Nd4j.create(values, shape, 'c')) {
            return network.output(input, false).reshape(-1).toFloatVector();
        }
    }

    @Override
    public void close() {
        network.close();
    }
}
