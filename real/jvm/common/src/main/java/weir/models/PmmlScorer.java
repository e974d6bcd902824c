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
 * predicted value, or of a classifier every class's probability. A file with a document type or entities, or nested too
 * deep, is refused before the library has it.
 */
final class PmmlScorer implements Scorer {
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

    PmmlScorer(byte[] data) throws LoadException {
        List<String> dictionary = checked(data);
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
        answers = answers(model);
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

    /** Refuses what a file may not hold; the names of its data dictionary. */
    private static List<String> checked(byte[] data) throws LoadException {
        XMLInputFactory factory = XMLInputFactory.newDefaultFactory();
        factory.setProperty(XMLInputFactory.SUPPORT_DTD, true); // so that one is seen
        factory.setProperty(XMLInputFactory.IS_SUPPORTING_EXTERNAL_ENTITIES, false);
        factory.setProperty(XMLInputFactory.IS_REPLACING_ENTITY_REFERENCES, false);
        factory.setXMLResolver(
                (publicId, systemId, base, namespace) -> {
                    throw new XMLStreamException("nothing is looked up elsewhere");
                });
        List<String> names = new ArrayList<>();
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
        return names;
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
