package weir.models;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import weir.common.Json;

/** Loads models as from a topic and answers points: points' file, count, then format and path of each; a line each. */
public final class Formats {
    private Formats() {}

    /** Says what each answers, or why it is not taken. */
    public static void main(String[] args) throws Exception {
        Loaders.prepare();
        byte[] raw = Files.readAllBytes(Path.of(args[0]));
        float[] points = new float[raw.length / 4];
        ByteBuffer.wrap(raw).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(points);
        int count = Integer.parseInt(args[1]);
        for (int i = 2; i < args.length; i += 2) {
            Path path = Path.of(args[i + 1]);
            boolean folder = args[i].equals("savedmodel");
            byte[] data = folder ? null : Files.readAllBytes(path);
            Descriptor message = new Descriptor("m", "", "wine", args[i], data, folder ? path.toString() : null, 1);
            Map<String, Object> said = new LinkedHashMap<>();
            try {
                Loaded found = Loaders.load(message, List.of(path.getParent().toString()));
                List<Object> answers = new ArrayList<>();
                for (float each : found.scorer().score(points, count)) {
                    answers.add((double) each);
                }
                said.put("answers", answers);
                found.close();
            } catch (LoadException refused) {
                said.put("refused", refused.getMessage());
            }
            System.out.println(Json.text(said));
        }
        Runtime.getRuntime().halt(0);
    }
}
