def handle(event, context):
    so = context.stateful_object
    counter = so.get_gcounter("totalSum")
    counter.add(1)
    return {"data": counter.get_value()}
