package weir.models;

import java.nio.file.Path;
import java.util.Set;
import weir.common.Scorer;

/**
 * Formats of models from a topic whose reader's jars are a part of their own; found by
 * `META-INF/services/weir.models.Format`. Nothing that a model brings is run by loading it. Whatever is thrown is a load
 * that failed.
 */
public interface Format {
    /** Words of formats that are bytes. */
    Set<String> files();

    /** Words of formats that are folders; they come by reference. */
    Set<String> folders();

    /** Loads what the reader needs, so that the first model does not wait for it. */
    void prepare() throws Exception;

    /** From bytes. */
    Scorer load(String format, byte[] data) throws Exception;

    /** From a folder; it is gone once this returns. */
    Scorer load(String format, Path folder) throws Exception;
}
