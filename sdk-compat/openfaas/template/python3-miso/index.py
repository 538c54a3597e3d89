from function import handler
from miso_crdt.openfaas import serve

serve(handler)
