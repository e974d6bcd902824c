package weir.models;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import weir.common.OnnxScorer;
import weir.common.Scorer;

/**
 * From a model's bytes to something that scores, by format, without running anything that a model brings. A new format
 * is a line here.
 */
final class Loaders {
    /** A model is at most so large. */
    static final int MODEL_BYTES = 64 << 20;

    private static final Map<String, Loader> BY_FORMAT = new LinkedHashMap<>();

    static {
        BY_FORMAT.put("onnx", Loaders::onnx);
        BY_FORMAT.put("pmml", PmmlScorer::new);
    }

    private Loaders() {}

    /** Bytes to scorer; it throws whatever it likes, which is a load that failed. */
    @FunctionalInterface
    interface Loader {
        Scorer load(byte[] data) throws Exception;
    }

    private static Scorer onnx(byte[] data) throws Exception {
        OnnxRules.check(data);
        return new OnnxScorer(data);
    }

    /** Loads a model, by value or by reference. */
    static Loaded load(Descriptor message, List<String> roots) throws LoadException {
        String name = "model '" + message.name() + "': ";
        Loader loader = BY_FORMAT.get(message.format());
        if (loader == null) {
            String known = String.join(", ", BY_FORMAT.keySet());
            throw new LoadException(name + "unknown format '" + message.format() + "'; there are " + known);
        }
        try {
            byte[] data = message.data();
            if (data == null) {
                data = Locations.read(message.location(), roots, MODEL_BYTES);
            }
            if (data.length > MODEL_BYTES) {
                throw new LoadException(data.length + " bytes, more than " + MODEL_BYTES);
            }
            Descriptor kept =
                    new Descriptor(
                            message.name(), message.description(), message.type(), message.format(), data, null, message.version());
            return new Loaded(kept, loader.load(data));
        } catch (LoadException error) {
            throw new LoadException(name + error.getMessage());
        } catch (Exception | StackOverflowError | LinkageError error) {
            throw new LoadException(name + error);
        }
    }
}
