package weir.models;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.ServiceLoader;
import java.util.stream.Stream;
import weir.common.OnnxScorer;
import weir.common.Scorer;

/**
 * From a model's bytes to something that scores, by format, without running anything that a model brings. A new format
 * is a line here, or a {@link Format} in jars of its own.
 */
final class Loaders {
    /** A model is at most so large. */
    static final int MODEL_BYTES = 64 << 20;

    private static final Map<String, Loader> FILES = new LinkedHashMap<>();
    private static final Map<String, Format> FOLDERS = new LinkedHashMap<>();
    private static final List<Format> ADDED = new ArrayList<>();

    static {
        FILES.put("onnx", Loaders::onnx);
        FILES.put("pmml", PmmlScorer::new);
        FILES.put("lightgbm", LightGbmScorer::new);
        for (Format each : ServiceLoader.load(Format.class, Format.class.getClassLoader())) {
            ADDED.add(each);
            each.files().forEach(word -> FILES.put(word, data -> each.load(word, data)));
            each.folders().forEach(word -> FOLDERS.put(word, each));
        }
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

    /** Loads what loading needs, so that the first model does not wait for it. */
    static void prepare() throws Exception {
        OnnxScorer.prepare();
        PmmlScorer.prepare();
        for (Format each : ADDED) {
            each.prepare();
        }
    }

    /** Loads a model, by value or by reference. */
    static Loaded load(Descriptor message, List<String> roots) throws LoadException {
        String name = "model '" + message.name() + "': ";
        try {
            Loader loader = FILES.get(message.format());
            if (loader != null) {
                return file(message, roots, loader);
            }
            Format format = FOLDERS.get(message.format());
            if (format != null) {
                return folder(message, roots, format);
            }
        } catch (LoadException error) {
            throw new LoadException(name + error.getMessage());
        } catch (Exception | StackOverflowError | LinkageError error) {
            throw new LoadException(name + error);
        }
        List<String> known = new ArrayList<>(FILES.keySet());
        known.addAll(FOLDERS.keySet());
        throw new LoadException(
                name + "unknown format '" + message.format() + "'; there are " + String.join(", ", known));
    }

    private static Loaded file(Descriptor message, List<String> roots, Loader loader) throws Exception {
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
    }

    /** A folder's message stays by reference: it is read from there again after a restart. */
    private static Loaded folder(Descriptor message, List<String> roots, Format format) throws Exception {
        if (message.location() == null) {
            throw new LoadException("a " + message.format() + " is a folder: it comes by reference");
        }
        Path copy = Files.createTempDirectory("weir-model-");
        try {
            Locations.folder(message.location(), roots, MODEL_BYTES, copy);
            return new Loaded(message, format.load(message.format(), copy));
        } finally {
            try (Stream<Path> all = Files.walk(copy)) {
                for (Path each : all.sorted(Comparator.reverseOrder()).toList()) {
                    Files.delete(each);
                }
            }
        }
    }
}
