module.exports = async (event, context) => {
    const so = context.statefulObject;
    const counter = so.getGCounter('totalSum');
    await counter.add(1);
    return { data: await counter.getValue() };
};
