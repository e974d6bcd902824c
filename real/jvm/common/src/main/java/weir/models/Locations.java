package weir.models;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/** Models by reference: files, and only from below configured roots. Links are followed before paths are compared. */
final class Locations {
    private Locations() {}

    /** Copies a model that is a folder, its files only; a link that leads out of the roots is refused. */
    static void folder(String location, List<String> roots, int maxBytes, Path into) throws LoadException {
        Path base = path(location);
        try (Stream<Path> all = Files.isDirectory(base) ? Files.walk(base) : Stream.empty()) {
            int left = maxBytes;
            List<Path> files = all.filter(each -> !Files.isDirectory(each)).sorted().toList();
            if (files.isEmpty()) {
                throw new LoadException("'" + location + "' is no folder with a model in it");
            }
            for (Path each : files) {
                byte[] data = read(each.toString(), roots, left);
                left -= data.length;
                Path target = into.resolve(base.relativize(each).toString());
                Files.createDirectories(target.getParent());
                Files.write(target, data);
            }
        } catch (IOException | UncheckedIOException error) {
            throw new LoadException("'" + location + "' cannot be copied: " + error);
        }
    }

    /** A model's file. */
    static byte[] read(String location, List<String> roots, int maxBytes) throws LoadException {
        Path path = path(location);
        boolean below = false;
        for (String root : roots) {
            if (!root.contains("://") || root.startsWith("file:")) {
                Path base = path(root);
                below |= path.startsWith(base) && !path.equals(base);
            }
        }
        if (!below) {
            throw new LoadException("'" + location + "' does not lie below a root of models");
        }
        try (InputStream file = Files.newInputStream(path)) {
            byte[] data = file.readNBytes(maxBytes + 1);
            if (data.length > maxBytes) {
                throw new LoadException("'" + location + "' is larger than " + maxBytes + " bytes");
            }
            return data;
        } catch (IOException error) {
            throw new LoadException("'" + location + "' cannot be read: " + error);
        }
    }

    /** A location's path, its links followed; what is not there yet stays as it is, below a parent that is followed. */
    private static Path path(String location) throws LoadException {
        try {
            Path path;
            if (location.contains("://")) {
                URI uri = URI.create(location);
                if (!"file".equals(uri.getScheme())) {
                    throw new LoadException("'" + location + "': models are read from files here, not from " + uri.getScheme());
                }
                path = Path.of(new URI("file", null, uri.getPath(), null));
            } else {
                path = Path.of(location);
            }
            Path whole = path.toAbsolutePath().normalize();
            return Files.exists(whole) ? whole.toRealPath() : whole;
        } catch (IllegalArgumentException | java.net.URISyntaxException | IOException error) {
            throw new LoadException("'" + location + "' is no location: " + error.getMessage());
        }
    }
}
