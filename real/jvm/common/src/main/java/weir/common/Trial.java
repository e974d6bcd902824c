package weir.common;

import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Before the load: each worker answers the trial inputs, so that the harness can compare the answers with the reference,
 * then goes on answering for a while, so that the first records of the load do not meet code that never ran.
 */
public final class Trial {
    private Trial() {}

    /** Answers the trial's inputs by every worker, in turn, into one file; frames are a length and so many bytes. */
    public static void run(Control control, Worker[] workers) throws Exception {
        if (!control.knows("trial_inputs")) {
            return; // models come from a topic: there is none yet
        }
        List<byte[]> inputs = read(Path.of(control.<String>get("trial_inputs")));
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (DataOutputStream out = new DataOutputStream(bytes)) {
            for (Worker worker : workers) {
                for (byte[] input : inputs) {
                    byte[] answer = worker.answer(input);
                    out.writeInt(answer.length);
                    out.write(answer);
                }
            }
        }
        Files.write(Path.of(control.<String>get("trial_answers")), bytes.toByteArray());
        long end = System.nanoTime() + control.number("warm_ms") * 1_000_000L;
        for (int i = 0; System.nanoTime() < end && !workers[0].calls(); i++) {
            workers[i % workers.length].answer(inputs.get(i % inputs.size()));
        }
    }

    private static List<byte[]> read(Path path) throws IOException {
        List<byte[]> frames = new ArrayList<>();
        try (DataInputStream in = new DataInputStream(Files.newInputStream(path))) {
            while (true) {
                frames.add(in.readNBytes(in.readInt()));
            }
        } catch (EOFException end) {
            return frames;
        }
    }
}
