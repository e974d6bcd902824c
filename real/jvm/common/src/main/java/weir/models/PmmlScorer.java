package weir.models;

import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import javax.xml.stream.XMLInputFactory;
import javax.xml.stream.XMLStreamConstants;
import javax.xml.stream.XMLStreamException;
import javax.xml.stream.XMLStreamReader;
import org.pmml4s.metadata.OutputField;
import org.pmml4s.model.Model;
import weir.common.Scorer;

/**
 * PMML by pmml4s. A file's values are those of its data dictionary, in that order, without the target; the answer is the
 * predicted value, or of a classifier every class's probability; of a chain to two classes (trees, then their logistic
 * function) the second's alone. A file with a document type or entities, or nested too
 * deep, is refused before the library has it.
 */
public final class PmmlScorer implements Scorer {
    private static final int DEPTH = 400;
    private static final String SMALLEST =
            """
            <PMML version="4.2" xmlns="http://www.dmg.org/PMML-4_2"><Header/><DataDictionary>
            <DataField name="x" optype="continuous" dataType="double"/>
            <DataField name="y" optype="continuous" dataType="double"/></DataDictionary>
            <RegressionModel functionName="regression"><MiningSchema><MiningField name="x"/>
            <MiningField name="y" usageType="target"/></MiningSchema>
            <RegressionTable intercept="1"><NumericPredictor name="x" coefficient="1"/></RegressionTable>
            </RegressionModel></PMML>
            """;

    private final Model model;
    private final int values;
    private final int[] from;
    private final int[] answers;

    /** Reads a file. */
    public PmmlScorer(byte[] data) throws LoadException {
        Seen seen = checked(data);
        List<String> dictionary = seen.dictionary();
        model = Model.fromBytes(data);
        dictionary.removeAll(List.of(model.targetNames()));
        values = dictionary.size();
        String[] names = model.inputNames();
        from = new int[names.length];
        for (int i = 0; i < names.length; i++) {
            from[i] = dictionary.indexOf(names[i]);
            if (from[i] < 0) {
                throw new LoadException("PMML: the data dictionary has no " + names[i]);
            }
        }
        int[] found = answers(model);
        answers = seen.chain() && found.length == 2 ? new int[] {found[1]} : found;
    }

    private static int[] answers(Model model) throws LoadException {
        OutputField[] fields = model.outputFields();
        List<Integer> found = new ArrayList<>();
        String wanted = model.isClassification() ? "probability" : "predictedValue";
        for (int i = 0; i < fields.length; i++) {
            boolean ofAClass = !model.isClassification() || fields[i].value().isDefined();
            if (fields[i].feature().toString().equals(wanted) && ofAClass) {
                found.add(i);
            }
        }
        if (found.isEmpty() || !model.isClassification() && found.size() > 1) {
            throw new LoadException("PMML: one predicted value, or the probability of each class, is read");
        }
        return found.stream().mapToInt(Integer::intValue).toArray();
    }

    /** Loads the library, so that the first model does not wait for it. */
    static void prepare() throws Exception {
        new PmmlScorer(SMALLEST.getBytes(StandardCharsets.UTF_8)).score(new float[1], 1);
    }

    /** Names of a file's data dictionary, and whether its model is a chain of models. */
    private record Seen(List<String> dictionary, boolean chain) {}

    /** Refuses what a file may not hold. */
    private static Seen checked(byte[] data) throws LoadException {
        XMLInputFactory factory = XMLInputFactory.newDefaultFactory();
        factory.setProperty(XMLInputFactory.SUPPORT_DTD, true); // so that one is seen
        factory.setProperty(XMLInputFactory.IS_SUPPORTING_EXTERNAL_ENTITIES, false);
        factory.setProperty(XMLInputFactory.IS_REPLACING_ENTITY_REFERENCES, false);
        factory.setXMLResolver(
                (publicId, systemId, base, namespace) -> {
                    throw new XMLStreamException("nothing is looked up elsewhere");
                });
        List<String> names = new ArrayList<>();
        boolean chain = false;
        int depth = 0;
        try {
            XMLStreamReader in = factory.createXMLStreamReader(new ByteArrayInputStream(data));
            while (in.hasNext()) {
                switch (in.next()) {
                    case XMLStreamConstants.DTD ->
                            throw new LoadException("PMML: a file with a document type is not taken");
                    case XMLStreamConstants.ENTITY_REFERENCE ->
                            throw new LoadException("PMML: a file with entities is not taken");
                    case XMLStreamConstants.START_ELEMENT -> {
                        if (++depth > DEPTH) {
                            throw new LoadException("PMML: more than " + DEPTH + " elements deep");
                        }
                        if (depth == 1 && !in.getLocalName().equals("PMML")) {
                            throw new LoadException("PMML: the file is a " + in.getLocalName());
                        }
                        if (in.getLocalName().equals("DataField")) {
                            names.add(in.getAttributeValue(null, "name"));
                        }
                        chain |= depth == 3 && "modelChain".equals(in.getAttributeValue(null, "multipleModelMethod"));
                    }
                    case XMLStreamConstants.END_ELEMENT -> depth--;
                    default -> {
                        // text and comments
                    }
                }
            }
        } catch (XMLStreamException error) {
            throw new LoadException("PMML: not XML: " + error.getMessage());
        }
        return new Seen(names, chain);
    }

    @Override
    public float[] score(float[] points, int count) {
        if (points.length != count * values) {
            throw new IllegalArgumentException("a point of " + points.length / count + " values for a model of " + values);
        }
        float[] found = new float[count * answers.length];
        for (int point = 0; point < count; point++) {
            double[] input = new double[from.length];
            for (int i = 0; i < from.length; i++) {
                input[i] = points[point * values + from[i]];
            }
            Object[] answer = model.predict(input);
            for (int i = 0; i < answers.length; i++) {
                if (!(answer[answers[i]] instanceof Number number)) {
                    throw new IllegalStateException("PMML: no answer to this point");
                }
                found[point * answers.length + i] = number.floatValue();
            }
        }
        return found;
    }
}
