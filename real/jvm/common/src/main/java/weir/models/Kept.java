package weir.models;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.List;

/** Where a worker keeps its store's state. */
interface Kept {
    /** Keeps a state in the place of the one of that name before. */
    void write(String key, byte[] state) throws Exception;

    /** Waits for what is under way. */
    void flush() throws Exception;

    /** What was kept. */
    List<byte[]> read() throws Exception;

    /** Lets go of it. */
    void close();

    /** A file, written beside and renamed: a death leaves the one before. */
    record Snapshot(Path path) implements Kept {
        @Override
        public void write(String key, byte[] state) throws IOException {
            Path beside = path.resolveSibling("." + path.getFileName() + ".tmp");
            try (FileChannel file =
                    FileChannel.open(
                            beside, StandardOpenOption.CREATE, StandardOpenOption.TRUNCATE_EXISTING, StandardOpenOption.WRITE)) {
                ByteBuffer left = ByteBuffer.wrap(state);
                while (left.hasRemaining()) {
                    file.write(left);
                }
                file.force(true);
            }
            Files.move(beside, path, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        }

        @Override
        public void flush() {}

        @Override
        public List<byte[]> read() throws IOException {
            return Files.exists(path) ? List.of(Files.readAllBytes(path)) : List.of();
        }

        @Override
        public void close() {}
    }
}
