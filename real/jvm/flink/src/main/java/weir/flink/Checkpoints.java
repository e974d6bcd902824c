package weir.flink;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.Optional;
import java.util.stream.Stream;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.ExternalizedCheckpointRetention;
import org.apache.flink.configuration.StateRecoveryOptions;
import weir.common.Control;

/**
 * Checkpoints that outlive the process: one that is started in its place goes on from the last that is whole, where it
 * also finds the transactions that were to be committed with it.
 */
final class Checkpoints {
    private static final String PREFIX = "chk-";
    private static final String WHOLE = "_metadata";
    private static final int DEPTH = 3; // folder, job, checkpoint, file

    private Checkpoints() {}

    /** Keeps them in the run's folder, and starts from the last one there where the process is a restarted one. */
    static void keep(Configuration config, Control control) throws IOException {
        Path folder = Path.of(control.<String>get("checkpoints"));
        config.set(CheckpointingOptions.CHECKPOINT_STORAGE, "filesystem");
        config.set(CheckpointingOptions.CHECKPOINTS_DIRECTORY, folder.toUri().toString());
        config.set(
                CheckpointingOptions.EXTERNALIZED_CHECKPOINT_RETENTION,
                ExternalizedCheckpointRetention.RETAIN_ON_CANCELLATION);
        Optional<Path> last = control.flag("restarted") ? last(folder) : Optional.empty();
        last.ifPresent(path -> config.set(StateRecoveryOptions.SAVEPOINT_PATH, path.toUri().toString()));
    }

    /** The last checkpoint that is whole; a job that goes on from one counts on from its number. */
    private static Optional<Path> last(Path folder) throws IOException {
        if (!Files.isDirectory(folder)) {
            return Optional.empty(); // it was killed before its first
        }
        try (Stream<Path> files = Files.walk(folder, DEPTH)) {
            return files.filter(path -> path.getFileName().toString().equals(WHOLE))
                    .map(Path::getParent)
                    .filter(path -> path.getFileName().toString().startsWith(PREFIX))
                    .max(Comparator.comparingLong(Checkpoints::number));
        }
    }

    private static long number(Path checkpoint) {
        return Long.parseLong(checkpoint.getFileName().toString().substring(PREFIX.length()));
    }
}
