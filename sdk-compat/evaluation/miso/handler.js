module.exports = async (event, context) => {
    context.headers({ 'content-type': 'application/json' });
    try {
        const { action, run, numbers } = event.body;
        const counter = context.statefulObject.getGCounter(run);
        switch (action) {
            case 'write':
                await counter.add(numbers.reduce((sum, number) => sum + number));
                return { written: true };
            case 'result':
                return { result: await counter.getValue() };
            default:
                return context.status(400).fail(`unknown action: ${action}`);
        }
    } catch (error) {
        return context.status(500).fail(error.message);
    }
};
