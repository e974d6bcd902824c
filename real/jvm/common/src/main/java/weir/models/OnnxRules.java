package weir.models;

import java.util.Set;

/**
 * What an ONNX model may not hold: tensors that lie in other files, operators from elsewhere, loops. Its bytes are
 * walked before the runtime has them; numbers of fields are those of onnx.proto.
 */
final class OnnxRules {
    private static final Set<String> DOMAINS = Set.of("", "ai.onnx", "ai.onnx.ml");
    private static final Set<String> REFUSED = Set.of("Loop", "Scan");
    private static final int DEPTH = 50;

    private final Set<String> own = new java.util.HashSet<>();
    private long nodes;

    private OnnxRules() {}

    /** Refuses a model by its bytes. */
    static void check(byte[] data) throws LoadException {
        OnnxRules rules = new OnnxRules();
        try {
            Proto.Reader in = new Proto.Reader(data);
            while (in.next()) {
                if (in.at(25, Proto.BYTES)) {
                    rules.named(in.inner());
                } else {
                    in.skip();
                }
            }
            in = new Proto.Reader(data);
            while (in.next()) {
                if (in.at(7, Proto.BYTES)) {
                    rules.graph(in.inner(), 0);
                } else if (in.at(25, Proto.BYTES)) {
                    rules.function(in.inner());
                } else {
                    in.skip();
                }
            }
        } catch (Proto.FormatException error) {
            throw new LoadException("not an ONNX model: " + error.getMessage());
        }
        if (rules.nodes == 0) {
            throw new LoadException("not an ONNX model: it computes nothing");
        }
    }

    /** The domain of a function that the model brings. */
    private void named(Proto.Reader in) throws Proto.FormatException {
        while (in.next()) {
            if (in.at(10, Proto.BYTES)) {
                own.add(in.text());
            } else {
                in.skip();
            }
        }
    }

    private void function(Proto.Reader in) throws Proto.FormatException, LoadException {
        while (in.next()) {
            if (in.at(7, Proto.BYTES)) {
                node(in.inner(), 0);
            } else if (in.at(11, Proto.BYTES)) {
                attribute(in.inner(), 0);
            } else {
                in.skip();
            }
        }
    }

    private void graph(Proto.Reader in, int depth) throws Proto.FormatException, LoadException {
        if (depth > DEPTH) {
            throw new LoadException("graphs within graphs beyond " + DEPTH);
        }
        while (in.next()) {
            if (in.at(1, Proto.BYTES)) {
                node(in.inner(), depth);
            } else if (in.at(5, Proto.BYTES)) {
                tensor(in.inner());
            } else if (in.at(15, Proto.BYTES)) {
                sparse(in.inner());
            } else {
                in.skip();
            }
        }
    }

    private void node(Proto.Reader in, int depth) throws Proto.FormatException, LoadException {
        nodes++;
        String operator = "";
        String domain = "";
        while (in.next()) {
            if (in.at(4, Proto.BYTES)) {
                operator = in.text();
            } else if (in.at(7, Proto.BYTES)) {
                domain = in.text();
            } else if (in.at(5, Proto.BYTES)) {
                attribute(in.inner(), depth);
            } else {
                in.skip();
            }
        }
        if (!DOMAINS.contains(domain) && !own.contains(domain)) {
            throw new LoadException("operator " + domain + "::" + operator + " is none of ONNX");
        }
        if (REFUSED.contains(operator)) {
            throw new LoadException("operator " + operator + ": a loop may never end");
        }
    }

    private void attribute(Proto.Reader in, int depth) throws Proto.FormatException, LoadException {
        while (in.next()) {
            if (in.at(5, Proto.BYTES) || in.at(10, Proto.BYTES)) {
                tensor(in.inner());
            } else if (in.at(6, Proto.BYTES) || in.at(11, Proto.BYTES)) {
                graph(in.inner(), depth + 1);
            } else if (in.at(22, Proto.BYTES) || in.at(23, Proto.BYTES)) {
                sparse(in.inner());
            } else {
                in.skip();
            }
        }
    }

    private void sparse(Proto.Reader in) throws Proto.FormatException, LoadException {
        while (in.next()) {
            if (in.at(1, Proto.BYTES) || in.at(2, Proto.BYTES)) {
                tensor(in.inner());
            } else {
                in.skip();
            }
        }
    }

    private void tensor(Proto.Reader in) throws Proto.FormatException, LoadException {
        while (in.next()) {
            if (in.at(13, Proto.BYTES) || in.at(14, Proto.VARINT) && in.varint() == 1) {
                throw new LoadException("a tensor that lies in another file");
            } else if (!in.at(14, Proto.VARINT)) {
                in.skip();
            }
        }
    }
}
