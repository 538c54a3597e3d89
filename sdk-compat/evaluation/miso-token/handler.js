module.exports = async (event, context) => {
    context.headers({ 'content-type': 'application/json' });
    try {
        const { action, run, numbers, tokens } = event.body;
        const so = context.statefulObject;
        const counter = so.getGCounter(run);
        switch (action) {
            case 'write':
                await counter.add(numbers.reduce((sum, number) => sum + number));
                return { token: await so.token() };
            case 'result':
                await Promise.all(tokens.map((token) => so.await(token)));
                return { result: await counter.getValue() };
            default:
                return context.status(400).fail(`unknown action: ${action}`);
        }
    } catch (error) {
        return context.status(500).fail(error.message);
    }
};
