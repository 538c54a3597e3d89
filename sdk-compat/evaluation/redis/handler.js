const { randomUUID } = require('node:crypto');
const { createClient } = require('redis');

module.exports = async (event, context) => {
    context.headers({ 'content-type': 'application/json' });
    let client;
    try {
        const { action, run, numbers } = event.body;
        client = await createClient({ url: process.env.REDIS_URL }).connect();
        switch (action) {
            case 'write':
                await client.hSet(run, randomUUID(), numbers.reduce((sum, number) => sum + number));
                return { written: true };
            case 'result': {
                const sums = await client.hVals(run);
                return { result: sums.reduce((sum, part) => sum + Number(part), 0) };
            }
            default:
                return context.status(400).fail(`unknown action: ${action}`);
        }
    } catch (error) {
        return context.status(500).fail(error.message);
    } finally {
        await client?.close();
    }
};
