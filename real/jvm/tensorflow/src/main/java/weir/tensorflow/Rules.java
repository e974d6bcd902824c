package weir.tensorflow;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.tensorflow.proto.AttrValue;
import org.tensorflow.proto.CollectionDef;
import org.tensorflow.proto.FunctionDef;
import org.tensorflow.proto.GraphDef;
import org.tensorflow.proto.MetaGraphDef;
import org.tensorflow.proto.NameAttrList;
import org.tensorflow.proto.NodeDef;
import org.tensorflow.proto.SignatureDef;
import org.tensorflow.proto.TensorInfo;
import weir.models.LoadException;

/**
 * What a graph may hold, as in `real/model_stream/tensorflow_graph.py`: every operator that could run is on the list
 * (`operators.txt`, the one that both sides read), of a SavedModel what its signature and its restoring reach.
 */
final class Rules {
    private static final int MOST_NODES = 100_000;
    private static final Set<String> SERVING = new HashSet<>();
    private static final Set<String> RESTORING = new HashSet<>();

    static {
        try (BufferedReader lines =
                new BufferedReader(
                        new InputStreamReader(Rules.class.getResourceAsStream("operators.txt"), StandardCharsets.UTF_8))) {
            Set<String> into = SERVING;
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                if (line.equals("[restoring]")) {
                    into = RESTORING;
                } else if (!line.isBlank() && !line.startsWith("#")) {
                    into.addAll(List.of(line.trim().split("\\s+")));
                }
            }
            RESTORING.addAll(SERVING);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    private final Map<String, NodeDef> nodes = new HashMap<>();
    private final Map<String, FunctionDef> functions = new HashMap<>();

    private Rules(GraphDef graph) throws LoadException {
        long count = graph.getNodeCount();
        for (FunctionDef each : graph.getLibrary().getFunctionList()) {
            functions.put(each.getSignature().getName(), each);
            count += each.getNodeDefCount();
        }
        if (count > MOST_NODES) {
            throw new LoadException(count + " operators, more than " + MOST_NODES);
        }
        for (NodeDef each : graph.getNodeList()) {
            nodes.put(each.getName(), each);
        }
    }

    /** Looks at all of a frozen graph. */
    static void frozen(GraphDef graph) throws LoadException {
        new Rules(graph).check(graph.getNodeList().stream().map(NodeDef::getName).toList(), SERVING);
    }

    /** The names of a frozen graph's input and output. */
    static String[] ends(GraphDef graph) throws LoadException {
        Set<String> read = new HashSet<>();
        List<String> feeds = new ArrayList<>();
        List<String> fetches = new ArrayList<>();
        for (NodeDef node : graph.getNodeList()) {
            node.getInputList().forEach(each -> read.add(node(each)));
        }
        for (NodeDef node : graph.getNodeList()) {
            if (node.getOp().startsWith("Placeholder")) {
                feeds.add(node.getName());
            }
            if (!read.contains(node.getName()) && !node.getOp().equals("NoOp")) {
                fetches.add(node.getName());
            }
        }
        if (feeds.size() != 1 || fetches.size() != 1) {
            throw new LoadException(
                    "a graph of one placeholder and one result, not of " + feeds.size() + " and " + fetches.size());
        }
        return new String[] {feeds.get(0), fetches.get(0)};
    }

    /** Looks at what of a SavedModel could run: its ends, what restores its variables, and what is run at its start. */
    static void saved(MetaGraphDef meta, String[] ends) throws LoadException {
        Rules graph = new Rules(meta.getGraphDef());
        graph.check(List.of(ends), SERVING);
        List<String> started = new ArrayList<>();
        for (String each :
                List.of(meta.getSaverDef().getRestoreOpName(), meta.getSaverDef().getFilenameTensorName())) {
            if (!each.isEmpty()) {
                started.add(each);
            }
        }
        for (String key : List.of("saved_model_main_op", "legacy_init_op")) {
            CollectionDef found = meta.getCollectionDefMap().get(key);
            if (found != null && found.getKindCase() != CollectionDef.KindCase.NODE_LIST) {
                throw new LoadException("a collection " + key + " that is no list of nodes");
            }
            if (found != null) {
                started.addAll(found.getNodeList().getValueList());
            }
        }
        for (Map.Entry<String, SignatureDef> each : meta.getSignatureDefMap().entrySet()) {
            if (each.getKey().startsWith("__saved_model_")) {
                for (TensorInfo output : each.getValue().getOutputsMap().values()) {
                    if (!output.getName().isEmpty()) {
                        started.add(output.getName());
                    }
                }
            }
        }
        graph.check(started, RESTORING);
        if (meta.getAssetFileDefCount() > 0) {
            throw new LoadException("a SavedModel with assets is not taken");
        }
    }

    private void check(Collection<String> names, Set<String> allowed) throws LoadException {
        Deque<String> todo = new ArrayDeque<>();
        names.forEach(each -> todo.add(node(each)));
        Set<String> seen = new HashSet<>();
        Deque<String> called = new ArrayDeque<>();
        while (!todo.isEmpty()) {
            String name = todo.pop();
            if (!seen.add(name)) {
                continue;
            }
            NodeDef found = nodes.get(name);
            if (found == null) {
                throw new LoadException("there is no node '" + name + "'");
            }
            called.addAll(checked(found, allowed));
            found.getInputList().forEach(each -> todo.add(node(each)));
        }
        seen.clear();
        while (!called.isEmpty()) {
            String name = called.pop();
            if (!seen.add(name)) {
                continue;
            }
            FunctionDef function = functions.get(name);
            if (function == null) {
                throw new LoadException("there is no function '" + name + "'");
            }
            for (NodeDef each : function.getNodeDefList()) {
                called.addAll(checked(each, allowed));
            }
        }
    }

    /** The functions that a node of an allowed operator names, in whatever attribute. */
    private static List<String> checked(NodeDef node, Set<String> allowed) throws LoadException {
        if (!allowed.contains(node.getOp())) {
            throw new LoadException(
                    "operator " + node.getOp() + " (node '" + node.getName() + "') is not on the list of those that are taken");
        }
        List<String> found = new ArrayList<>();
        for (AttrValue value : node.getAttrMap().values()) {
            found.add(value.getFunc().getName());
            for (NameAttrList each : value.getList().getFuncList()) {
                found.add(each.getName());
            }
        }
        found.removeIf(String::isEmpty);
        return found;
    }

    private static String node(String input) {
        String name = input.startsWith("^") ? input.substring(1) : input;
        int colon = name.indexOf(':');
        return colon < 0 ? name : name.substring(0, colon);
    }
}
