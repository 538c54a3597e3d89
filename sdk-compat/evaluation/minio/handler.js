const { randomUUID } = require('node:crypto');
const { text } = require('node:stream/consumers');
const { Client } = require('minio');

module.exports = async (event, context) => {
    context.headers({ 'content-type': 'application/json' });
    try {
        const { action, run, numbers } = event.body;
        const bucket = process.env.MINIO_BUCKET;
        const client = new Client({
            endPoint: process.env.MINIO_HOST,
            port: Number(process.env.MINIO_PORT),
            useSSL: false,
            accessKey: process.env.MINIO_ACCESS_KEY,
            secretKey: process.env.MINIO_SECRET_KEY,
        });
        switch (action) {
            case 'write': {
                const sum = numbers.reduce((total, number) => total + number);
                await client.putObject(bucket, `${run}/${randomUUID()}`, String(sum));
                return { written: true };
            }
            case 'result': {
                let result = 0;
                for await (const { name } of client.listObjectsV2(bucket, `${run}/`, true)) {
                    result += Number(await text(await client.getObject(bucket, name)));
                }
                return { result };
            }
            default:
                return context.status(400).fail(`unknown action: ${action}`);
        }
    } catch (error) {
        return context.status(500).fail(error.message);
    }
};
