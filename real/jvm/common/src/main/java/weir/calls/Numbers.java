package weir.calls;

import java.util.List;

/** Tensors as JSON. */
final class Numbers {
    private Numbers() {}

    /** Values with commas between them; JSON has no word for what is not finite. */
    static void write(StringBuilder text, float[] values, int from, int to) {
        for (int i = from; i < to; i++) {
            text.append(i == from ? "" : ",");
            if (Float.isFinite(values[i])) {
                text.append(values[i]);
            } else {
                text.append("null");
            }
        }
    }

    /** The numbers of nested lists. */
    static float[] flat(Object nested) throws CallException {
        if (nested == null) {
            throw new CallException(CallException.Kind.ANSWER, "no data in the answer");
        }
        float[] values = new float[count(nested)];
        fill(values, 0, nested);
        return values;
    }

    private static int count(Object nested) {
        if (!(nested instanceof List<?> list)) {
            return 1;
        }
        int found = 0;
        for (Object each : list) {
            found += count(each);
        }
        return found;
    }

    private static int fill(float[] values, int from, Object nested) throws CallException {
        if (nested instanceof Number number) {
            values[from] = number.floatValue();
            return from + 1;
        }
        if (!(nested instanceof List<?> list)) {
            throw new CallException(CallException.Kind.ANSWER, nested + " in the answer is no number");
        }
        int at = from;
        for (Object each : list) {
            at = fill(values, at, each);
        }
        return at;
    }
}
