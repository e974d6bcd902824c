package weir.models;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import weir.common.Json;

/** Tells a state over HTTP until its input ends: a file with what there is to tell, the folder of addresses. */
public final class State {
    private State() {}

    /** Listens. */
    public static void main(String[] args) throws Exception {
        Map<String, Object> told = Json.object(Files.readAllBytes(Path.of(args[0])));
        StateServer server = new StateServer(() -> told, Map.of("host", "127.0.0.1", "port", 0L), args[1]);
        System.out.println("listening");
        while (System.in.read() >= 0) {
            continue;
        }
        server.close();
    }
}
