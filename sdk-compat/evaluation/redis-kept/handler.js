const { createClient } = require('redis');

// Without the client's timer per command, which costs more than the rest of a command.
const connected = createClient({ url: process.env.REDIS_URL, commandOptions: { timeout: 0 } }).connect();

module.exports = async (event, context) => {
    context.headers({ 'content-type': 'application/json' });
    try {
        const { action, run, numbers } = event.body;
        const client = await connected;
        switch (action) {
            case 'write':
                await client.incrBy(run, numbers.reduce((sum, number) => sum + number));
                return { written: true };
            case 'result':
                return { result: Number(await client.get(run)) };
            default:
                return context.status(400).fail(`unknown action: ${action}`);
        }
    } catch (error) {
        return context.status(500).fail(error.message);
    }
};
