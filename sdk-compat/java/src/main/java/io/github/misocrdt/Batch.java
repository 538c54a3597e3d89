package io.github.misocrdt;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;

/** Calls that are sent together by {@link #send}. The methods of its proxies answer null, 0 or false. */
public final class Batch extends Getters {
    private final Link link;
    private final Supplier<String> ids;
    private final boolean atomic;
    private List<Call<?>> calls = new ArrayList<>();

    Batch(Link link, String id, Supplier<String> ids, boolean atomic) {
        super(id);
        this.link = link;
        this.ids = ids;
        this.atomic = atomic;
    }

    @Override
    Object run(Call<?> call) {
        if (calls == null) {
            throw new MisoException.Argument("the batch was sent; make a new one");
        }
        calls.add(call.write() && !atomic ? call.under(ids.get()) : call);
        return null;
    }

    /** Sends all calls at once; answers what each answered, or throws the first error. */
    public List<Object> send() {
        List<Call<?>> sent = calls;
        calls = null;
        if (sent == null) {
            throw new MisoException.Argument("the batch was sent; make a new one");
        }
        if (sent.isEmpty()) {
            return List.of();
        }
        List<Object> answers = link.run(sent, atomic ? ids.get() : null);
        for (Object answer : answers) {
            if (answer instanceof MisoException error) {
                throw error;
            }
        }
        return answers;
    }
}
